"""The choices that no other choice clearly beats, when every coordinate is an interval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple


class ParetoPoint(NamedTuple):
    """One choice on two axes, each a value with its interval; without one, `low` and `high` are the value."""

    key: str
    x: float
    x_low: float
    x_high: float
    y: float
    y_low: float
    y_high: float


class _Axis(NamedTuple):
    """A coordinate turned so that lower is better, its interval widened to hold the value."""

    value: float
    low: float
    high: float

    def clearly_beats(self, other: _Axis) -> bool:
        return self.high < other.low

    def equals(self, other: _Axis) -> bool:
        return self.value == other.value


def _axis(value: float, low: float, high: float, *, lower_is_better: bool) -> _Axis:
    if not all(math.isfinite(part) for part in (value, low, high)):
        raise ValueError(f"a Pareto coordinate is finite, got {value} [{low}, {high}]")
    low, high = min(low, high, value), max(low, high, value)
    return _Axis(value, low, high) if lower_is_better else _Axis(-value, -high, -low)


def _dominates(one: tuple[_Axis, _Axis], other: tuple[_Axis, _Axis]) -> bool:
    clear = [mine.clearly_beats(theirs) for mine, theirs in zip(one, other, strict=True)]
    equal = [mine.equals(theirs) for mine, theirs in zip(one, other, strict=True)]
    return any(clear) and all(better or same for better, same in zip(clear, equal, strict=True))


def pareto_front(
    points: Iterable[ParetoPoint], *, x_lower_is_better: bool = True, y_lower_is_better: bool = True
) -> set[str]:
    """Return the keys of the points that no other point dominates.

    A point is dominated only when another is better on both axes with the intervals clear of each other, or has the
    same value on one axis and is clearly better on the other. Overlapping intervals settle nothing, so both stay.
    An interval that misses its value is widened to hold it, which makes dominance a strict order: a non-empty input
    has a non-empty front.

    Raises:
        ValueError: If a coordinate is not finite, or two points share a key.
    """
    axes: dict[str, tuple[_Axis, _Axis]] = {}
    for point in points:
        if point.key in axes:
            raise ValueError(f"two Pareto points share the key `{point.key}`")
        axes[point.key] = (
            _axis(point.x, point.x_low, point.x_high, lower_is_better=x_lower_is_better),
            _axis(point.y, point.y_low, point.y_high, lower_is_better=y_lower_is_better),
        )
    return {key for key, place in axes.items() if not any(_dominates(rival, place) for rival in axes.values())}
