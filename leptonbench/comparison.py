"""Two runs side by side, cell by cell. Pure: records in, ratios out."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from leptonbench.schema import METRICS, CellRecord, CellSpec, Direction, Identity, Scenario, Status
from leptonbench.stats.summary import Interval, ratio_interval


class Verdict(StrEnum):
    """What the ratio's interval says about the second run."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "not distinguishable"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


class Difference(NamedTuple):
    """One fact about the machines that is not equal."""

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
    """Return the ratio of two sustained server rates, with the resolution of their searches as its range."""
    ours, theirs = b.metrics["throughput"], a.metrics["throughput"]
    if not ours.value or not theirs.value:
        raise ValueError("one of the two rates is not known")
    low = ours.value / theirs.high if theirs.high else None
    high = ours.high / theirs.value if ours.high else None
    return Interval(
        ours.value / theirs.value, low, high, ours.n or 0, None, "ratio of sustained rates; range of the searches"
    )


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
