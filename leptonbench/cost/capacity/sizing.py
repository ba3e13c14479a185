"""Find how many units a demand needs.

The formula gives a first number; event simulation of the busiest hour walks from there to the smallest number of units
that meets the target, and looks at both neighbours. The interval comes from a bootstrap of the service times: the drawn
samples are ordered by the formula, and those at 2.5 and 97.5 % are simulated with luck of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from leptonbench.cost.capacity.hours import Hours, follow_hours
from leptonbench.cost.capacity.model import Arrivals, Candidate, Estimate, Fleet, Floats, ServiceModel, Sizing, Target
from leptonbench.cost.capacity.resampling import resample
from leptonbench.cost.capacity.search import FINE, ROUGH, Effort, Search
from leptonbench.schema import Provenance, weakest

PLAIN = Fleet()
_DRAWS, _CUT = 79, 1  # of the bootstrap: the second of 79 in order stands at 2 / 80, and the last but one at 78 / 80
_TIGHT = 0.97  # 90th percentile of 462 server over offline rates of MLPerf Inference: see docs/validation.md


class _Ends(NamedTuple):
    """The searches with the bootstrap's service times at 2.5 and 97.5 %, and what they need."""

    searches: tuple[Search, Search]
    required: tuple[int | None, int | None]


def size(service: ServiceModel, arrivals: Arrivals, target: Target, *, fleet: Fleet = PLAIN, seed: int = 0) -> Sizing:
    """Return how many units meet the target in every hour of the week, by event simulation.

    Args:
        service: One unit's service times.
        arrivals: Of the week.
        target: To be met in the busiest hour, hence in all.
        fleet: Spares, granularity, routing.
        seed: Of arrivals, draws and bootstrap: the same inputs and seed give the same answer.
    """
    search = _search(service, arrivals, target, fleet, service.pooled(), (seed, 0), FINE)
    why = _alone(search)
    if why is not None:
        return _infeasible(service, why, None)
    guess = search.guess()
    required = search.find(guess if guess is not None else search.fewest)
    if required is None:
        return _infeasible(service, _never(search), guess)
    # A longer look at what is stated may find that it only just misses the target.
    while not search.look(required, Effort.FIGURE).meets:
        if required >= search.emptiest:
            return _infeasible(service, _never(search), guess)
        required += 1
    candidates = tuple(search.look(units) for units in (required - 1, required, required + 1) if units > 0)
    ends = _bootstrap(search, arrivals, fleet, seed, required)
    hours = follow_hours(search, arrivals, fleet, required)
    return _sizing(service, search, ends, hours, candidates, fleet, guess, required)


def _search(
    service: ServiceModel,
    arrivals: Arrivals,
    target: Target,
    fleet: Fleet,
    pools_s: dict[int, Floats],
    seed: Sequence[int],
    within: float,
) -> Search:
    return Search(service, pools_s, arrivals.peak_per_s, target, fleet.routing, arrivals.gaps, seed, within)


def _alone(search: Search) -> str | None:
    """Say why a query that nobody delays is late; `None` if it is not."""
    target = search.target
    fastest_s = min(_at_least(times, target.percentile) for times in search.pools_s.values())
    if fastest_s <= target.latency_s:
        return None
    return (
        f"p{100 * target.percentile:g} of service alone is {_ms(fastest_s)}, above the target of "
        f"{_ms(target.latency_s)}: no number of units helps"
    )


def _at_least(times_s: Floats, percentile: float) -> float:
    rank = math.ceil(percentile * (len(times_s) - 1))
    return float(np.partition(times_s, rank)[rank])


def _never(search: Search) -> str:
    units = search.emptiest
    latency_s = search.look(units).latency_s
    found = "" if latency_s is None else f": p{100 * search.target.percentile:g} is {_ms(latency_s.value)}"
    wait = f" (the batcher waits up to {_ms(search.service.max_wait_s)})" if search.service.max_wait_s else ""
    return f"the target of {_ms(search.target.latency_s)} is missed even on {units} nearly idle units{found}{wait}"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.4g} ms"


