"""Changes of level: found where they are, and not where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from leptonbench.stats.changepoint import FEWEST_RUNS, change_points


def _series(seed: int, *levels: tuple[float, int], noise: float = 0.01) -> list[float]:
    random = np.random.default_rng(seed)
    parts = [level * np.exp(random.normal(0, noise, length)) for level, length in levels]
    return [float(value) for value in np.concatenate(parts)]


def test_a_step_is_found_where_it_is() -> None:
    (found,) = change_points(_series(1, (1.0, 20), (1.05, 20)))
    assert abs(found.start - 20) <= 1
    assert found.p_value <= 0.001
    assert found.after / found.before == pytest.approx(1.05, abs=0.01)


def test_a_step_shows_within_seven_runs_of_a_long_history() -> None:
    (found,) = change_points(_series(2, (1.0, 30), (1.05, 7)))
    assert abs(found.start - 30) <= 1


def test_two_steps_are_two() -> None:
    found = change_points(_series(3, (1.0, 15), (1.1, 15), (0.9, 15)))
    assert [round(point.start / 15) for point in found] == [1, 2]


def test_noise_alone_has_no_changes() -> None:
    assert sum(len(change_points(_series(seed, (1.0, 30)))) for seed in range(20)) == 0


def test_a_spike_is_no_change() -> None:
    values = _series(4, (1.0, 30))
    values[12] = 3.0
    values[20] = 3.0
    assert change_points(values) == []


def test_equal_and_short_series_have_none() -> None:
    assert change_points([1.0] * 40) == []
    assert change_points(_series(5, (1.0, 2), (2.0, 3))) == []
    assert change_points([]) == []


def test_so_many_runs_are_the_fewest_that_can_show_a_change() -> None:
    half = FEWEST_RUNS // 2
    assert len(change_points(_series(6, (1.0, half), (2.0, half)))) == 1
    assert change_points(_series(6, (1.0, half), (2.0, half - 1))) == []


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        change_points([1.0, float("nan")])
    with pytest.raises(ValueError, match="cannot give"):
        change_points([1.0], shuffles=99)
    with pytest.raises(ValueError, match="at least 2"):
        change_points([1.0], min_segment=1)
