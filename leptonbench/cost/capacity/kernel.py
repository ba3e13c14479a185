"""The event simulation's inner loop: plain Python over arrays that numba compiles when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def serve(
    arrivals_s: Floats,
    uniforms: Floats,
    times_s: Floats,
    first: Ints,
    count: Ints,
    free_s: Floats,
    max_wait_s: float,
    latency_s: Floats,
) -> float:
    """Serve queries in their order by the first engine that is free, in batches; return the seconds of engine work.

    The rules are those of `leptonbench.stats.queueing.simulate_batch_queue`, and with the same draws so is every
    latency, bit by bit.

    Args:
        arrivals_s: Arrival times, ascending, shape `[n]`.
        uniforms: One draw in [0, 1) a query, shape `[n]`; a batch uses its first query's.
        times_s: Service times in seconds of all batch sizes, one size after the other.
        first: Where in `times_s` the times of a batch of `b` begin, shape `[max_batch + 1]`; index 0 is not used.
        count: How many there are, likewise.
        free_s: When each engine is free, a binary heap, shape `[engines]`; changed in place.
        max_wait_s: Longest time that the oldest query waits for a fuller batch.
        latency_s: Filled with each query's latency in seconds, shape `[n]`.
    """
    queries, engines, max_batch = arrivals_s.size, free_s.size, first.size - 1
    work_s = 0.0
    head = 0
    while head < queries:
        last = min(head + max_batch, queries)
        ready = arrivals_s[head] + max_wait_s
        if last - head == max_batch:
            ready = min(ready, arrivals_s[last - 1])
        start = max(free_s[0], ready)
        tail = head + 1
        while tail < last and arrivals_s[tail] <= start:
            tail += 1
        size = tail - head
        duration = times_s[first[size] + int(uniforms[head] * count[size])]
        end = start + duration
        work_s += duration
        # Replace the heap's root by `end`: move smaller children up until it fits.
        slot, child = 0, 1
        while child < engines:
            if child + 1 < engines and free_s[child + 1] < free_s[child]:
                child += 1
            if free_s[child] >= end:
                break
            free_s[slot] = free_s[child]
            slot, child = child, 2 * child + 1
        free_s[slot] = end
        for query in range(head, tail):
            latency_s[query] = end - arrivals_s[query]
        head = tail
    return work_s


@cache
def compiled() -> Callable[..., Any]:
    """Return `serve` as machine code, compiled in about a second or read from numba's cache."""
    from numba import njit

    try:
        return njit(cache=True, nogil=True)(serve)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written: compile in each process
        return njit(nogil=True)(serve)
