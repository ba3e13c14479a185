"""Which figure moves a choice, and how far it would have to move for another to win. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from leptonbench.cost.fleet import Values
from leptonbench.cost.rate import ends
from leptonbench.schema import Fact

_FAR = 20.0  # times up or down that a figure is followed; beyond it, it is another market
_STEPS = 80
_TOLERANCE = 1e-6


class Costing(NamedTuple):
    """What sensitivity needs of a choice: its figures and its cost as a function of them.

    Attributes:
        facts: By the name to show; equal names are the same figure in every choice.
        usd: Of values by the same names.
    """

    facts: Mapping[str, Fact]
    usd: Callable[[Values], float]

    @property
    def values(self) -> dict[str, float]:
        """Return the figures' own values."""
        return {name: fact.value for name, fact in self.facts.items()}


class Effect(NamedTuple):
    """A choice's cost in USD at both ends of one figure's range, all others as stated."""

    name: str
    fact: Fact
    low: float
    high: float
    usd_at_low: float
    usd_at_high: float


class Threshold(NamedTuple):
    """The value of one figure from which on a rival is cheaper, all others as stated.

    Attributes:
        within: Whether the figure's own range reaches so far.
        rival: Index into the rivals.
    """

    name: str
    fact: Fact
    value: float
    within: bool
    rival: int


def effects(choice: Costing) -> list[Effect]:
    """Return what each figure with a range does to a choice's cost, the largest swing first."""
    found = []
    for name, fact in choice.facts.items():
        low, high = ends(fact)
        if low < high:
            at_low, at_high = (choice.usd(choice.values | {name: end}) for end in (low, high))
            found.append(Effect(name, fact, low, high, at_low, at_high))
    return sorted(found, key=lambda effect: -abs(effect.usd_at_high - effect.usd_at_low))


def thresholds(choice: Costing, rivals: Sequence[Costing]) -> list[Threshold]:
    """Return for each figure where the nearest rival overtakes the choice, the least change first.

    A figure is followed up and down to 20 times; fractions stay below 1, and ratios that begin above 1 (the overhead of
    a building) do not fall below it. A figure that two choices share is a price or an overhead that both are linear in,
    and any other moves one of them alone, in which it is monotone: the difference of two changes sign once at most in
    each direction that is looked at.
    """
    found: list[Threshold] = []
    names = {name: fact for one in (choice, *rivals) for name, fact in one.facts.items()}
    for name, fact in names.items():
        nearest: Threshold | None = None
        for index, rival in enumerate(rivals):
            value = _crossing(choice, rival, name, fact)
            if value is not None and (nearest is None or _distance(value, fact) < _distance(nearest.value, fact)):
                low, high = ends(fact)
                nearest = Threshold(name, fact, value, low <= value <= high, index)
        found += [nearest] if nearest else []
    return sorted(found, key=lambda threshold: _distance(threshold.value, threshold.fact))


def _distance(value: float, fact: Fact) -> float:
    return abs(math.log(value / fact.value))


def _crossing(choice: Costing, rival: Costing, name: str, fact: Fact) -> float | None:
    """Return the value of a figure nearest to its own at which both cost the same; `None` if there is none in reach."""
    if fact.value <= 0:
        return None

    def lead(value: float) -> float:
        one = choice.usd(choice.values | {name: value}) if name in choice.facts else choice.usd(choice.values)
        other = rival.usd(rival.values | {name: value}) if name in rival.facts else rival.usd(rival.values)
        return other - one

    if lead(fact.value) <= 0:
        return None
    top, bottom = fact.value * _FAR, fact.value / _FAR
    if fact.unit == "1":
        top, bottom = (min(top, 0.999), bottom) if fact.value < 1 else (top, max(bottom, 1.0))
    found = [_bisect(lead, fact.value, far) for far in (top, bottom) if lead(far) < 0]
    return min(found, key=lambda value: _distance(value, fact)) if found else None


def _bisect(lead: Callable[[float], float], near: float, far: float) -> float:
    """Return where `lead` falls to 0 between a value at which it is positive and one at which it is negative."""
    for _ in range(_STEPS):
        middle = math.sqrt(near * far)
        near, far = (middle, far) if lead(middle) > 0 else (near, middle)
        if abs(math.log(far / near)) < _TOLERANCE:
            break
    return far
