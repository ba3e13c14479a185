"""What a search for a setting is asked to do and what it found: messages and arithmetic, nothing that runs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leptonbench.harness.request import LatencyTarget
from leptonbench.harness.search import Engine, Queue, Setting, verdict
from leptonbench.schema import SCHEMA_VERSION, EngineOptions, Frozen, Provenance, Quantity
from leptonbench.stats.early_stopping import minimum_queries
from leptonbench.stats.interval import Interval
from leptonbench.stats.summary import ratio_interval

USUAL_SUITE = "manufacturing"
_LOWEST = 500
_MODELLED = "rate that the queue model gives each round's own service times"


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """One invocation, as the user gave it.

    Attributes:
        backends: To choose among, the default first; empty for those of the suite that run the variant.
        suite: Says what the default queue, the demand and the region are.
        budget_s: Upper bound for everything, preparation included.
        rounds: Fresh processes that verify a rate; `None` as the suite says.
    """

    workload: str
    variant: str
    slo: LatencyTarget
    backends: tuple[str, ...] = ()
    suite: str = USUAL_SUITE
    budget_s: float = 300.0
    rounds: int | None = None
    seed: int = 0
    out: Path | None = None
    model: str | None = None
    data: Path | None = None
    passed: dict[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()


class Described(Frozen):
    """A setting as the manifest keeps it."""

    backend: str
    threads: int
    instances: int
    max_batch: int
    max_wait_s: float
    options: EngineOptions

    @classmethod
    def of(cls, setting: Setting) -> Described:
        """Flatten a setting."""
        engine, queue = setting
        return cls(
            backend=engine.backend,
            threads=engine.threads,
            instances=engine.instances,
            options=engine.options,
            max_batch=queue.max_batch,
            max_wait_s=queue.max_wait_s,
        )

    def setting(self) -> Setting:
        """Rebuild the setting."""
        engine = Engine(self.backend, self.threads, self.instances, self.options)
        return Setting(engine, Queue(self.max_batch, self.max_wait_s))


class Tried(Frozen):
    """An engine that the search looked at.

    Attributes:
        setting: Its name: `openvino t1 i2`.
        rate: That the queue model gives it, behind its best queue; `null` with the reason where it has none.
        against: Name of what it was compared with: the default, or the best so far.
        ratio: Of the two rates, over the sweeps that both were in.
    """

    setting: str
    rate: Quantity
    against: str
    ratio: Quantity


class Contribution(Frozen):
    """What one option adds to the winner.

    Attributes:
        option: `backend`, `parallelism`, `batching`, or an option of the engine.
        without: The winner with this option put back to the default's.
        ratio: Rate of the winner over the rate without, over fresh paired rounds.
        verdict: `faster`, `slower` or `no significant difference`.
    """

    option: str
    without: Described
    ratio: Quantity
    verdict: str


class TuneResult(Frozen):
    """What came out, kept as `tune.json` in the run folder.

    Attributes:
        default: Where the search started.
        winner: The default itself where nothing was faster.
        default_cell: Key of its record; likewise `winner_cell`.
        predicted: Rates by cell key that the queue model gave, to be held against the verified ones.
        speedup: Verified sustained rate of the winner over the default's.
        modelled_speedup: The same by the queue model over fresh paired rounds: finer, and not measured end to end.
        verdict: Of `speedup`.
        meets_quality: Whether the winner's answers meet the floor and keep fp32's quality; `None` if unknown.
        quality: The figures behind that, or why it is unknown.
        certified_percentile: Highest percentile that the winner's queries can certify; `None` if it has none.
        contributions: In the order of the default's options; none where the winner is the default.
        tried: In the order of their first probe.
        not_tried: What was left out of the search, with the reason.
        command: Measures the winner again.
    """

    schema_version: int = SCHEMA_VERSION
    slo: LatencyTarget
    default: Described
    winner: Described
    default_cell: str
    winner_cell: str
    predicted: dict[str, float]
    speedup: Quantity
    modelled_speedup: Quantity
    verdict: str
    meets_quality: bool | None
    quality: str
    certified_percentile: float | None
    contributions: tuple[Contribution, ...]
    tried: tuple[Tried, ...]
    not_tried: dict[str, str]
    command: str


def quantity_of(interval: Interval, *, unit: str = "1", what: str = _MODELLED) -> Quantity:
    """Return a modelled rate or a ratio of modelled rates with its interval."""
    return Quantity(
        value=interval.value,
        unit=unit,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        confidence=interval.confidence,
        provenance=Provenance.SIMULATED,
        method=f"{what}; {interval.method}",
    )


def ratio_of(rates: Sequence[float], others: Sequence[float]) -> tuple[Quantity, str]:
    """Return the ratio of two settings' rates over paired rounds, and its verdict.

    A round in which a setting meets the target at no rate has no ratio. Where that is so for the second setting alone,
    the first is faster without a figure.
    """
    pairs = [(one, other) for one, other in zip(rates, others, strict=False) if one > 0 and other > 0]
    if len(pairs) < 2:
        missed = bool(others) and not any(others)
        why = "without it no rate meets the target" if missed else "fewer than two rounds to compare"
        never = missed and sum(rate > 0 for rate in rates) >= 2
        return Quantity.null("1", why), "faster" if never else "no significant difference"
    interval = ratio_interval([one for one, _ in pairs], [other for _, other in pairs])
    return quantity_of(interval), verdict(interval)


def contributions(
    without: Mapping[str, Setting], rates: Mapping[Setting, Sequence[float]], winner: Setting
) -> tuple[Contribution, ...]:
    """Return what each option adds, from fresh rounds in which all were measured."""
    found = []
    for option, setting in without.items():
        ratio, word = ratio_of(rates[winner], rates.get(setting, ()))
        found.append(Contribution(option=option, without=Described.of(setting), ratio=ratio, verdict=word))
    return tuple(found)


def rate_verdict(ratio: Quantity) -> str:
    """Word a ratio of verified rates by its range; a range that holds 1 shows no difference."""
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return "not verified"
    return "faster" if ratio.low > 1 else "slower" if ratio.high < 1 else "no significant difference"


def certifiable(queries: int) -> float | None:
    """Return the highest percentile, to a tenth of a percent, that so many queries can certify; `None` below p50."""
    steps = range(_LOWEST, 1000)  # thousandths; each needs more queries than the one before
    found = bisect_right(steps, queries, key=lambda step: minimum_queries(step / 1000, 1))
    return steps[found - 1] / 1000 if found else None


def window_queries(slo: LatencyTarget, *, rate_per_s: float, window_s: float) -> int:
    """Return how many queries a verifying run should have: what its window holds, within what is of use.

    With fewer than two late queries affordable a single hiccup fails the run; beyond twenty, more only take time.
    """
    least, most = (minimum_queries(slo.percentile, late) for late in (2, 20))
    return max(least, min(most, int(rate_per_s * window_s)))
