"""Follow the week: how busy a fleet is hour by hour, and how many units each hour alone would need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from leptonbench.cost.capacity.model import Arrivals, Fleet
from leptonbench.cost.capacity.search import Search

_KNOTS = (1.0, 0.5, 0.25)  # shares of the busiest rate that are simulated where a week has more rates than these
_QUERIES = 20_000  # to see how busy engines are: a mean settles sooner than a tail


class Hours(NamedTuple):
    """The week of one fleet.

    Attributes:
        units: Needed in each hour, spares included; 0 where nothing arrives.
        utilisation_peak: Of the bought units' engines in the busiest hour.
        utilisation_mean: Likewise over the week.
    """

    units: tuple[int, ...]
    utilisation_peak: float
    utilisation_mean: float


def follow_hours(search: Search, arrivals: Arrivals, fleet: Fleet, required: int) -> Hours:
    """Return how busy the fleet that the busiest hour needs is, and what each hour alone would need.

    Args:
        search: Of the busiest hour.
        arrivals: Of the week.
        fleet: Spares and granularity.
        required: Units that must serve in the busiest hour.
    """
    rates = sorted({rate for rate in arrivals.rates_per_s if rate > 0}, reverse=True)
    knots = rates if len(rates) <= len(_KNOTS) else [share * rates[0] for share in _KNOTS]
    needed = staffing(search, knots, required)
    serving = {rate: _between(needed, rate, required) for rate in rates}
    busy = _busy(search, knots, fleet.bought(required))
    shares = np.interp(arrivals.rates_per_s, *busy).tolist()
    units = tuple(fleet.bought(serving[rate]) if rate > 0 else 0 for rate in arrivals.rates_per_s)
    return Hours(units, max(shares), math.fsum(shares) / len(shares))


def staffing(search: Search, rates_per_s: Sequence[float], required: int) -> list[tuple[float, int]]:
    """Return each rate, falling, with the units that it needs by simulation; the first needs `required`."""
    found = [(rates_per_s[0], required)]
    for rate in rates_per_s[1:]:
        here = search.at(rate)
        guess = math.ceil(found[-1][1] * rate / found[-1][0]) if here.service.max_batch > 1 else here.guess()
        units = here.find(guess or here.fewest)
        found.append((rate, found[-1][1] if units is None else min(units, found[-1][1])))
    return found


def _between(found: Sequence[tuple[float, int]], rate: float, required: int) -> int:
    """Return the units for a rate between simulated ones, by the law of staffing: a x rate + b x sqrt(rate).

    The law passes through both neighbours, below the lowest through the lowest two. It is rounded up.
    """
    exact = dict(found)
    if rate in exact:
        return exact[rate]
    pairs = list(pairwise(found))
    (high, most), (low, fewest) = next((pair for pair in pairs if rate >= pair[1][0]), pairs[-1])
    b = (most / high - fewest / low) / (1 / math.sqrt(high) - 1 / math.sqrt(low))
    a = most / high - b / math.sqrt(high)
    units = math.ceil(a * rate + b * math.sqrt(rate) - 1e-9)
    bound = next((units_at for rate_at, units_at in reversed(found) if rate_at >= rate), required)
    return min(max(units, _floor(fewest, rate, low)), bound)


def _floor(units: int, rate: float, rate_there: float) -> int:
    """Return the fewest units that leave each no more to do than the simulated ones have."""
    return max(1, math.ceil(units * rate / rate_there - 1e-9)) if rate < rate_there else units


def _busy(search: Search, rates_per_s: Sequence[float], units: int) -> tuple[list[float], list[float]]:
    """Return rates from 0 up and the fraction of time that an engine of so many units is busy at each."""
    if search.service.max_batch == 1:
        mean_s = float(search.pools_s[min(search.pools_s)].mean())
        peak = rates_per_s[0]
        return [0.0, peak], [0.0, peak * mean_s / (units * search.service.instances)]
    points = [(rate, search.at(rate).state(units, _QUERIES).utilisation) for rate in reversed(rates_per_s)]
    return [0.0, *(rate for rate, _ in points)], [0.0, *(min(busy, 1.0) for _, busy in points)]
