"""The area under the curve and its intervals, against definitions and simulations that share no code with them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from leptonbench.tasks.auc import Auc

METRIC = Auc()


def _sample(rng: np.random.Generator, n: int, shift: float = 1.0, share: float = 0.3) -> tuple[list[int], np.ndarray]:
    truth = rng.random(n) < share
    return truth.astype(int).tolist(), rng.standard_normal(n) + shift * truth


def _pairs(scores: np.ndarray, truth: list[int]) -> float:
    """Return the area by its definition, pair by pair."""
    ones = [s for s, t in zip(scores, truth, strict=True) if t]
    zeros = [s for s, t in zip(scores, truth, strict=True) if not t]
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(ones, zeros)]
    return sum(wins) / len(wins)


@pytest.mark.parametrize("digits", [1, 8])  # few digits make many ties
def test_the_value_is_the_share_of_pairs_in_order(digits: int) -> None:
    truth, scores = _sample(np.random.default_rng(3), 80)
    found = METRIC.quality(np.round(scores, digits).tolist(), truth)
    assert found.value == pytest.approx(_pairs(np.round(scores, digits), truth))
    assert found.n == 80 and found.name == "AUC" and found.low < found.value < found.high


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Scores of two normals one apart: the area is the normal distribution at 1 / sqrt(2), 0.760."""
    rng, inside = np.random.default_rng(5), 0
    for _ in range(400):
        truth, scores = _sample(rng, 150)
        found = METRIC.quality(scores.tolist(), truth)
        inside += found.low <= 0.76025 <= found.high
    assert 0.92 < inside / 400 < 0.98


def test_the_paired_interval_covers_as_often_as_it_says() -> None:
    """The second score is the first and noise: signal 1, variance 2, so the normal distribution at 1 / sqrt(4)."""
    rng, inside, true = np.random.default_rng(6), 0, 0.69146 - 0.76025
    widths, apart = [], []
    for _ in range(300):
        truth, scores = _sample(rng, 300)
        noisy = scores + rng.standard_normal(300)
        found = METRIC.difference(noisy.tolist(), scores.tolist(), truth)
        inside += found.low <= true <= found.high
        widths.append(found.high - found.low)
        one, other = METRIC.quality(noisy.tolist(), truth), METRIC.quality(scores.tolist(), truth)
        apart.append(one.high - one.low + other.high - other.low)
    assert 0.91 < inside / 300 < 0.98
    assert np.mean(widths) < 0.7 * np.mean(apart)  # what pairing is for


def test_the_difference_is_that_of_the_two_areas() -> None:
    rng = np.random.default_rng(7)
    truth, scores = _sample(rng, 200)
    other = scores + rng.standard_normal(200)
    found = METRIC.difference(other.tolist(), scores.tolist(), truth)
    assert found.value == pytest.approx(roc_auc_score(truth, other) - roc_auc_score(truth, scores))
    assert found.n == 200


def test_a_ranking_differs_from_itself_by_nothing() -> None:
    truth, scores = _sample(np.random.default_rng(8), 200)
    found = METRIC.difference((2 * scores + 1).tolist(), scores.tolist(), truth)
    assert found.value == found.low == found.high == 0.0


@pytest.mark.parametrize(("answers", "value"), [([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0)])
def test_few_samples_without_a_mistake_claim_no_certainty(answers: list[float], value: float) -> None:
    found = METRIC.quality(answers, [0, 0, 1, 1])
    assert found.value == value and 0 <= found.low <= value <= found.high <= 1
    assert found.high - found.low > 0.3


@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1], [0, 0, 1]])
def test_one_class_alone_has_no_area(truth: list[int]) -> None:
    found = METRIC.quality([0.1, 0.2, 0.3], truth)
    assert found.value is None and "two of each class" in found.why_null
    with pytest.raises(ValueError, match="two samples of each class"):
        METRIC.difference([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], truth)


def test_missing_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 answers to 3 samples"):
        METRIC.quality([0.1, 0.2], [0, 1, 1])
    with pytest.raises(ValueError, match="2 answers to 3 samples"):
        METRIC.difference([0.1, 0.2, 0.3], [0.1, 0.2], [0, 1, 1])


def test_answers_are_the_same_within_a_percentage_point() -> None:
    assert METRIC.same(0.30, 0.305) and not METRIC.same(0.30, 0.32)
