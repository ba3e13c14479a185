"""Pairs of processes: the bootstrap keeps its word, drift cancels, and Holm holds over several metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from leptonbench.stats.paired import holm, paired_ratio, robust_sd


def _pairs(seed: int, n: int, *, slower: float = 0.0, noise: float = 0.02) -> tuple[list[float], list[float]]:
    random = np.random.default_rng(seed)
    drift = np.exp(random.normal(0, 0.2, n))  # common to a pair, ten times its own noise
    base = 0.01 * drift * np.exp(random.normal(0, noise / math.sqrt(2), n))
    head = 0.01 * drift * np.exp(slower + random.normal(0, noise / math.sqrt(2), n))
    return base.tolist(), head.tolist()


def test_a_drift_that_is_common_to_a_pair_cancels() -> None:
    found = paired_ratio(*_pairs(1, 20, slower=0.1))
    assert found.low < 0.1 < found.high
    assert found.high - found.low < 0.06  # the drift alone would make it 0.2
    assert found.n == 20


def test_the_median_of_the_resamples_is_the_bootstraps() -> None:
    """The ranks of the middles are drawn once; drawing the values themselves gives the same bounds."""
    base, head = _pairs(3, 21)
    ratios = np.sort(np.log(np.asarray(head) / np.asarray(base)))
    drawn = np.random.default_rng((0, 21)).integers(0, 21, size=(10_000, 21))
    medians = np.median(ratios[drawn], axis=1)
    found = paired_ratio(base, head)
    assert found.low == pytest.approx(np.quantile(medians, 0.01))
    assert found.high == pytest.approx(np.quantile(medians, 0.99))
    assert found.p_larger == pytest.approx((1 + (medians <= 0).sum()) / 10_001)


@pytest.mark.parametrize("n", [20, 30])
def test_a_bound_is_passed_by_chance_about_as_often_as_it_says(n: int) -> None:
    """The percentile bootstrap of the median at one-sided 1 %: published simulations give 1.1 %."""
    over = sum(paired_ratio(*_pairs(seed, n)).low > 0 for seed in range(1500))
    assert over / 1500 < 0.025


def test_the_same_pairs_give_the_same_figures() -> None:
    pairs = _pairs(5, 20)
    assert paired_ratio(*pairs) == paired_ratio(*pairs)


def test_the_ratio_inverts_when_the_sides_change_places() -> None:
    base, head = _pairs(6, 20, slower=0.05)
    one, other = paired_ratio(base, head).ratio(), paired_ratio(head, base).ratio()
    assert other.value == pytest.approx(1 / one.value)
    assert one.low is not None and other.high is not None and other.high == pytest.approx(1 / one.low, rel=5e-3)


def test_the_odd_pair_does_not_move_the_spread() -> None:
    quiet = [0.01 * i for i in range(-10, 11)]
    assert robust_sd([*quiet, 5.0]) == pytest.approx(robust_sd(quiet), rel=0.15)


@pytest.mark.parametrize("wrong", [([1.0], [1.0, 2.0]), ([], []), ([0.0], [1.0]), ([math.nan], [1.0]), ([-1.0], [1.0])])
def test_what_has_no_ratio_is_refused(wrong: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="pairs want|finite, positive"):
        paired_ratio(*wrong)


def test_holm_stops_at_the_first_that_fails() -> None:
    assert holm({"a": 0.001, "b": 0.004, "c": 0.2}, alpha=0.01) == {"a", "b"}
    assert holm({"a": 0.004, "b": 0.004, "c": 0.004}, alpha=0.01) == frozenset()  # 0.004 > 0.01 / 3
    assert holm({"a": 0.009}, alpha=0.01) == {"a"}
    assert holm({}, alpha=0.01) == frozenset()
