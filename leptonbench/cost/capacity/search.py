"""Look at numbers of units by simulation until the smallest that meets the target is found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property

import numpy as np

from leptonbench.cost.capacity.closed import batch_wait, cv2, least, mgc_late, mgc_wait
from leptonbench.cost.capacity.model import Candidate, Floats, Routing, ServiceModel, Target
from leptonbench.cost.capacity.simulation import Draws, Pools, Steady, lay_out, relaxation_queries, steady
from leptonbench.stats.queueing import capacity_per_s

HIGHEST_LOAD = 0.995  # of capacity: a longer run than the longest would be needed to see the wait above it
IDLE_LOAD = 0.01  # where units are so idle, more of them change nothing
_LATE = 100  # queries beyond the percentile in a whole run
_RELAXATIONS = 30  # that a run spans at least, to forget the empty queue that it begins with
_FILLINGS = 50  # queries a run has at least for each that is in service at once
FINE, ROUGH = 0.05, 0.15  # precision of what a plan states, and of what bounds it
_SHORTEST, _LONG, _LONGEST = 10_000, 100_000, 2_000_000  # whole runs; a run that is doubled ends at the second
_ROUGHER = 2  # times as short are the longest runs of what only bounds a plan
_FIRST_STEP = 256  # share of the guess that the first step away from it is
_FAR_OFF = 2.0  # times the target: a glance begins with an empty queue, and no luck makes it so late
_GLANCE, _GLANCES = 5_000, (16, 4)  # queries of a first look at least, and which parts of a whole run such looks are


class Effort(IntEnum):
    """How long to look: until it is clear whether the target is met, or until the percentile is known well enough."""

    VERDICT = 0
    FIGURE = 1


@dataclass(frozen=True, slots=True)
class Load:
    """What a group of engines that share a queue is given.

    Attributes:
        rate_per_s: Queries a second that reach the group.
        engines: Of the group.
    """

    rate_per_s: float
    engines: int


@dataclass(frozen=True, eq=False)
class Search:
    """One rate, one set of service times, any number of units.

    Attributes:
        service: Settings of a unit.
        pools_s: Service times in seconds by batch size, sorted.
        rate_per_s: To be served.
        target: To be met.
        routing: How queries find a unit.
        gaps: Of a trace; `None` is Poisson.
        seed: Of arrivals and draws.
        within: Half width of the percentile's interval, of its value, at which there is no need to look longer.
    """

    service: ServiceModel
    pools_s: dict[int, Floats]
    rate_per_s: float
    target: Target
    routing: Routing
    gaps: Floats | None
    seed: Sequence[int]
    within: float
    _seen: dict[int, tuple[Candidate, Effort]] = field(default_factory=dict)
    _draws: dict[int, Draws] = field(default_factory=dict)

    @cached_property
    def _laid_out(self) -> Pools:
        return lay_out(self.pools_s, self.service.max_batch)

    @cached_property
    def capacity_per_s(self) -> float:
        """Return the most queries a second that one unit ever finishes."""
        service = self.service
        return capacity_per_s(self.pools_s, instances=service.instances, max_batch=service.max_batch)

    @cached_property
    def fewest(self) -> int:
        """Return the fewest units whose queue does not grow without end, as far as a run can tell."""
        return max(1, math.ceil(self.rate_per_s / (HIGHEST_LOAD * self.capacity_per_s)))

    @property
    def emptiest(self) -> int:
        """Return so many units that they are idle 99 % of the time: more change nothing."""
        return max(self.fewest, math.ceil(self.rate_per_s / (IDLE_LOAD * self.capacity_per_s)))

    def at(self, rate_per_s: float) -> Search:
        """Return a coarser search at another rate with the same luck."""
        other = replace(self, rate_per_s=rate_per_s, within=ROUGH, _seen={})
        # What follows from the service times alone is not worked out again.
        other.__dict__.update((name, getattr(self, name)) for name in ("_laid_out", "capacity_per_s"))
        return other

    def load(self, units: int) -> float:
        """Return the rate over what so many units finish when queries never run out."""
        return self.rate_per_s / (units * self.capacity_per_s)

    def group(self, units: int) -> Load:
        """Return what one queue sees: that of all units, or that of one."""
        if self.routing is Routing.SHARED:
            return Load(self.rate_per_s, units * self.service.instances)
        return Load(self.rate_per_s / units, self.service.instances)

    def late(self, units: int) -> float:
        """Return the share of late queries by formula; 1 where the queue grows without end."""
        if units < self.fewest:
            return 1.0
        group, target_s = self.group(units), self.target.latency_s
        if self.service.max_batch == 1:
            times_s = self.pools_s[min(self.pools_s)]
            wait = mgc_wait(group.rate_per_s, times_s, engines=group.engines, arrival_cv2=self._arrival_cv2)
            return wait.late(times_s, target_s)
        wait, times_s = batch_wait(
            group.rate_per_s,
            self.pools_s,
            engines=group.engines,
            max_batch=self.service.max_batch,
            max_wait_s=self.service.max_wait_s,
        )
        return wait.late(times_s, target_s)

    def order(self, draws_s: dict[int, Floats], units: int) -> list[int]:
        """Return the order of several draws of service times by how many units they would need, fewest first.

        Single queries are ordered by the formula's share of late ones on so many units, batches by seconds a query.

        Args:
            draws_s: By batch size, shape `[draws, n]`.
            units: That serve.
        """
        sizes = sorted(draws_s)
        if self.service.max_batch > 1:
            each_s = np.min([draws_s[size].mean(axis=1) / min(size, self.service.max_batch) for size in sizes], axis=0)
            return [int(index) for index in np.argsort(each_s, kind="stable")]
        group, times_s = self.group(units), draws_s[sizes[0]]
        late = mgc_late(
            group.rate_per_s,
            times_s,
            engines=group.engines,
            latency_s=self.target.latency_s,
            arrival_cv2=self._arrival_cv2,
        )
        return [int(index) for index in np.lexsort((times_s.mean(axis=1), late))]

    @cached_property
    def _arrival_cv2(self) -> float:
        return 1.0 if self.gaps is None else cv2(self.gaps)

    def guess(self) -> int | None:
        """Return the units that the formula asks for; `None` where no number meets it."""
        most = self.emptiest
        if self.late(most) > 1 - self.target.percentile:
            return None
        return least(lambda units: units >= most or self.late(units) <= 1 - self.target.percentile, self.fewest)

    def look(self, units: int, effort: Effort = Effort.VERDICT) -> Candidate:
        """Simulate so many units, at least until it is clear whether they meet the target.

        A run begins with an empty queue, which flatters it: a glance can show that the target is missed, and only a
        whole run, which spans many relaxations, that it is met. It is doubled until the interval of the percentile
        leaves the target out or is narrow, or the run is as long as one can afford.
        """
        known = self._seen.get(units)
        if known is not None and known[1] >= effort:
            return known[0]
        if units < self.fewest:
            found = Candidate(units, None, 1.0, False), Effort.FIGURE
        else:
            found = self._simulated(units, effort)
        self._seen[units] = found
        return found[0]

    def _simulated(self, units: int, effort: Effort) -> tuple[Candidate, Effort]:
        whole, target_s = self._whole(units), self.target.latency_s
        for parts in _GLANCES if effort is Effort.VERDICT else ():
            if whole >= parts * _GLANCE:
                found, _ = self._run(units, whole // parts)
                if found.latency_s is not None and found.latency_s.value > _FAR_OFF * target_s:
                    return found, Effort.VERDICT
        queries = whole
        while True:
            found, narrow = self._run(units, queries)
            if narrow or 2 * queries > max(whole, _LONG if self.within <= FINE else _LONG // _ROUGHER):
                return found, Effort.FIGURE
            if effort < Effort.FIGURE and _is_clear(found, target_s):
                return found, Effort.VERDICT
            queries *= 2

    def _run(self, units: int, queries: int) -> tuple[Candidate, bool]:
        """Return what so many queries show, and whether the percentile's interval is narrow."""
        state = self.state(units, queries)
        latency_s = state.percentile(self.target.percentile)
        narrow = (latency_s.high or math.inf) - latency_s.low <= 2 * self.within * latency_s.value
        return Candidate(units, latency_s, state.utilisation, latency_s.value <= self.target.latency_s), narrow

    def state(self, units: int, queries: int) -> Steady:
        """Simulate so many queries on so many units."""
        group = self.group(units)
        thinned = units if self.routing is Routing.RANDOM and self.gaps is not None else 1
        if thinned not in self._draws:
            self._draws[thinned] = Draws(self.seed, self.gaps, thinned=thinned)
        return steady(
            self._laid_out,
            self._draws[thinned],
            rate_per_s=group.rate_per_s,
            engines=group.engines,
            max_wait_s=self.service.max_wait_s,
            queries=queries,
        )

    @property
    def _scatter(self) -> float:
        return 0.5 * (self._arrival_cv2 + self._laid_out.cv2)

    @property
    def _relaxations(self) -> float:
        """Return how many a run spans; one that a plan states sees some four clumps of late queries."""
        return max(_RELAXATIONS, 1 / (1 - self.target.percentile)) if self.within <= FINE else _RELAXATIONS

    def _whole(self, units: int) -> int:
        """Return how many queries a run has that can show a steady state and a tail."""
        in_service = self.group(units).engines * self.service.max_batch
        share = 1 - self.target.percentile
        wanted = max(
            _SHORTEST,
            _LATE / share,
            self._relaxations * relaxation_queries(min(self.load(units), HIGHEST_LOAD), self._scatter),
            _FILLINGS * in_service * min(self.load(units) + 0.1, 1.0),
        )
        return min(math.ceil(wanted), _LONGEST)

    def find(self, guess: int) -> int | None:
        """Return the fewest units that meet the target by simulation, starting where a guess says.

        Returns:
            `None` where units that are idle 99 % of the time do not meet it.
        """
        most = self.emptiest
        good, bad = None, self.fewest - 1
        units = min(max(guess, self.fewest), most)
        step = max(1, units // _FIRST_STEP)
        while good is None or good - bad > 1:
            if self.look(units).meets:
                good = units
                units = max(good - step, bad + 1) if bad < self.fewest else (good + bad) // 2
            elif good is None:
                bad = units
                # Far from the guess, see first whether there is anything to find.
                if units == most or (units > 2 * guess and not self.look(most).meets):
                    return None
                units = min(bad + step, most)
            else:
                bad, units = units, (good + units) // 2
            step *= 2
        return good


def _is_clear(candidate: Candidate, target_s: float) -> bool:
    """Return whether the interval of the percentile leaves the target out."""
    latency_s = candidate.latency_s
    return latency_s is not None and not latency_s.low <= target_s <= (latency_s.high or math.inf)
