"""Word accuracy against counts made by hand, and its intervals against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from leptonbench.tasks.wer import WordAccuracy, count_errors, normalise

METRIC = WordAccuracy()


def test_counts_errors_over_the_whole_split() -> None:
    targets = ["stop line four", "pick two bolts", "yes"]
    answers = ["stop line five", "pick bolts now", ""]
    # One substitution; one deletion and one insertion; one deletion.
    assert count_errors(answers, targets).errors.tolist() == [1, 2, 1]
    quality = METRIC.quality(answers, targets)
    assert quality.value == pytest.approx(1 - 4 / 7)
    assert quality.name == "1-WER"
    assert quality.n == 3
    assert quality.low is not None and quality.high is not None
    assert quality.low <= quality.value <= quality.high


def test_a_model_that_invents_words_scores_below_zero() -> None:
    value = METRIC.quality(["a b c d"], ["stop"]).value
    assert value == pytest.approx(-3.0)


def test_case_and_punctuation_do_not_count() -> None:
    assert normalise("Stop -- line four, don\u2019t 'wait'!") == "stop line four don't wait"
    assert METRIC.quality(["STOP LINE FOUR"], ["Stop, line four."]).value == 1.0


def test_no_error_still_has_a_width() -> None:
    quality = METRIC.quality(["stop"] * 40, ["stop"] * 40)
    assert quality.value == quality.high == 1.0
    assert quality.low is not None and 0.85 < quality.low < 0.95
    assert "Wilson" in (quality.method or "")


def simulate(rng: np.random.Generator, rate: float, count: int) -> tuple[list[str], list[str]]:
    targets = [" ".join(["word"] * int(size)) for size in rng.integers(1, 8, count)]
    answers = [" ".join("word" if rng.random() > rate else "other" for _ in text.split()) for text in targets]
    return answers, targets


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(60):
        quality = METRIC.quality(*simulate(rng, 0.1, 120))
        assert quality.low is not None and quality.high is not None
        covered += quality.low <= 0.9 <= quality.high
    assert covered >= 51  # 95 % coverage gives fewer one time in a hundred thousand


def test_difference_is_paired() -> None:
    rng = np.random.default_rng(5)
    base, targets = simulate(rng, 0.2, 200)
    better = [
        target if index % 20 == 0 else answer for index, (answer, target) in enumerate(zip(base, targets, strict=True))
    ]
    change = METRIC.difference(better, base, targets)
    quality, other = METRIC.quality(better, targets), METRIC.quality(base, targets)
    assert quality.value is not None and other.value is not None
    assert change.value == pytest.approx(quality.value - other.value)
    assert change.low is not None and change.high is not None
    assert 0 <= change.low <= change.value <= change.high
    assert quality.low is not None and quality.high is not None
    assert change.high - change.low < quality.high - quality.low
    assert METRIC.difference(base, base, targets)[:3] == (0.0, 0.0, 0.0)
    assert METRIC.difference(base, better, targets).value == pytest.approx(-change.value)


def test_intervals_repeat() -> None:
    pair = simulate(np.random.default_rng(9), 0.2, 50)
    assert METRIC.quality(*pair) == METRIC.quality(*pair)


def test_same_is_equality() -> None:
    assert METRIC.same("stop", "stop")
    assert not METRIC.same("stop", "go")


def test_targets_without_words_have_no_rate() -> None:
    with pytest.raises(ValueError, match="no target has a word"):
        METRIC.quality(["stop"], ["..."])