def _infeasible(service: ServiceModel, why: str, guess: int | None) -> Sizing:
    return Sizing(
        units=None,
        low=None,
        high=None,
        required=None,
        closed_form=guess,
        candidates=(),
        latency_s=None,
        latency_all_up_s=None,
        utilisation_peak=None,
        utilisation_mean=None,
        load_peak=None,
        units_by_hour=(),
        provenance=weakest((service.provenance, Provenance.SIMULATED)),
        method=_method(service),
        why_infeasible=why,
    )


def _bootstrap(middle: Search, arrivals: Arrivals, fleet: Fleet, seed: int, required: int) -> _Ends:
    service, target = middle.service, middle.target
    samples = resample(service, np.random.default_rng((seed, 1)), _DRAWS)

    def over(pools_s: dict[int, Floats], luck: int) -> Search:
        return _search(service, arrivals, target, fleet, pools_s, (seed, luck), ROUGH)

    order = middle.order(samples.pools_s, required)
    searches = [over(samples.one(order[position]), 2 + i) for i, position in enumerate((_CUT, -1 - _CUT))]
    low, high = (
        None if _alone(search) is not None else search.find(_start(middle, search, required)) for search in searches
    )
    return _Ends((searches[0], searches[1]), (low, high))


def _start(middle: Search, end: Search, required: int) -> int:
    """Return where to begin to look for the units that other service times need: as many more as the formula says."""
    if end.service.max_batch > 1:
        return math.ceil(required * middle.capacity_per_s / end.capacity_per_s)
    guesses = [search.guess() or search.fewest for search in (middle, end)]
    return max(required + guesses[1] - guesses[0], 1)


def _sizing(
    service: ServiceModel,
    search: Search,
    ends: _Ends,
    hours: Hours,
    candidates: tuple[Candidate, ...],
    fleet: Fleet,
    guess: int | None,
    required: int,
) -> Sizing:
    chosen = search.look(required, Effort.FIGURE)
    units = fleet.bought(required)
    low, high = ends.required
    return Sizing(
        units=units,
        low=fleet.bought(min(required, low)) if low is not None else units,
        high=fleet.bought(max(required, high)) if high is not None else None,
        required=required,
        closed_form=guess,
        candidates=candidates,
        latency_s=_whole(chosen, ends, required),
        latency_all_up_s=_whole(search.look(units), ends, units),
        utilisation_peak=hours.utilisation_peak,
        utilisation_mean=hours.utilisation_mean,
        load_peak=search.load(required),
        units_by_hour=hours.units,
        provenance=weakest((service.provenance, Provenance.SIMULATED)),
        method=_method(service),
        notes=tuple(_notes(service, search, required)),
    )


def _whole(candidate: Candidate, ends: _Ends, units: int) -> Estimate | None:
    """Return a latency with the interval of the service times' scatter besides the simulation's luck."""
    mine = candidate.latency_s
    if mine is None:
        return None
    low, high = (search.look(units).latency_s for search in ends.searches)
    lowest = mine.low if low is None else min(mine.low, low.low)
    if high is None or high.high is None or mine.high is None:
        return Estimate(mine.value, lowest, None)
    return Estimate(mine.value, lowest, max(mine.high, high.high))


def _method(service: ServiceModel) -> str:
    times = sum(len(one[size]) for one in service.rounds for size in service.sizes)
    return f"event simulation with {times} service times of {len(service.rounds)} rounds ({service.method})"


def _notes(service: ServiceModel, search: Search, required: int) -> list[str]:
    notes = []
    if len(service.rounds) == 1 and service.provenance is Provenance.MEASURED:
        notes.append("the service times come from one round, so how much rounds differ is not in the interval")
    tail = 1.0 / (1.0 - search.target.percentile)
    fewest = min(sum(len(one[size]) for one in service.rounds) for size in service.sizes)
    if 1 < fewest < tail:
        notes.append(
            f"{fewest} service times of a batch size say little about p{100 * search.target.percentile:g}: "
            f"{math.ceil(tail)} would be the fewest to show it"
        )
    if search.load(required) > _TIGHT:
        notes.append(
            f"the busiest hour takes {search.load(required):.0%} of what the units finish without a latency target; "
            f"nine in ten published servers stay below {_TIGHT:.0%}"
        )
    return notes
