"""What a plan is asked for, and how its options are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from leptonbench.cost.capacity import Target
from leptonbench.cost.demand import Demand
from leptonbench.errors import UsageError
from leptonbench.schema.prices import Terms

_AVAILABILITY = re.compile(r"n(?:\s*\+\s*(\d))?", re.IGNORECASE)
_HORIZON = re.compile(r"(\d+(?:\.\d+)?)\s*(y|a|years?|months?|m)?", re.IGNORECASE)
_LONGEST_YEARS = 15.0
MONTHS_PER_YEAR = 12.0
RANKED = (Terms.ON_DEMAND, Terms.RESERVED, Terms.OWNED)


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """One question to the planner.

    Attributes:
        workload: Of the run; a plan is for one.
        demand: Hour by hour.
        target: What must hold in every hour.
        spare_nodes: Machines that may be down with the target still met.
        region: Of the electricity and carbon tables; prices of it come first.
        hosting: Of what is owned: a key of the table of power usage effectiveness.
        horizon_years: Over which costs are summed up.
        terms: That take part in the ranking.
        share_servers: Owned servers do other work beside, and only a share is paid for; else whole ones are.
        with_processing: Count pre- and post-processing of each sample as work of the unit.
        prices: A file of offers that are looked at before those that come along.
        grid_g_per_kwh: Carbon of the grid for each hour of the week, in place of the region's yearly mean.
        as_of: The plan's day, by which prices are stale or not.
        seed: Of the simulations.
    """

    workload: str
    demand: Demand
    target: Target
    region: str
    as_of: date
    spare_nodes: int = 0
    hosting: str = "own"
    horizon_years: float = 3.0
    terms: tuple[Terms, ...] = RANKED
    share_servers: bool = False
    with_processing: bool = False
    prices: Path | None = None
    grid_g_per_kwh: tuple[float, ...] | None = None
    seed: int = 0


def parse_availability(text: str) -> int:
    """Return the spare machines of `n`, `n+1`, `n+2`.

    Raises:
        UsageError: If it is neither.
    """
    match = _AVAILABILITY.fullmatch(text.strip())
    if match is None:
        cause = "it wants how many machines may be down with the target still met"
        raise UsageError(f"`{text}` is not an availability", cause=cause, hint="write n, n+1 or n+2")
    return int(match[1] or 0)


def parse_horizon(text: str) -> float:
    """Return years from `3y` or `18 months`.

    Raises:
        UsageError: If it is no time span, or outside one month to 15 years.
    """
    match = _HORIZON.fullmatch(text.strip())
    years = float(match[1]) / (MONTHS_PER_YEAR if (match[2] or "y").lower().startswith("m") else 1.0) if match else 0.0
    if not 1 / MONTHS_PER_YEAR <= years <= _LONGEST_YEARS:
        cause = "it wants one month to 15 years"
        raise UsageError(f"`{text}` is not a horizon", cause=cause, hint="write it like 3y or 18 months")
    return years


def parse_terms(text: str) -> tuple[Terms, ...]:
    """Return the terms of `on-demand,owned`, without repeats.

    Raises:
        UsageError: If one is unknown.
    """
    known = [terms.value for terms in Terms]
    found = [part.strip() for part in text.split(",") if part.strip()]
    for part in found:
        if part not in known:
            raise UsageError(f"`{part}` are no terms", hint=f"known: {', '.join(known)}")
    if not found:
        raise UsageError("no terms are named", hint=f"known: {', '.join(known)}")
    return tuple(dict.fromkeys(Terms(part) for part in found))
