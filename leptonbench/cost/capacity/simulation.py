"""Simulate a queue in steady state, event by event: Poisson or traced arrivals, measured service times, batching.

Runs with equal seeds share arrivals and draws (common random numbers), so a percentile changes with the number of units
and not with luck. How long a run must be follows from how slowly a queue forgets: near a load of 1 the relaxation takes
load / (1 - sqrt(load))^2 arrivals (M/M/c), and a run spans many of them.

What makes large fleets cheap is exact, not approximate. Poisson arrivals that are sent to N units at random are N
independent Poisson streams of 1/N of the rate (thinning), so one unit stands for all; one shared queue costs a heap of
as many engines as there are, log2 of them a batch. Hours are stationary by the same account: a queue relaxes within
seconds, so an hour of constant rate is simulated by as many queries as its percentile needs, not by all of its queries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from leptonbench.cost.capacity.closed import cv2
from leptonbench.cost.capacity.kernel import Floats, Ints, compiled
from leptonbench.cost.capacity.model import Estimate
from leptonbench.stats.special import t_critical

_WARM_UP = 0.1  # of a run: its queries meet a queue that is still filling
_CHUNKS = 20  # of a run, for the interval
_CONFIDENCE = 0.95
_FEWEST = 0.01  # clumps, so that a queue that never relaxes has a wide interval and not none
_TAIL = 4.0  # shares of late queries whose order is known: the interval's ends are among them


class Pools(NamedTuple):
    """Service times laid out for the simulation.

    Attributes:
        times_s: Of all batch sizes, one after the other, each sorted.
        first: Where the times of a batch of `b` begin, shape `[max_batch + 1]`; a batch between two sizes costs what
            the larger does.
        number: How many there are.
        seconds_a_query: That an engine takes where queries never run out.
        cv2: Squared coefficient of variation of a query's share of a full batch's time: of `b` in a row that of one
            is `b` times the batch's.
    """

    times_s: Floats
    first: Ints
    number: Ints
    seconds_a_query: float
    cv2: float

    def scaled(self, factor: float) -> Pools:
        """Return the same times, all longer by a factor."""
        return self._replace(times_s=self.times_s * factor, seconds_a_query=self.seconds_a_query * factor)


def lay_out(times_s: Mapping[int, Floats], max_batch: int) -> Pools:
    """Lay service times by batch size out for batches of up to `max_batch`.

    Raises:
        ValueError: If no size is as large as `max_batch`.
    """
    sizes = sorted(times_s)
    if not sizes or sizes[-1] < max_batch:
        raise ValueError(f"no service times for a batch of {max_batch}; sizes are {sizes}")
    used = [next(size for size in sizes if size >= batch) for batch in range(1, max_batch + 1)]
    pools = {size: np.sort(times_s[size]) for size in dict.fromkeys(used)}
    starts = dict(zip(pools, np.cumsum([0, *(len(pool) for pool in pools.values())])[:-1].tolist(), strict=True))
    first = np.array([0, *(starts[size] for size in used)], dtype=np.int64)
    count = np.array([0, *(len(pools[size]) for size in used)], dtype=np.int64)
    seconds_a_query = min(float(pools[size].mean()) / batch for batch, size in enumerate(used, 1))
    return Pools(np.concatenate(list(pools.values())), first, count, seconds_a_query, max_batch * cv2(pools[used[-1]]))


class Draws:
    """Arrivals at a rate of one a second and service draws, grown as they are asked for, the same for equal seeds.

    Args:
        seed: Of both.
        gaps: A trace's gaps between arrivals, played in order and over again; `None` is Poisson.
        thinned: Keep each arrival with probability 1 / `thinned`: what one of so many units sees of a trace whose
            queries are sent at random. Of Poisson arrivals it leaves Poisson arrivals, which need no thinning.
    """

    def __init__(self, seed: int | Sequence[int], gaps: Floats | None = None, *, thinned: int = 1) -> None:
        self._arrival_rng, self._service_rng, self._thin_rng = np.random.default_rng(seed).spawn(3)
        self._arrivals = np.empty(0)
        self._uniforms = np.empty(0)
        self._thinned = thinned
        self.cv2 = 1.0 if gaps is None else cv2(gaps)
        self._trace = None if gaps is None else np.cumsum(gaps) / float(np.mean(gaps))
        self._position = 0 if self._trace is None else int(self._thin_rng.integers(len(self._trace)))

    def take(self, queries: int) -> tuple[Floats, Floats]:
        """Return the first arrivals in seconds and uniform draws, both of shape `[queries]`."""
        if queries > len(self._arrivals):
            missing = max(queries - len(self._arrivals), len(self._arrivals))  # doubled: each copy is made but once
            self._arrivals = np.concatenate([self._arrivals, self._more(missing)])
            self._uniforms = np.concatenate([self._uniforms, self._service_rng.random(missing)])
        return self._arrivals[:queries], self._uniforms[:queries]

    def _more(self, queries: int) -> Floats:
        if self._trace is None:
            begin = self._arrivals[-1] if len(self._arrivals) else 0.0
            return np.asarray(begin + np.cumsum(self._arrival_rng.exponential(size=queries)))
        if self._thinned > 1:
            steps = self._thin_rng.geometric(1.0 / self._thinned, size=queries)
        else:
            steps = np.ones(queries, dtype=np.int64)
        positions = self._position + np.cumsum(steps)
        self._position = int(positions[-1])
        rounds, offsets = np.divmod(positions, len(self._trace))
        return np.asarray((rounds * self._trace[-1] + self._trace[offsets]) / self._thinned)


def simulate(
    pools: Pools, arrivals_s: Floats, uniforms: Floats, *, engines: int, max_wait_s: float = 0.0
) -> tuple[Floats, float]:
    """Return each query's latency in seconds, shape `[n]` in order of arrival, and the seconds of engine work.

    Args:
        pools: Service times.
        arrivals_s: Arrival times, ascending.
        uniforms: One draw in [0, 1) a query.
        engines: That serve in parallel, all from one queue.
        max_wait_s: Longest time that the oldest query waits for a fuller batch.
    """
    latency_s = np.empty(len(arrivals_s))
    free_s = np.full(engines, -math.inf)
    work_s = compiled()(
        np.ascontiguousarray(arrivals_s),
        uniforms,
        pools.times_s,
        pools.first,
        pools.number,
        free_s,
        float(max_wait_s),
        latency_s,
    )
    return latency_s, float(work_s)


@dataclass(frozen=True, slots=True, eq=False)
class Steady:
    """A simulated steady state.

    Attributes:
        latency_s: After the warm-up, in order of arrival, shape `[n]`.
        utilisation: Fraction of time that an engine is busy.
        relaxation: Queries after which the queue has forgotten how it was.
    """

    latency_s: Floats
    utilisation: float
    relaxation: float

    def percentile(self, percentile: float) -> Estimate:
        """Return a percentile of the latency in seconds with its 95 % interval.

        Queries that come one after the other are late together, so they are no independent observations. How far off
        the share of late ones may be is the larger of two figures: what its scatter over 20 chunks says, by Student's
        t, and what a queue near saturation does. There, late queries come in clumps, each as long as diffusion stays
        above a level: the mean square of a clump over its mean is the relaxation, so the share's relative variance is
        relaxation / (share x queries) (Aldous, Probability Approximations via the Poisson Clumping Heuristic, 1989). A
        run that saw few clumps cannot tell by its own scatter how few it saw. The interval is of the share's logarithm,
        since shares of a tail are off by factors; its ends are the ranks between which the percentile lies.
        """
        tail = _Tail(self.latency_s, percentile)
        value, share, queries = tail.at(percentile), 1.0 - percentile, len(self.latency_s)
        width = queries // _CHUNKS
        late = (self.latency_s[: width * _CHUNKS].reshape(_CHUNKS, width) > value).mean(axis=1)
        seen = t_critical(_CONFIDENCE, _CHUNKS - 1) * float(late.std(ddof=1)) / math.sqrt(_CHUNKS) / share
        clumps = share * queries / (1.0 + self.relaxation)
        clumped = t_critical(_CONFIDENCE, max(int(4 * clumps), 1)) * math.sqrt(percentile / max(clumps, _FEWEST))
        factor = math.exp(max(seen, clumped))
        return Estimate(value, tail.at(1.0 - min(share * factor, 1.0)), tail.at(1.0 - share / factor))


class _Tail:
    """The upper ranks of many values, sorted; of the others, which are rarely asked for, no more than is needed."""

    def __init__(self, values: Floats, percentile: float) -> None:
        self._values = values
        self._first = int(max(1.0 - _TAIL * (1.0 - percentile), 0.0) * len(values))
        self._sorted = np.sort(np.partition(values, self._first)[self._first :])

    def at(self, percentile: float) -> float:
        """Return the value that a share `percentile` of all does not exceed."""
        rank = min(max(math.ceil(percentile * len(self._values)) - 1, 0), len(self._values) - 1)
        if rank < self._first:
            return float(np.partition(self._values, rank)[rank])
        return float(self._sorted[rank - self._first])


def steady(pools: Pools, draws: Draws, *, rate_per_s: float, engines: int, max_wait_s: float, queries: int) -> Steady:
    """Simulate so many queries at a constant rate and leave out those of the warm-up."""
    unit_s, uniforms = draws.take(queries)
    arrivals_s = unit_s / rate_per_s
    latency_s, work_s = simulate(pools, arrivals_s, uniforms, engines=engines, max_wait_s=max_wait_s)
    span_s = float(arrivals_s[-1] - arrivals_s[0])
    busy = work_s / (span_s * engines) if span_s > 0 else 0.0
    load = rate_per_s * pools.seconds_a_query / engines
    relaxation = relaxation_queries(load, 0.5 * (draws.cv2 + pools.cv2)) if load < 1 else math.inf
    return Steady(latency_s[int(_WARM_UP * queries) :], busy, relaxation)


def relaxation_queries(load: float, scatter: float = 1.0) -> float:
    """Return after how many arrivals a queue at this load has forgotten how it began.

    Args:
        load: Offered work over the engines' capacity, below 1.
        scatter: Mean of the squared coefficients of variation of gaps and of service times: 1 in M/M/c, for which this
            is exact; a queue relaxes by diffusion, whose pace is in proportion to it.
    """
    return scatter * load / (1.0 - math.sqrt(load)) ** 2


def curve_arrivals(rates_per_s: Sequence[float], hour_s: float, rng: np.random.Generator) -> Floats:
    """Return arrival times in seconds of a Poisson process whose rate is constant within each hour.

    Args:
        rates_per_s: One an hour, none negative.
        hour_s: Length of an hour in seconds: 3600, or less where the curve is played faster.
        rng: Source of the draws.
    """
    counts = rng.poisson(np.asarray(rates_per_s, dtype=np.float64) * hour_s)
    starts = np.repeat(np.arange(len(counts)) * hour_s, counts)
    # Given their number, the arrivals of a Poisson process are uniform over the hour; hours do not overlap.
    return np.asarray(np.sort(starts + rng.random(int(counts.sum())) * hour_s))
