from __future__ import annotations

import pytest

from leptonbench.stats.pareto import ParetoPoint, pareto_front


def exact(key: str, x: float, y: float) -> ParetoPoint:
    return ParetoPoint(key, x, x, x, y, y, y)


def test_exact_points_keep_the_classic_front():
    points = [exact("a", 1, 5), exact("b", 2, 3), exact("c", 4, 1), exact("d", 3, 4), exact("e", 5, 5)]
    assert pareto_front(points) == {"a", "b", "c"}


def test_overlapping_intervals_settle_nothing():
    better = ParetoPoint("better", 1.0, 0.9, 1.2, 1.0, 0.9, 1.1)
    worse = ParetoPoint("worse", 1.1, 1.0, 1.3, 5.0, 4.0, 6.0)
    assert pareto_front([better, worse]) == {"better", "worse"}


def test_clear_intervals_on_both_axes_dominate():
    better = ParetoPoint("better", 1.0, 0.9, 1.05, 1.0, 0.9, 1.1)
    worse = ParetoPoint("worse", 1.2, 1.1, 1.3, 5.0, 4.0, 6.0)
    assert pareto_front([better, worse]) == {"better"}


def test_touching_intervals_are_not_clear():
    better = ParetoPoint("better", 1.0, 0.9, 1.1, 1.0, 1.0, 1.0)
    worse = ParetoPoint("worse", 1.2, 1.1, 1.3, 5.0, 5.0, 5.0)
    assert pareto_front([better, worse]) == {"better", "worse"}


def test_equal_value_on_one_axis_and_clear_on_the_other_dominates():
    better = ParetoPoint("better", 0.9, 0.8, 1.0, 1.0, 1.0, 1.0)
    worse = ParetoPoint("worse", 0.9, 0.7, 1.1, 2.0, 2.0, 2.0)
    assert pareto_front([better, worse]) == {"better"}


def test_identical_points_both_stay():
    assert pareto_front([exact("a", 1, 1), exact("b", 1, 1)]) == {"a", "b"}


def test_direction_is_turned_per_axis():
    points = [exact("slow-good", 1, 0.9), exact("fast-good", 9, 0.9), exact("fast-bad", 9, 0.5)]
    assert pareto_front(points, x_lower_is_better=False, y_lower_is_better=False) == {"fast-good"}
    assert pareto_front(points, x_lower_is_better=True, y_lower_is_better=True) == {"slow-good", "fast-bad"}


def test_interval_that_misses_its_value_is_widened():
    odd = ParetoPoint("odd", 3.0, 1.0, 1.1, 1.0, 1.0, 1.0)
    other = ParetoPoint("other", 2.0, 2.0, 2.0, 2.0, 2.0, 2.0)
    assert pareto_front([odd, other]) == {"odd", "other"}


def test_no_points_have_no_front():
    assert pareto_front([]) == set()


def test_shared_key_and_non_finite_are_refused():
    with pytest.raises(ValueError, match="share the key `a`"):
        pareto_front([exact("a", 1, 1), exact("a", 2, 2)])
    with pytest.raises(ValueError, match="finite"):
        pareto_front([exact("a", float("nan"), 1)])
