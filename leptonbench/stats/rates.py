"""Sustained rates: known from below by what was met, from above by what was missed; and the ratio of two."""

from __future__ import annotations

from typing import NamedTuple

from leptonbench.stats.interval import Interval

STEP = 1.15  # between neighbouring rates: finer steps cost runs, and one run's verdict is not finer either


class Rate(NamedTuple):
    """A rate that was sustained.

    Attributes:
        value: The rate.
        high: Lowest rate that was not sustained; `None` where no higher one was tried.
        n: Runs at the rate.
    """

    value: float
    high: float | None
    n: int


def rate_ratio(mine: Rate, base: Rate) -> Interval:
    """Return the ratio of two rates; its range is the search's resolution, which no number of rounds narrows.

    Where no higher rate was tried, one step is taken as the bound.

    Raises:
        ValueError: If a rate is not positive (its ratio means nothing).
    """
    if mine.value <= 0 or base.value <= 0:
        raise ValueError("a ratio is taken of positive rates only")
    return Interval(
        value=mine.value / base.value,
        low=mine.value / (base.high or base.value * STEP),
        high=(mine.high or mine.value * STEP) / base.value,
        n=min(mine.n, base.n),
        confidence=None,
        method=f"ratio of sustained rates; the range is the search's step of {STEP - 1:.0%} on either side",
    )
