"""Which setting sustains the highest rate within a latency target: the space, the search and the choice. Pure.

A setting is an engine (backend, parallelism, options) behind a queue (largest batch, longest wait). Only engines need
processes: the queue in front of one is simulated with the service times that its process measured. Engines are looked
at in sweeps, one fresh process each, in random order within a sweep, so that a machine that gets busier does so for all
of them; after every sweep the slower half is left out (successive halving). Nothing is preferred to the default unless
the interval of the paired ratio says that it is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from leptonbench.harness.request import LatencyTarget
from leptonbench.schema import EngineOptions
from leptonbench.stats.interval import Interval
from leptonbench.stats.queueing import max_rate
from leptonbench.stats.summary import ratio_interval

ServiceTimes = Mapping[int, Sequence[float]]
"""Seconds of every batch measured, by batch size."""

_WAITS = (0.05, 0.1, 0.25)  # of the latency target: longer waits leave no time to serve
_WORTH = 1.01  # a wait must buy this much: below, the simulation cannot tell
_FINALISTS = 2


class Engine(NamedTuple):
    """What a process is opened with."""

    backend: str
    threads: int
    instances: int = 1
    options: EngineOptions = EngineOptions()


class Queue(NamedTuple):
    """The batcher in front of an engine's instances."""

    max_batch: int
    max_wait_s: float


class Setting(NamedTuple):
    """An engine behind a queue."""

    engine: Engine
    queue: Queue


Sweep = Callable[[Sequence[Engine]], Mapping[Engine, float]]
"""Measure each engine once in a fresh process; return the rate that each would sustain, none for one that failed."""


def layouts(cores: int) -> list[tuple[int, int]]:
    """Return the ways to share cores: threads of an instance and instances, every thread with a core of its own."""
    sizes = sorted({cores, *(2**power for power in range(cores.bit_length()) if 2**power <= cores)}, reverse=True)
    return [(threads, cores // threads) for threads in sizes]


def option_changes(options: EngineOptions) -> list[EngineOptions]:
    """Return the options with one of them changed, each in every other way."""
    levels = [level for level in ("off", "basic", "extended", "all") if level != options.graph_optimisation]
    changes: list[dict[str, object]] = [{"graph_optimisation": level} for level in levels]
    changes += [{"arena": not options.arena}, {"io_binding": not options.io_binding}]
    return [EngineOptions.model_validate(options.model_dump() | change) for change in changes]


def sustained_rate(times: ServiceTimes, setting: Setting, slo: LatencyTarget, *, percentile: float, seed: int) -> float:
    """Return the rate in queries a second that the queue model gives a setting; 0.0 where none meets the target.

    Args:
        times: Measured with all of the engine's instances busy.
        setting: Its largest batch may be above the largest measured one, which then took longer than the target.
        slo: The target.
        percentile: Asked of the model: above the target's own, since a finite run must certify that one.
        seed: Of arrivals and draws; the same for settings that are compared.
    """
    if min(median(pool) for pool in times.values()) > slo.seconds:
        return 0.0
    return max_rate(
        times,
        latency_target_s=slo.seconds,
        percentile=percentile,
        instances=setting.engine.instances,
        max_batch=min(setting.queue.max_batch, max(times)),
        max_wait_s=setting.queue.max_wait_s,
        seed=seed,
    )


def best_queue(
    times: ServiceTimes, engine: Engine, slo: LatencyTarget, *, percentile: float, seed: int
) -> tuple[Queue, float]:
    """Return the queue with the highest rate for an engine, and that rate.

    The largest batch is chosen without waiting; then waits are tried for it, which matter less and mostly do harm.
    """

    def rate(queue: Queue) -> float:
        return sustained_rate(times, Setting(engine, queue), slo, percentile=percentile, seed=seed)

    rates = {queue: rate(queue) for queue in (Queue(size, 0.0) for size in sorted(times))}
    best = max(rates, key=lambda queue: rates[queue])
    if best.max_batch == 1:
        return best, rates[best]
    waits = [Queue(best.max_batch, round(share * slo.seconds, 6)) for share in _WAITS]
    waited = {queue: rate(queue) for queue in waits}
    longest = max(waited, key=lambda queue: waited[queue])
    return (longest, waited[longest]) if waited[longest] > _WORTH * rates[best] else (best, rates[best])


def halve(
    engines: Sequence[Engine], sweep: Sweep, *, default: Engine, sweeps: int, go_on: Callable[[int], bool]
) -> dict[Engine, list[float]]:
    """Sweep over engines, leaving out the slower half each time, as long as two are left beside the default.

    Args:
        engines: All to be looked at; the default is added if it is not among them.
        sweep: Measures those still in.
        default: Stays in to the end, so that every finalist has rounds to be paired with.
        sweeps: Of the finalists.
        go_on: Told how many engines the next sweep has; false ends the search early.

    Returns:
        The rates of each engine by sweep, fewer for those left out earlier. One that failed, or that meets the target
        at no rate, is left out at once.
    """
    alive = list(dict.fromkeys((default, *engines)))
    rates: dict[Engine, list[float]] = {engine: [] for engine in alive}
    for done in range(1, sweeps + 1):
        found = sweep(alive)
        for engine in alive:
            if found.get(engine, 0.0) > 0:
                rates[engine].append(found[engine])
        alive = [engine for engine in alive if len(rates[engine]) == done]
        others = sorted((e for e in alive if e != default), key=lambda e: -median(rates[e]))
        kept = others[: max(_FINALISTS, (len(others) + 1) // 2)]
        alive = [default, *kept] if default in alive else kept
        if not alive or not go_on(len(alive)):
            break
    return rates


def choose(rates: Mapping[Engine, Sequence[float]], default: Engine) -> Engine | None:
    """Return the fastest engine, or the default unless something is faster by the interval of the paired ratio.

    Returns:
        `None` if no engine meets the target.
    """
    longest = max((len(values) for values in rates.values()), default=0)
    finalists = {engine: values for engine, values in rates.items() if values and len(values) == longest}
    if not finalists:
        return None
    best = max(finalists, key=lambda engine: median(finalists[engine]))
    if best == default or default not in finalists:
        return best
    return best if faster(ratio_interval(finalists[best], finalists[default])) else default


def faster(ratio: Interval) -> bool:
    """Return whether a ratio of rates is above 1 by its interval; one round has none and says nothing."""
    return ratio.low is not None and ratio.low > 1


def verdict(ratio: Interval) -> str:
    """Word a ratio of rates: `faster`, `slower` or `no significant difference`."""
    if ratio.low is None or ratio.high is None:
        return "no significant difference"
    return "faster" if ratio.low > 1 else "slower" if ratio.high < 1 else "no significant difference"


def ablations(winner: Setting, default: Setting) -> dict[str, Setting]:
    """Return the winner with each option that differs from the default put back, by the option's name."""
    mine, theirs = winner.engine, default.engine
    found: dict[str, Setting] = {}
    if mine.backend != theirs.backend:
        found["backend"] = winner._replace(engine=mine._replace(backend=theirs.backend))
    if (mine.threads, mine.instances) != (theirs.threads, theirs.instances):
        shared = mine._replace(threads=theirs.threads, instances=theirs.instances)
        found["parallelism"] = winner._replace(engine=shared)
    if winner.queue != default.queue:
        found["batching"] = winner._replace(queue=default.queue)
    for name in EngineOptions.model_fields:
        if getattr(mine.options, name) != getattr(theirs.options, name):
            options = mine.options.model_copy(update={name: getattr(theirs.options, name)})
            found[name] = winner._replace(engine=mine._replace(options=options))
    return found
