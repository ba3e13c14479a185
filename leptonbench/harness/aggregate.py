"""From rounds to a record: the figures of one cell with their intervals. Pure, but for what it is handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leptonbench.harness.energies import energies
from leptonbench.harness.jobs import Score
from leptonbench.schema import (
    METRICS,
    Artifact,
    CellRecord,
    CellSpec,
    Notice,
    Provenance,
    QualitySpec,
    Quantity,
    Reason,
    RoundRecord,
    Scenario,
    ScenarioSpec,
    Settings,
    Status,
)
from leptonbench.stats.early_stopping import certified_percentile
from leptonbench.stats.interval import Interval
from leptonbench.stats.rates import Rate
from leptonbench.stats.rates import rate_ratio as ratio_of_rates
from leptonbench.stats.special import binomial_cdf
from leptonbench.stats.summary import ratio_interval, round_interval
from leptonbench.tasks import Metric

_PERCENTILES = {"latency_p90": 0.90, "latency_p99": 0.99, "latency_p999": 0.999}
_OVER_ROUNDS = (
    "load_time",
    "first_inference",
    "preprocess",
    "postprocess",
    "peak_memory",
    "peak_device_memory",
    "throughput",
    "real_time_factor",
)
_CERTIFICATE = 0.01  # the chance of a wrong verdict on the latency target: MLPerf's early stopping, turned round
_AGREEMENT = 0.98  # share of timed answers that must equal the scored ones; batching may flip a near-tie
_STREAMS = (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM)


@dataclass(frozen=True, slots=True)
class CellData:
    """Everything measured for one cell.

    Attributes:
        rounds: Those that count, in order.
        latencies: Of each of those rounds, in seconds.
        agreement: Share of the timed answers that equal the scored ones, over the rounds; `None` without answers.
        ceiling_per_s: Server: the lowest rate at which a run failed; `None` if none did.
    """

    cell: CellSpec
    scenario: ScenarioSpec
    rounds: tuple[RoundRecord, ...]
    latencies: tuple[NDArray[np.float64], ...]
    artifact: Artifact
    score: Score | None
    settings: Settings
    agreement: float | None = None
    ceiling_per_s: float | None = None


def aggregate(data: CellData, *, quality: QualitySpec, latency_target_s: float, percentile: float) -> CellRecord:
    """Make a record from a cell's rounds, without what needs other cells (speedup, cost)."""
    status, reason = _status(data)
    metrics = artifact_metrics(data.artifact)
    measured = [r for r in data.rounds if r.values and r.status is not Status.FAILED]
    if measured:
        metrics |= _times(data, measured)
        metrics |= energies(measured)
    if data.score is not None:
        metrics["quality"] = quality_of(data.score)
    met = _meets_target(data, latency_target_s, percentile) if measured else None
    return CellRecord(
        cell=data.cell,
        status=status,
        reason=reason,
        metrics={tag: metrics[tag] for tag in METRICS if tag in metrics},
        rounds=data.rounds,
        artifact=data.artifact,
        settings=data.settings,
        warnings=tuple(_warnings(data, measured)),
        meets_target=met,
        meets_quality=None if data.score is None else clears(data.score.quality, quality.floor),
    )


def clears(quantity: Quantity, floor: float) -> bool | None:
    """Say whether a figure is at least `floor`, as MLPerf judges accuracy: by its value on the samples scored."""
    return None if quantity.value is None else quantity.value >= floor


def certain(quantity: Quantity, floor: float) -> bool:
    """Say whether the whole interval of a figure lies on one side of `floor`."""
    return quantity.low is None or quantity.high is None or quantity.low >= floor or quantity.high < floor


def _status(data: CellData) -> tuple[Status, Reason | None]:
    failed = next((r for r in data.rounds if r.status is Status.FAILED), None)
    if failed is not None:
        return Status.FAILED, failed.reason
    if data.agreement is not None and data.agreement < _AGREEMENT:
        message = f"only {data.agreement:.1%} of the timed answers equal the scored ones"
        return Status.INVALID, Reason(
            code="answers-differ",
            message=message,
            hint="the engine is not deterministic, or an answer depends on its batch, as dynamic quantisation makes it",
        )
    invalid = next((r for r in data.rounds if r.status is Status.INVALID), None)
    return (Status.INVALID, invalid.reason) if invalid is not None else (Status.OK, None)


