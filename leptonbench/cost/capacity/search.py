"""Look at numbers of units by simulation until the smallest that meets the target is found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from leptonbench.cost.capacity.closed import batch_wait, least, mgc_wait
from leptonbench.cost.capacity.model import Candidate, Floats, Routing, ServiceModel, Target
from leptonbench.cost.capacity.simulation import Draws, Pools, Steady, lay_out, relaxation_queries, steady
from leptonbench.stats.queueing import capacity_per_s

HIGHEST_LOAD = 0.995  # of capacity: a longer run than the longest would be needed to see the wait above it
IDLE_LOAD = 0.01  # where units are so idle, more of them change nothing
_LATE = 200  # queries beyond the percentile in the shortest run
_RELAXATIONS = 10  # that a run spans at least
_FILLINGS = 50  # queries a run has at least for each that is in service at once
_SHORTEST, _LONGEST = 20_000, 2_000_000
_FIRST_STEP = 256  # share of the guess that the first step away from it is
_SOUND = 0.02  # half width of the percentile's interval, of its value: no need to look longer


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
    """

    service: ServiceModel
    pools_s: dict[int, Floats]
    rate_per_s: float
    target: Target
    routing: Routing
    gaps: Floats | None
    seed: Sequence[int]
    _seen: dict[int, Candidate] = field(default_factory=dict)
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
        """Return a search at another rate with the same luck."""
        return replace(self, rate_per_s=rate_per_s, _seen={})

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
            arrival_cv2 = 1.0 if self.gaps is None else float(self.gaps.var() / self.gaps.mean() ** 2)
            wait = mgc_wait(group.rate_per_s, times_s, engines=group.engines, arrival_cv2=arrival_cv2)
            return wait.late(times_s, target_s)
        wait, times_s = batch_wait(
            group.rate_per_s,
            self.pools_s,
            engines=group.engines,
            max_batch=self.service.max_batch,
            max_wait_s=self.service.max_wait_s,
        )
        return wait.late(times_s, target_s)

    def rank(self, units: int) -> tuple[float, float]:
        """Return what orders service times by how many units they would need: late queries, then seconds a query."""
        return self.late(units), 1.0 / self.capacity_per_s

    def guess(self) -> int | None:
        """Return the units that the formula asks for; `None` where no number meets it."""
        most = self.emptiest
        if self.late(most) > 1 - self.target.percentile:
            return None
        return least(lambda units: units >= most or self.late(units) <= 1 - self.target.percentile, self.fewest)

    def look(self, units: int, *, sound: bool = False) -> Candidate:
        """Simulate so many units until it is clear whether they meet the target.

        A run is doubled until the interval of the percentile leaves the target out or is narrow.

        Args:
            units: That serve.
            sound: Look until the interval is narrow, however clear the answer is.
        """
        known = self._seen.get(units)
        if known is not None and not (sound and known.latency_s is not None and not _is_sound(known)):
            return known
        stable = units >= self.fewest
        found = self._simulated(units, sound=sound) if stable else Candidate(units, None, 1.0, False)
        self._seen[units] = found
        return found

    def _simulated(self, units: int, *, sound: bool) -> Candidate:
        queries = self._shortest(units)
        while True:
            state = self.state(units, queries)
            latency_s = state.percentile(self.target.percentile)
            candidate = Candidate(units, latency_s, state.utilisation, latency_s.value <= self.target.latency_s)
            clear = not latency_s.low <= self.target.latency_s <= (latency_s.high or math.inf)
            if _is_sound(candidate) or (clear and not sound) or 2 * queries > _LONGEST:
                return candidate
            queries *= 2

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

    def _shortest(self, units: int) -> int:
        """Return how many queries the shortest run has that can show a steady state and a tail."""
        in_service = self.group(units).engines * self.service.max_batch
        wanted = max(
            _SHORTEST,
            _LATE / (1 - self.target.percentile),
            _RELAXATIONS * relaxation_queries(min(self.load(units), HIGHEST_LOAD)),
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
            else:
                bad = units
                if units == most:
                    return None
                units = min(bad + step, most) if good is None else (good + bad) // 2
            step *= 2
        return good


def _is_sound(candidate: Candidate) -> bool:
    latency_s = candidate.latency_s
    if latency_s is None or latency_s.high is None:
        return True
    return latency_s.high - latency_s.low <= 2 * _SOUND * latency_s.value
