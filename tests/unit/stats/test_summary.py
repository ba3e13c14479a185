from __future__ import annotations

import math

import numpy as np
import pytest

from leptonbench.stats.summary import ratio_interval, round_interval


def test_three_rounds_by_hand():
    logs = [math.log(value) for value in (7.01, 7.06, 7.13)]
    centre = sum(logs) / 3
    deviation = math.sqrt(sum((log - centre) ** 2 for log in logs) / 2)
    half = 4.302652729749462 * deviation / math.sqrt(3)
    interval = round_interval([7.13, 7.01, 7.06])
    assert interval.value == 7.06
    assert interval.low == pytest.approx(math.exp(centre - half), rel=1e-9)
    assert interval.high == pytest.approx(math.exp(centre + half), rel=1e-9)
    assert (interval.n, interval.confidence) == (3, 0.95)
    assert "log" in interval.method


def test_one_round_has_no_interval():
    interval = round_interval([3.0])
    assert interval[:5] == (3.0, None, None, 1, None)


def test_zero_and_negative_values_use_the_linear_scale():
    interval = round_interval([-1.0, 0.0, 1.0])
    half = 4.302652729749462 / math.sqrt(3)
    assert interval.low == pytest.approx(-half)
    assert interval.high == pytest.approx(half)
    assert "linear" in interval.method


def test_equal_rounds_give_an_interval_of_no_width():
    assert round_interval([0.1, 0.1, 0.1])[:3] == (0.1, pytest.approx(0.1), pytest.approx(0.1))


def test_skew_widens_the_interval_to_hold_the_median():
    values = [1.0] * 20 + [1000.0] * 19
    interval = round_interval(values, confidence=0.5)
    assert interval.value == 1.0
    assert interval.low == 1.0
    assert interval.high is not None
    assert interval.high > 1.0


def test_rounds_worlds_apart_have_no_interval():
    assert round_interval([1.0, 1e-250])[1:3] == (None, None)
    assert ratio_interval([1.0, 1e-250], [1.0, 1.0], paired=False)[1:3] == (None, None)
    assert ratio_interval([1.0, 1e-250], [1.0, 1.0])[1:3] == (None, None)


def test_paired_ratio_cancels_drift():
    drift = np.array([1.0, 1.5, 0.7])
    paired = ratio_interval(2.0 * drift, drift)
    apart = ratio_interval(2.0 * drift, drift, paired=False)
    assert paired[:3] == (pytest.approx(2.0), pytest.approx(2.0), pytest.approx(2.0))
    assert apart.low is not None
    assert apart.low < 1.0


def test_unequal_lengths_fall_back_to_welch():
    # Welch on the logs, checked against an independent implementation.
    interval = ratio_interval([10.0, 11.0, 12.0, 10.5], [5.0, 5.6, 5.2])
    assert interval.value == pytest.approx(10.75 / 5.2)
    assert interval.low == pytest.approx(1.8084956539589752, rel=1e-9)
    assert interval.high == pytest.approx(2.3521042269695474, rel=1e-9)
    assert interval.n == 3
    assert "Welch" in interval.method


def test_welch_of_constant_sides_has_no_width():
    assert ratio_interval([4.0, 4.0, 4.0], [2.0, 2.0])[:3] == (2.0, pytest.approx(2.0), pytest.approx(2.0))


def test_one_round_on_a_side_has_a_ratio_without_interval():
    assert ratio_interval([4.0], [2.0])[:5] == (2.0, None, None, 1, None)
    assert ratio_interval([4.0, 5.0], [2.0])[:5] == (2.25, None, None, 1, None)


def test_what_means_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing to summarise"):
        round_interval([])
    with pytest.raises(ValueError, match="not finite"):
        round_interval([1.0, float("nan")])
    with pytest.raises(ValueError, match="positive"):
        ratio_interval([1.0, 2.0], [1.0, 0.0])


@pytest.mark.parametrize("sigma", [0.01, 0.3])
def test_95_percent_of_three_round_intervals_cover_the_truth(sigma: float):
    rng = np.random.default_rng(5)
    hits, trials = 0, 3000
    for values in np.exp(sigma * rng.standard_normal((trials, 3))):
        interval = round_interval(values)
        assert interval.low is not None
        assert interval.high is not None
        hits += interval.low <= 1.0 <= interval.high
    assert hits / trials == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize("paired", [True, False])
def test_95_percent_of_three_round_ratio_intervals_cover_the_truth(paired: bool):
    rng = np.random.default_rng(6)
    hits, trials = 0, 2000
    for _ in range(trials):
        common = 0.5 * rng.standard_normal(3) if paired else 0.0
        a = 3.0 * np.exp(common + 0.05 * rng.standard_normal(3))
        b = np.exp(common + 0.05 * rng.standard_normal(3))
        interval = ratio_interval(a, b, paired=paired)
        assert interval.low is not None
        assert interval.high is not None
        hits += interval.low <= 3.0 <= interval.high
    # Welch's dof makes it a little conservative with three rounds a side.
    assert 0.935 < hits / trials < 0.98
