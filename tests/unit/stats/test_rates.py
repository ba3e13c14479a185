from __future__ import annotations

import pytest

from leptonbench.stats.rates import STEP, Rate, rate_ratio


def test_the_range_of_a_ratio_is_the_resolution_of_both_searches() -> None:
    found = rate_ratio(Rate(200.0, 220.0, 5), Rate(100.0, 110.0, 3))
    assert (found.value, found.n, found.confidence) == (2.0, 3, None)
    assert found.low == pytest.approx(200 / 110)
    assert found.high == pytest.approx(220 / 100)


def test_where_no_higher_rate_was_tried_one_step_is_the_bound() -> None:
    found = rate_ratio(Rate(200.0, None, 3), Rate(100.0, None, 3))
    assert (found.low, found.high) == (pytest.approx(2 / STEP), pytest.approx(2 * STEP))


@pytest.mark.parametrize(("mine", "base"), [(0.0, 1.0), (1.0, 0.0)])
def test_no_ratio_of_rates_that_are_none(mine: float, base: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        rate_ratio(Rate(mine, None, 1), Rate(base, None, 1))
