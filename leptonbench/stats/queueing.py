"""How long queries wait: a dynamic batcher simulated with measured service times, and closed forms to check it.

The batcher is first come, first served. A batch starts as soon as an instance is free and either `max_batch` queries
wait or the oldest has waited `max_wait_s`; it takes every query present, up to `max_batch`. A query's latency runs
from its arrival to the end of its batch, as LoadGen counts it.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ServiceSamples = Mapping[int, Sequence[float] | NDArray[np.floating[Any]]]
ServiceTime = Callable[[int, float], float]
"""Seconds to serve a batch of the given size, as a function of a uniform draw in [0, 1) (an inverse distribution)."""

_WARM_UP = 0.1
_GRID = 14
_BISECTIONS = 8
_HEADROOM = 0.99


def _resampler(samples: ServiceSamples) -> ServiceTime:
    """Return a service time that picks one of the measured samples of the smallest measured batch that fits."""
    sizes = sorted(samples)
    pools = [np.sort(np.asarray(samples[size], dtype=np.float64)).tolist() for size in sizes]
    for size, pool in zip(sizes, pools, strict=True):
        if not pool or not pool[0] > 0 or not math.isfinite(pool[-1]):
            raise ValueError(f"service times of batch {size} are not all positive and finite")

    def draw(batch: int, uniform: float) -> float:
        pool: list[float] = pools[bisect_left(sizes, batch)]
        return pool[int(uniform * len(pool))]

    return draw


def _check(instances: int, max_batch: int, max_wait_s: float, service_s: ServiceSamples | ServiceTime) -> None:
    if instances < 1 or max_batch < 1 or not 0 <= max_wait_s < math.inf:
        got = f"{instances}, {max_batch}, {max_wait_s}"
        raise ValueError(f"wants instances >= 1, max_batch >= 1 and a finite max_wait_s >= 0, got {got}")
    if isinstance(service_s, Mapping) and (not service_s or max(service_s) < max_batch):
        raise ValueError(f"no service times for batch {max_batch}; measured sizes are {sorted(service_s)}")


def simulate_batch_queue(
    arrivals_s: Floats,
    service_s: ServiceSamples | ServiceTime,
    *,
    instances: int,
    max_batch: int,
    max_wait_s: float,
    rng: np.random.Generator,
) -> Floats:
    """Return each query's latency in seconds, in arrival order.

    Args:
        arrivals_s: Arrival times, ascending.
        service_s: Measured service times in seconds by batch size, resampled with replacement (a batch between two
            measured sizes costs what the larger does), or a function of batch size and a uniform draw.
        instances: Engines that serve in parallel.
        max_batch: Largest batch.
        max_wait_s: Longest time the oldest query waits for a fuller batch.
        rng: Source of the draws. One is taken a query, so runs with equal seeds share their service-time luck.

    Raises:
        ValueError: If an argument is outside its range, or `max_batch` is larger than any measured size.
    """
    _check(instances, max_batch, max_wait_s, service_s)
    n = len(arrivals_s)
    if n == 0:
        return np.empty(0, dtype=np.float64)
    if not np.isfinite(arrivals_s).all() or bool((np.diff(arrivals_s) < 0).any()):
        raise ValueError("arrival times are finite and ascending")
    serve = service_s if callable(service_s) else _resampler(service_s)
    arrivals: list[float] = np.asarray(arrivals_s, dtype=np.float64).tolist()
    uniforms: list[float] = rng.random(n).tolist()
    done = [0.0] * n
    free = [-math.inf] * instances
    head = 0
    while head < n:
        last = min(head + max_batch, n)
        ready = arrivals[head] + max_wait_s
        if last - head == max_batch:
            ready = min(ready, arrivals[last - 1])
        start = max(free[0], ready)
        tail = head + 1
        while tail < last and arrivals[tail] <= start:
            tail += 1
        end = start + serve(tail - head, uniforms[head])
        heapq.heapreplace(free, end)
        for index in range(head, tail):
            done[index] = end - arrivals[index]
        head = tail
    return np.asarray(done, dtype=np.float64)


def capacity_per_s(samples: ServiceSamples, *, instances: int, max_batch: int) -> float:
    """Return the most queries a second that the instances can ever finish, at their best batch size up to `max_batch`.

    Raises:
        ValueError: If `max_batch` is larger than any measured size.
    """
    _check(instances, max_batch, 0.0, samples)
    sizes = sorted(samples)
    usable = sizes[: bisect_left(sizes, max_batch) + 1]
    return instances * max(min(size, max_batch) / float(np.mean(samples[size])) for size in usable)


def max_rate(
    samples: ServiceSamples,
    *,
    latency_target_s: float,
    percentile: float,
    instances: int,
    max_batch: int,
    max_wait_s: float,
    seed: int,
    queries: int = 4000,
) -> float:
    """Return the highest Poisson rate in queries a second whose latency percentile meets the target; 0.0 if none does.

    The same unit-rate arrivals and service draws are used at every rate (common random numbers), so the percentile
    changes with the rate and not with luck. Waiting for a fuller batch can make a low rate slower than a higher one,
    so rates are searched from capacity downwards before the last step is bisected. The result stays below 99 % of
    capacity: above it the wait grows without end, which a finite run does not show. The first tenth of the queries,
    which meet an empty queue, is left out. Another `seed` shows how far the result depends on luck.

    Args:
        samples: Service times in seconds by batch size.
        latency_target_s: What the percentile must not exceed.
        percentile: As a fraction (0.99).
        instances: Engines that serve in parallel.
        max_batch: Largest batch.
        max_wait_s: Longest time the oldest query waits for a fuller batch.
        seed: Of arrivals and draws.
        queries: Length of each simulated run.

    Raises:
        ValueError: If an argument is outside its range.
    """
    if not 0 < percentile < 1 or queries < 100 or not latency_target_s > 0:
        raise ValueError(f"wants 0 < percentile < 1, queries >= 100, a target > 0, got {percentile}, {queries}")
    _check(instances, max_batch, max_wait_s, samples)
    serve = _resampler(samples)
    unit_arrivals = np.cumsum(np.random.default_rng((seed, 1)).exponential(size=queries))
    first = int(queries * _WARM_UP)

    def meets(rate_per_s: float) -> bool:
        latencies = simulate_batch_queue(
            unit_arrivals / rate_per_s,
            serve,
            instances=instances,
            max_batch=max_batch,
            max_wait_s=max_wait_s,
            rng=np.random.default_rng((seed, 2)),
        )
        return bool(np.quantile(latencies[first:], percentile, method="higher") <= latency_target_s)

    ceiling = _HEADROOM * capacity_per_s(samples, instances=instances, max_batch=max_batch)
    # Steps in the reciprocal of spare capacity near the top and by thirds below: fine where the wait is steep.
    steps = [1.0, 0.97, 0.93, 0.88, 0.8, 0.7, 0.6, 0.5, *(0.5 * 0.45**k for k in range(1, _GRID - 7))]
    above = ceiling
    for step in steps:
        if meets(step * ceiling):
            return _bisect(meets, step * ceiling, above)
        above = step * ceiling
    return 0.0


def _bisect(meets: Callable[[float], bool], good: float, bad: float) -> float:
    if good == bad:
        return good
    for _ in range(_BISECTIONS):
        middle = 0.5 * (good + bad)
        good, bad = (middle, bad) if meets(middle) else (good, middle)
    return good


def erlang_c(servers: int, offered_erlangs: float) -> float:
    """Return the probability that a query waits in M/M/c with `offered_erlangs` = rate x mean service time.

    Raises:
        ValueError: Unless 0 <= `offered_erlangs` < `servers`.
    """
    if not 0 <= offered_erlangs < servers:
        raise ValueError(f"the queue is stable for 0 <= load < servers, got {offered_erlangs} on {servers}")
    blocking = 1.0
    for k in range(1, servers + 1):
        blocking = offered_erlangs * blocking / (k + offered_erlangs * blocking)
    utilisation = offered_erlangs / servers
    return blocking / (1.0 - utilisation * (1.0 - blocking))


def mmc_mean_wait_s(rate_per_s: float, mean_service_s: float, *, servers: int) -> float:
    """Return the mean wait before service in M/M/c (Erlang), in seconds."""
    load = rate_per_s * mean_service_s
    return erlang_c(servers, load) * mean_service_s / (servers - load)


def md1_mean_wait_s(rate_per_s: float, service_s: float) -> float:
    """Return the mean wait before service in M/D/1 (Pollaczek-Khinchine), in seconds.

    Raises:
        ValueError: Unless the queue is stable.
    """
    load = rate_per_s * service_s
    if not 0 <= load < 1:
        raise ValueError(f"the queue is stable for 0 <= load < 1, got {load}")
    return load * service_s / (2.0 * (1.0 - load))