def artifact_metrics(artifact: Artifact) -> dict[str, Quantity]:
    """Return what is known of the artifact without running it."""
    counted = {"model_size": artifact.size_bytes, "macs": artifact.macs, "parameters": artifact.parameters}
    methods = {
        "model_size": "size of the file that the engine loads",
        "stored_size": "size of the weights in the form that they are kept and sent in",
    }
    if artifact.stored_bytes is not None:
        counted["stored_size"] = artifact.stored_bytes
    return {
        tag: Quantity(
            value=float(value),
            unit=METRICS[tag].unit,
            n=1,
            provenance=Provenance.MEASURED,
            method=methods.get(tag, "counted on the graph"),
        )
        for tag, value in counted.items()
    }


def _times(data: CellData, rounds: Sequence[RoundRecord]) -> dict[str, Quantity]:
    """Return the latencies, the throughput and the times apart from them."""
    metrics: dict[str, Quantity] = {}
    for tag in _OVER_ROUNDS:
        values = [r.values[tag] for r in rounds if tag in r.values]
        if values:
            metrics[tag] = _over_rounds(tag, values)
    if data.scenario.kind is Scenario.SERVER and "throughput" in metrics:
        metrics["throughput"] = _sustained_rate(data, rounds, measured=metrics["throughput"])
    if data.scenario.kind is Scenario.OFFLINE:
        why = "the offline scenario has all samples at once, so a latency of one means nothing"
        return metrics | {tag: Quantity.null("s", why) for tag in ("latency_p50", "latency_mean", *_PERCENTILES)}
    for tag in ("latency_p50", "latency_mean"):
        metrics[tag] = _over_rounds(tag, [r.values[tag] for r in rounds if tag in r.values])
    pooled = np.concatenate(data.latencies) if data.latencies else np.empty(0)
    for tag, percentile in _PERCENTILES.items():
        by_round = [r.values[tag] for r in rounds if tag in r.values]
        metrics[tag] = pooled_percentile(percentile, pooled=pooled, by_round=by_round)
    return metrics


def _sustained_rate(data: CellData, rounds: Sequence[RoundRecord], *, measured: Quantity) -> Quantity:
    """Return the server's rate: known to be sustained where every run met the target, and bounded by what was not."""
    met = sum(r.status is Status.OK for r in rounds)
    sustained = met == len(rounds)
    which = "highest Poisson rate at which" if sustained else "rate of Poisson arrivals that was offered;"
    bound = (
        "no higher rate was tried" if data.ceiling_per_s is None else f"{data.ceiling_per_s:.4g}/s was not sustained"
    )
    return measured.model_copy(
        update={
            "low": measured.value if sustained else None,
            "high": data.ceiling_per_s,
            "confidence": None,
            "method": f"{which} {met} of {len(rounds)} runs met the target; {bound}",
        }
    )


def _over_rounds(tag: str, values: Sequence[float]) -> Quantity:
    """Return the median of the rounds with their interval."""
    interval = round_interval(values)
    return _measured(interval, METRICS[tag].unit, method=f"one value a fresh process; {interval.method}")


def _measured(interval: Interval, unit: str, *, method: str, name: str | None = None) -> Quantity:
    """Return an estimate over measured observations with its interval."""
    return Quantity(
        value=interval.value,
        unit=unit,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        confidence=interval.confidence,
        provenance=Provenance.MEASURED,
        method=method,
        name=name,
    )


def pooled_percentile(percentile: float, *, pooled: NDArray[np.float64], by_round: Sequence[float]) -> Quantity:
    """Return a pooled percentile in seconds, if there are queries enough to certify it.

    The upper end is the larger of MLPerf's certified bound (99 % confidence, queries taken as independent) and what
    the spread of the rounds' own percentiles says; the lower end comes from the rounds.
    """
    certified = certified_percentile(pooled, percentile)
    if certified.value is None:
        return Quantity.null("s", f"{certified.n} queries; p{100 * percentile:g} needs {certified.needed}")
    value = float(np.quantile(pooled, percentile, method="higher"))
    interval = round_interval(by_round)
    low = min(value, interval.low if interval.low is not None else value)
    high = max(value, certified.value, interval.high if interval.high is not None else value)
    return Quantity(
        value=value,
        unit="s",
        low=low,
        high=high,
        n=certified.n,
        confidence=0.95,
        provenance=Provenance.MEASURED,
        method=f"pooled over {len(by_round)} rounds; MLPerf early stopping certifies at most {certified.value:.6g} s",
    )


