"""Dollars an hour with their range and evidence, and the figures they rest on as assumptions to show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from leptonbench.schema import Assumption, Fact, Provenance


class Rate(NamedTuple):
    """What one unit costs an hour.

    Attributes:
        value: USD an hour.
        low: With every figure at the cheap end of its range.
        high: With every figure at the dear end.
        provenance: The weakest of the figures'.
        method: One phrase that says how.
        assumptions: The figures used, with their sources.
    """

    value: float
    low: float
    high: float
    provenance: Provenance
    method: str
    assumptions: tuple[Assumption, ...]


def fact_provenance(fact: Fact) -> Provenance:
    """Return `projected` for a published figure, `assumed` for a judgement: neither was measured here."""
    return Provenance.ASSUMED if fact.assumed else Provenance.PROJECTED


def ends(fact: Fact) -> tuple[float, float]:
    """Return a figure's range, in its unit; the figure itself where it has none."""
    return (fact.value if fact.low is None else fact.low, fact.value if fact.high is None else fact.high)


def assumption(name: str, fact: Fact) -> Assumption:
    """Return a figure as a row of the list of assumptions."""
    source = fact.source if fact.note is None else f"{fact.source} ({fact.note})"
    return Assumption(
        name=name,
        value=fact.value,
        unit=fact.unit,
        low=fact.low,
        high=fact.high,
        source=source,
        date=fact.date,
        assumed=fact.assumed,
    )


def unique(rows: Iterable[Assumption]) -> tuple[Assumption, ...]:
    """Return the rows without repeats, in order: several costs lean on the same figure."""
    return tuple({row.name: row for row in rows}.values())
