"""How long queries wait, by formula: M/M/c and M/D/c exactly, M/G/c and batching nearly.

Formulas give a first number of units and order bootstrap samples; what a plan states comes from simulation. For single
queries of moderate scatter (squared coefficient of variation of at most 1) the formula's 99th percentile is within a
few per cent of the simulated one (`benchmarks/capacity_validation.py`); for wider scatter and for batches it is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from leptonbench.cost.capacity.kernel import Floats
from leptonbench.stats.queueing import erlang_c

_BISECTIONS = 60
_SERIES_END = 1e-10  # share of the sum so far: the terms fall geometrically, slowly where the load is near 1
_MOST_UNITS = 10**7


class Wait(NamedTuple):
    """A wait before service: a chance of waiting at all, and an exponential time for those who do.

    Attributes:
        probability: Of waiting.
        mean_s: Of those who wait, in seconds.
    """

    probability: float
    mean_s: float

    def late(self, times_s: Floats, latency_s: float) -> float:
        """Return the probability that wait and service together take longer than `latency_s`.

        Args:
            times_s: Equally likely service times in seconds, shape `[n]`.
            latency_s: From arrival to answer.
        """
        spare_s = latency_s - times_s
        if self.mean_s == 0 or self.probability == 0:
            return float(np.mean(spare_s < 0))
        waiting = self.probability * np.exp(-np.maximum(spare_s, 0.0) / self.mean_s)
        return float(np.mean(np.where(spare_s < 0, 1.0, waiting)))

    def percentile_s(self, times_s: Floats, percentile: float) -> float:
        """Return the latency in seconds that a share `percentile` of the queries stays within."""
        low, high = 0.0, float(times_s.max()) + self.mean_s * -math.log1p(-percentile) + self.mean_s
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.late(times_s, middle) > 1 - percentile else (low, middle)
        return high


def mmc_wait(rate_per_s: float, mean_service_s: float, *, engines: int) -> Wait:
    """Return the wait in M/M/c (Erlang), which is exact.

    Raises:
        ValueError: Unless the queue is stable.
    """
    load = rate_per_s * mean_service_s
    return Wait(erlang_c(engines, load), mean_service_s / (engines - load))


def mgc_wait(rate_per_s: float, times_s: Floats, *, engines: int, arrival_cv2: float = 1.0) -> Wait:
    """Return the wait in M/G/c by Lee and Longton's scaling of M/M/c: mean x (ca2 + cs2) / 2 (Allen-Cunneen).

    Args:
        rate_per_s: Arrivals a second.
        times_s: Equally likely service times in seconds.
        engines: That serve in parallel.
        arrival_cv2: Squared coefficient of variation of the gaps between arrivals; 1 for Poisson.

    Raises:
        ValueError: Unless the queue is stable.
    """
    mean_s = float(times_s.mean())
    plain = mmc_wait(rate_per_s, mean_s, engines=engines)
    return Wait(plain.probability, plain.mean_s * 0.5 * (arrival_cv2 + cv2(times_s)))


def mgc_late(rate_per_s: float, draws_s: Floats, *, engines: int, latency_s: float, arrival_cv2: float = 1.0) -> Floats:
    """Return the share of queries that take longer than `latency_s`, for several draws of service times at once.

    Args:
        rate_per_s: Arrivals a second.
        draws_s: Service times in seconds, shape `[draws, n]`.
        engines: That serve in parallel.
        latency_s: From arrival to answer.
        arrival_cv2: As of `mgc_wait`.

    Returns:
        One share a draw, shape `[draws]`; 1 where the queue is not stable.
    """
    mean_s = draws_s.mean(axis=1)
    load = np.minimum(rate_per_s * mean_s, engines * (1 - 1e-9))
    blocking = np.ones_like(load)
    for k in range(1, engines + 1):
        blocking = load * blocking / (k + load * blocking)
    waits = blocking / (1 - load / engines * (1 - blocking))
    mean_wait_s = mean_s / (engines - load) * 0.5 * (arrival_cv2 + draws_s.var(axis=1) / mean_s**2)
    spare_s = latency_s - draws_s
    late = np.where(spare_s < 0, 1.0, waits[:, None] * np.exp(-np.maximum(spare_s, 0.0) / mean_wait_s[:, None]))
    return np.asarray(np.where(rate_per_s * mean_s < engines, late.mean(axis=1), 1.0))


def cv2(values: Floats) -> float:
    """Return the squared coefficient of variation: variance over squared mean."""
    return float(values.var() / values.mean() ** 2)


def mdc_mean_wait_s(rate_per_s: float, service_s: float, *, engines: int) -> float:
    """Return the mean wait in M/D/c in seconds, exactly, by Crommelin's series.

    E[W] = D sum over i of e^-ia (sum over j >= ic of (ia)^j / j! - (c / a) sum over j > ic of (ia)^j / j!), with
    a = rate x D (Crommelin 1932).

    Raises:
        ValueError: Unless the queue is stable.
    """
    load = rate_per_s * service_s
    if not 0 < load < engines:
        raise ValueError(f"the queue is stable for 0 < load < engines, got {load} on {engines}")
    total, i = 0.0, 0
    while True:
        i += 1
        tail, point = _poisson_tail(i * load, i * engines)
        term = tail - engines / load * (tail - point)
        total += term
        if term <= _SERIES_END * max(total, _SERIES_END):
            return service_s * total


def _poisson_tail(mean: float, least: int) -> tuple[float, float]:
    """Return P(X >= least) and P(X = least) of a Poisson variable, for `least` above its mean."""
    point = math.exp(least * math.log(mean) - mean - math.lgamma(least + 1))
    total, term, j = 0.0, point, least
    while term > _SERIES_END * total:
        total += term
        j += 1
        term *= mean / j
    return total, point


class Batches(NamedTuple):
    """A batcher that is greedy, by a fluid account of it.

    Attributes:
        wait: Until an engine takes the query.
        times_s: Service times of the batch that it goes in.
    """

    wait: Wait
    times_s: Floats


def batch_wait(
    rate_per_s: float, pools: Mapping[int, Floats], *, engines: int, max_batch: int, max_wait_s: float
) -> Batches:
    """Return roughly how a query fares that is served in batches: a first guess, no more.

    A batch has as many queries as come while one is served, from 1 to `max_batch`; it waits like a single customer
    whose rate and service time are the batch's, and queries that wait for company wait for `max_wait_s` at most.

    Raises:
        ValueError: Unless full batches keep up with the rate.
    """
    sizes = sorted(pools)

    def of(batch: float) -> Floats:
        return pools[next(size for size in sizes if size >= batch - 1e-9)]

    full_s = float(of(max_batch).mean())
    load = rate_per_s * full_s / (max_batch * engines)
    if not load < 1:
        raise ValueError(f"full batches do not keep up: load {load}")
    batch = 1.0
    for _ in range(2 * max_batch):
        grown = min(max(rate_per_s * float(of(batch).mean()) / engines, 1.0, rate_per_s * max_wait_s), float(max_batch))
        if grown <= batch:
            break
        batch = grown
    times_s = of(batch)
    mean_s = float(times_s.mean())
    offered = min(rate_per_s / batch * mean_s, 0.999 * engines)
    probability = erlang_c(engines, offered)
    mean_wait_s = full_s / (engines * (1 - load)) * 0.5 * (1 + cv2(times_s))
    company_s = min(max_wait_s, (max_batch - 1) / rate_per_s)
    return Batches(Wait(probability, mean_wait_s), times_s + company_s)


def least(meets: Callable[[int], bool], lowest: int) -> int | None:
    """Return the smallest number from `lowest` on that meets a condition which larger ones meet too.

    Returns:
        `None` if ten millions do not.
    """
    high = max(lowest, 1)
    low = high - 1
    while not meets(high):
        low, high = high, 2 * high
        if high > _MOST_UNITS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return high