def _meets_target(data: CellData, latency_target_s: float, percentile: float) -> bool | None:
    """Say whether the cell meets the buyer's latency target, certified either way; `None` where it cannot tell."""
    if data.scenario.kind is Scenario.OFFLINE:
        return None
    pooled = np.concatenate(data.latencies) if data.latencies else np.empty(0)
    certified = certified_percentile(pooled, percentile)
    if certified.value is not None and certified.value <= latency_target_s:
        return True
    late = int(np.count_nonzero(pooled > latency_target_s))
    # So many late queries would be rarer than the certificate allows, were the percentile within the target.
    missed = late > 0 and 1 - binomial_cdf(late - 1, len(pooled), 1 - percentile) < _CERTIFICATE
    return False if missed else None


def quality_of(score: Score) -> Quantity:
    """Return the score, saying when it came from the cache."""
    origin = f"; scored {score.created[:10]}, same artifact, engine, threads and CPU features" if score.reused else ""
    return score.quality.model_copy(update={"method": f"{score.quality.method}{origin}"})


def _warnings(data: CellData, rounds: Sequence[RoundRecord]) -> list[Notice]:
    notices = {notice.code: notice for r in data.rounds for notice in r.notices}
    # Offline has no latencies; a server's throughput follows the random arrivals, not the machine.
    tag, what = (
        ("throughput", "throughputs") if data.scenario.kind is Scenario.OFFLINE else ("latency_p50", "median latencies")
    )
    seen = [r.values[tag] for r in rounds if r.values.get(tag)]
    if len(seen) >= 2 and max(seen) > 1.25 * min(seen):
        notices["unstable"] = Notice(
            code="unstable",
            message=f"the rounds' {what} differ by {max(seen) / min(seen) - 1:.0%}",
            hint="something else used the machine; run with more --rounds, or on a quiet machine",
        )
    if data.score and data.score.effective.get("int8_accumulation", "").startswith("exact"):
        notices["no-vnni"] = Notice(
            code="no-vnni",
            message="this CPU has no VNNI; exact u8 x u8 kernels are used, slower than the saturating u8 x s8 ones",
            hint="for int8, prefer a CPU with VNNI (avx_vnni, avx512_vnni or AMX)",
        )
    return list(notices.values())


def compare_with_baseline(record: CellRecord, base: CellRecord, *, theory: Quantity | None) -> dict[str, Quantity]:
    """Return speedup and theoretical speedup of a cell against the fp32 cell of the same backend and scenario."""
    tag = "latency_p50" if record.cell.scenario in _STREAMS else "throughput"
    mine = [r.values[tag] for r in record.rounds if tag in r.values]
    theirs = [r.values[tag] for r in base.rounds if tag in r.values]
    if not mine or not theirs:
        return {"speedup": Quantity.null("1", "this cell or its fp32 counterpart has no measured rounds")}
    paired = _places(record, tag) == _places(base, tag)
    above, below = (theirs, mine) if tag == "latency_p50" else (mine, theirs)
    interval = ratio_interval(above, below, paired=paired)
    method = f"{tag} against fp32 on the same backend and scenario; {interval.method}"
    speedup = _measured(interval, "1", method=method)
    if record.cell.scenario is Scenario.SERVER:
        verified = record.status is Status.OK and base.status is Status.OK
        rates = record.metrics["throughput"], base.metrics["throughput"]
        speedup = rate_ratio(*rates) if verified else Quantity.null("1", "one of the two rates is not verified")
    return {"speedup": speedup} | ({"theoretical_speedup": theory} if theory else {})


def _places(record: CellRecord, tag: str) -> list[tuple[int, int]]:
    """Return which sweep each round belongs to: rounds of one sweep lie close together in time."""
    return [(r.attempt, r.index) for r in record.rounds if tag in r.values]


def rate_ratio(mine: Quantity, base: Quantity) -> Quantity:
    """Return the ratio of two sustained rates with the resolution of their searches as its range."""
    if not mine.value or not base.value:
        return Quantity.null("1", "one of the two rates is not known")
    interval = ratio_of_rates(Rate(mine.value, mine.high, mine.n or 0), Rate(base.value, base.high, base.n or 0))
    return _measured(interval, "1", method=interval.method)


def quality_delta(score: Score, base: Score, metric: Metric) -> Quantity:
    """Return the change of the metric against fp32 over the samples that both answered."""
    shared = sorted(score.answers.keys() & base.answers.keys())
    interval = metric.difference(
        [score.answers[i] for i in shared], [base.answers[i] for i in shared], [score.targets[i] for i in shared]
    )
    return _measured(interval, "1", method=interval.method, name=score.quality.name)
