"""Two runs side by side, cell by cell. Pure: records and manifests in, ratios and differences out."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from leptonbench.schema import (
    METRICS,
    CellRecord,
    CellSpec,
    Direction,
    Identity,
    Quantity,
    RunManifest,
    Scenario,
    Status,
    WorkloadSpec,
)
from leptonbench.stats.rates import Rate, rate_ratio
from leptonbench.stats.summary import Interval, ratio_interval


class Verdict(StrEnum):
    """What the ratio's interval says about the second run."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "not distinguishable"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


class Difference(NamedTuple):
    """One fact about the machines, or about what was measured, that is not equal."""

    field: str
    a: str
    b: str


class CellComparison(NamedTuple):
    """One cell in both runs.

    Attributes:
        ratio: The second run's value over the first's, with its interval from the rounds, if there are any.
        why: Why there is no verdict.
    """

    cell: CellSpec
    metric: str
    a: float | None
    b: float | None
    ratio: Interval | None
    verdict: Verdict
    why: str = ""


def identity_differences(a: Identity, b: Identity) -> list[Difference]:
    """Return the facts that must be equal for two runs to be comparable, and are not."""
    found: list[Difference] = []
    for field in Identity.model_fields:
        left, right = getattr(a, field), getattr(b, field)
        if left == right:
            continue
        if isinstance(left, dict):
            found += [
                Difference(f"{field}.{name}", str(left.get(name, "absent")), str(right.get(name, "absent")))
                for name in sorted(left.keys() | right.keys())
                if left.get(name) != right.get(name)
            ]
        elif isinstance(left, tuple):
            found.append(Difference(field, _only(left, right), _only(right, left)))
        else:
            found.append(Difference(field, str(left), str(right)))
    return found


def task_differences(a: RunManifest, b: RunManifest) -> list[Difference]:
    """Return in what the workloads of both runs are not the same ones: model, data and latency target.

    Args:
        a: The baseline.
        b: The other run; workloads that only one of them has are not compared.
    """
    found: list[Difference] = []
    measured = [{cell.workload for cell in manifest.cells} for manifest in (a, b)]
    theirs = {workload.name: workload for workload in b.workloads}
    for workload in a.workloads:
        name = workload.name
        if name not in theirs or not all(name in names for names in measured):
            continue
        left, right = _task_facts(a, workload), _task_facts(b, theirs[name])
        found += [Difference(f"{name}.{fact}", left[fact], right[fact]) for fact in left if left[fact] != right[fact]]
    return found


def _task_facts(manifest: RunManifest, workload: WorkloadSpec) -> dict[str, str]:
    """Return what decides what a workload's cells measure, in words."""
    suite, data = manifest.suite, workload.data
    own = manifest.settings.effective.get("data")
    return {
        "task": workload.task,
        "model": workload.model,
        "data": f"{own}" if own else f"seed {data.seed}, {data.calibration} + {data.evaluation} samples",
        "latency_target": f"p{100 * suite.latency_percentile:g} <= {suite.target_s(workload.name):g} s",
    }


def only_in_one(a: Sequence[CellRecord], b: Sequence[CellRecord]) -> tuple[list[CellSpec], list[CellSpec]]:
    """Return the cells that only the first run measured, and those that only the second did."""
    keys = [{record.cell.key for record in records} for records in (a, b)]
    first, second = (
        [r.cell for r in records if r.cell.key not in others and r.status is not Status.SKIPPED]
        for records, others in ((a, keys[1]), (b, keys[0]))
    )
    return first, second


class SoundRatio(NamedTuple):
    """A ratio that each run made on its own machine, and that may therefore stand beside the other's.

    Attributes:
        a: The first run's.
        b: The second run's.
    """

    cell: CellSpec
    metric: str
    a: Quantity
    b: Quantity


def sound_ratios(a: Sequence[CellRecord], b: Sequence[CellRecord]) -> list[SoundRatio]:
    """Return what can be set side by side of runs on different machines: each cell's speed-up over its own run's fp32.

    The machines cancel inside each ratio, not between the two: that they differ says something of the machines.
    """
    others = {record.cell.key: record for record in b}
    found = []
    for record in a:
        other = others.get(record.cell.key)
        pair = [one.metrics.get("speedup") if one is not None else None for one in (record, other)]
        if all(quantity is not None and quantity.value is not None for quantity in pair):
            found.append(SoundRatio(record.cell, "speedup", *(quantity for quantity in pair if quantity is not None)))
    return found


