"""A value with its interval: what every estimator here returns."""

from __future__ import annotations

from typing import NamedTuple


class Interval(NamedTuple):
    """A central value, its interval and what the interval means.

    Attributes:
        value: The estimate, in the unit of the data.
        low: Lower end; `None` where the data support no interval.
        high: Upper end.
        n: Independent observations behind it (rounds, samples, pairs).
        confidence: Intended coverage; `None` where there is no interval.
        method: One phrase that says how, fit to be shown.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    confidence: float | None
    method: str