def _only(one: Sequence[str], other: Sequence[str]) -> str:
    """Word what a list has more than the other."""
    return ", ".join(sorted(set(one) - set(other))) or "fewer"


def compare_runs(
    a: Sequence[CellRecord], b: Sequence[CellRecord], *, metric: str | None = None
) -> list[CellComparison]:
    """Compare the cells that both runs have, in the order of the first; what both skipped is left out.

    Args:
        a: The baseline's records.
        b: The other run's.
        metric: What to compare; by default throughput for offline and server cells, median latency for the others.
    """
    others = {record.cell.key: record for record in b}
    return [
        _compare(record, others[record.cell.key], metric or _headline(record))
        for record in a
        if record.cell.key in others and not _both_skipped(record, others[record.cell.key])
    ]


def _both_skipped(a: CellRecord, b: CellRecord) -> bool:
    return a.status is Status.SKIPPED and b.status is Status.SKIPPED


def _headline(record: CellRecord) -> str:
    """Return what a scenario is judged by; a server's latencies belong to its rate and are no headline."""
    return "throughput" if record.cell.scenario in (Scenario.OFFLINE, Scenario.SERVER) else "latency_p50"


def _compare(a: CellRecord, b: CellRecord, metric: str) -> CellComparison:
    values = [record.metrics[metric].value if metric in record.metrics else None for record in (a, b)]
    for side, record in (("first", a), ("second", b)):
        if record.status is not Status.OK:
            why = f"{record.status.value} in the {side} run"
            return CellComparison(a.cell, metric, values[0], values[1], None, Verdict.UNKNOWN, why)
    rounds = [_values(record, metric) for record in (a, b)]
    if not all(rounds):
        why = f"no round measured `{metric}`"
        return CellComparison(a.cell, metric, values[0], values[1], None, Verdict.UNKNOWN, why)
    try:
        ratio = _rate_ratio(a, b) if _is_rate(a, metric) else ratio_interval(rounds[1], rounds[0], paired=False)
    except ValueError as error:
        return CellComparison(a.cell, metric, values[0], values[1], None, Verdict.UNKNOWN, str(error))
    why = ratio.method if ratio.low is None else ""
    return CellComparison(a.cell, metric, values[0], values[1], ratio, _verdict(metric, ratio), why)


def _is_rate(record: CellRecord, metric: str) -> bool:
    return record.cell.scenario is Scenario.SERVER and metric == "throughput"


def _rate_ratio(a: CellRecord, b: CellRecord) -> Interval:
    """Return the ratio of two sustained server rates, the second run's over the first's.

    Raises:
        ValueError: If one of them is not known.
    """
    ours, theirs = b.metrics["throughput"], a.metrics["throughput"]
    if not ours.value or not theirs.value:
        raise ValueError("one of the two rates is not known")
    return rate_ratio(Rate(ours.value, ours.high, ours.n or 0), Rate(theirs.value, theirs.high, theirs.n or 0))


def _values(record: CellRecord, metric: str) -> list[float]:
    return [item.values[metric] for item in record.rounds if item.status is Status.OK and metric in item.values]


def _verdict(metric: str, ratio: Interval) -> Verdict:
    if ratio.low is None or ratio.high is None:
        return Verdict.UNKNOWN
    if ratio.low <= 1.0 <= ratio.high:
        return Verdict.SAME
    direction = METRICS[metric].direction if metric in METRICS else Direction.NEITHER
    if direction is Direction.NEITHER:
        return Verdict.DIFFERENT
    return Verdict.BETTER if (ratio.high < 1.0) == (direction is Direction.LOWER) else Verdict.WORSE


def as_document(comparison: CellComparison) -> dict[str, Any]:
    """Return a comparison as plain data."""
    ratio = comparison.ratio._asdict() if comparison.ratio else None
    return {**comparison._asdict(), "cell": comparison.cell.key, "ratio": ratio, "verdict": comparison.verdict.value}
