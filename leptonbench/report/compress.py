"""Which compression pays, variant by variant. Pure: records in, judgements out, no language."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from leptonbench.report.choice import RULES, ReasonGroup, absent_cells, metric_of
from leptonbench.report.naming import ordered
from leptonbench.report.numbers import Ratio, bounds, lower_is_better, ratio
from leptonbench.schema import CellRecord, RunManifest, Scenario, Status, VariantSpec
from leptonbench.stats.summary import ratio_interval

SMALLER = 0.9
"""A variant is called smaller when what is kept of it has at most this share of fp32's bytes."""


class Verdict(StrEnum):
    """Whether a variant is worth it, best first."""

    BASELINE = "baseline"
    PAYS = "pays"
    ENGINE = "engine"
    SMALLER = "smaller"
    INDISTINCT = "indistinct"
    SLOWER = "slower"
    INACCURATE = "inaccurate"
    UNKNOWN = "unknown"
    ABSENT = "absent"


class Judged(NamedTuple):
    """One variant on one workload, all its numbers from one scenario.

    Attributes:
        spec: Its declaration; `None` where the manifest has none.
        best: Its fastest cell: an accurate and valid one if there is any.
        times: How many times as fast as the fastest accurate fp32 cell, whatever the engine.
        by_backend: Its fastest cell with numbers on each engine.
        cells: All of its cells with numbers.
        absent: Why its other cells of any scenario are missing, by reason.
        stored_bytes: What is kept and sent of it: its own form where it has one, else what the engine loads.
        stored_share: The same over fp32's.
    """

    name: str
    spec: VariantSpec | None
    verdict: Verdict
    best: CellRecord | None
    times: Ratio | None
    by_backend: dict[str, CellRecord]
    cells: tuple[CellRecord, ...]
    absent: tuple[ReasonGroup, ...]
    stored_bytes: float | None
    stored_share: float | None


class Compression(NamedTuple):
    """Everything judged for one workload.

    Attributes:
        scenario: Which the numbers are of.
        metric: What is compared there.
        base: The fastest accurate fp32 cell.
        backends: Those with numbers, in the suite's order.
        variants: In the order of their declaration.
    """

    workload: str
    scenario: Scenario
    metric: str
    base: CellRecord | None
    backends: tuple[str, ...]
    variants: tuple[Judged, ...]

    def of(self, *verdicts: Verdict) -> list[Judged]:
        """Return the variants with one of these verdicts; the fastest first where speed decided."""
        found = [judged for judged in self.variants if judged.verdict in verdicts]
        return sorted(found, key=lambda judged: -(judged.times.value if judged.times else 0.0))


def speed_metric(scenario: Scenario) -> str:
    """Return what a scenario's speed is compared by; a server's latencies belong to a rate of its own."""
    return "throughput" if scenario in (Scenario.SERVER, Scenario.OFFLINE) else "latency_p50"


def times_as_fast(record: CellRecord, base: CellRecord) -> Ratio | None:
    """Return how many times as fast one cell is as another of its scenario, from paired rounds where both have them.

    A server's rates are each known within the steps of a search, so their ratio takes the far ends of both ranges.
    """
    tag = speed_metric(record.cell.scenario)
    mine, theirs = metric_of(record, tag), metric_of(base, tag)
    if mine is None or theirs is None:
        return None
    above, below = (base, record) if lower_is_better(tag) else (record, base)
    if record.cell.scenario is not Scenario.SERVER:
        found = [_by_round(one, tag) for one in (above, below)]
        shared = sorted(found[0].keys() & found[1].keys())
        sides = [[side[index] for index in shared] for side in found]
        if len(shared) > 1 and min(*sides[0], *sides[1]) > 0:
            interval = ratio_interval(*sides)
            return Ratio(interval.value, interval.low, interval.high)
    return ratio(above.metrics[tag], below.metrics[tag])


def _by_round(record: CellRecord, tag: str) -> dict[int, float]:
    return {item.index: item.values[tag] for item in record.rounds if tag in item.values}


def is_uncertain(record: CellRecord) -> bool:
    """Tell whether the samples are too few to be sure on which side of the quality floor a cell lies."""
    return any(notice.code == "quality-uncertain" for notice in record.warnings)


def floor_state(record: CellRecord | None) -> str:
    """Say on which side of the quality floor a cell lies, and whether the samples are enough to be sure."""
    if record is None or record.meets_quality is None:
        return ""
    return ("meets" if record.meets_quality else "below") + ("_unsure" if is_uncertain(record) else "")


def judge_workload(manifest: RunManifest, workload: str, records: Sequence[CellRecord]) -> Compression | None:
    """Judge every variant of a workload; `None` where the run has nothing but the uncompressed model.

    The scenario is the first, by MLPerf's order, in which a compressed cell has numbers.
    """
    specs = {spec.name: spec for spec in manifest.variants}
    mine = [record for record in records if record.cell.workload == workload]
    names = ordered((record.cell.variant for record in mine), list(specs))
    baselines = {name for name in names if _is_baseline(name, specs)}
    if len(names) == len(baselines):
        return None
    mine = _comparable(mine, baselines)
    scenario = _scenario(mine, baselines)
    tag = speed_metric(scenario)
    here = [record for record in mine if record.cell.scenario is scenario and metric_of(record, tag)]
    base = _fastest([r for r in here if r.cell.variant in baselines and _is_good(r)], tag)
    kept = next((_stored_bytes(record) for record in here if record.cell.variant in baselines), None)
    judged = tuple(
        _judge(
            specs.get(name),
            name,
            [r for r in here if r.cell.variant == name],
            [r for r in mine if r.cell.variant == name],
            baseline=name in baselines,
            base=base,
            kept=kept,
        )
        for name in names
    )
    backends = ordered((record.cell.backend for record in here), manifest.suite.backends)
    return Compression(workload, scenario, tag, base, backends, judged)


def _comparable(records: Sequence[CellRecord], baselines: set[str]) -> list[CellRecord]:
    """Leave out devices on which no uncompressed model ran beside one on which one did: they tell of hardware."""
    ran = {record.cell.device for record in records if record.cell.variant in baselines and record.metrics}
    return [record for record in records if not ran or record.cell.device in ran]


def _is_baseline(name: str, specs: dict[str, VariantSpec]) -> bool:
    return not specs[name].steps if name in specs else name == "fp32"


def _scenario(records: Sequence[CellRecord], baselines: set[str]) -> Scenario:
    for scenario in RULES[0].scenarios:
        here = [record for record in records if record.cell.scenario is scenario]
        if any(metric_of(r, speed_metric(scenario)) for r in here if r.cell.variant not in baselines):
            return scenario
    return min((record.cell.scenario for record in records), key=RULES[0].scenarios.index)


def _is_good(record: CellRecord) -> bool:
    return record.status is Status.OK and record.meets_quality is True


def _fastest(records: Sequence[CellRecord], tag: str) -> CellRecord | None:
    sign = 1 if lower_is_better(tag) else -1
    return min(records, key=lambda record: (sign * (record.metrics[tag].value or 0.0), record.cell.key), default=None)


def _best(records: Sequence[CellRecord], tag: str) -> CellRecord | None:
    """Return the fastest of those that count most: accurate and valid, then valid, then any."""
    for pool in (
        [record for record in records if _is_good(record)],
        [record for record in records if record.status is Status.OK],
        records,
    ):
        if pool:
            return _fastest(pool, tag)
    return None


def _judge(
    spec: VariantSpec | None,
    name: str,
    cells: list[CellRecord],
    everywhere: list[CellRecord],
    *,
    baseline: bool,
    base: CellRecord | None,
    kept: float | None,
) -> Judged:
    tag = speed_metric(cells[0].cell.scenario) if cells else "latency_p50"
    best = _best(cells, tag)
    times = times_as_fast(best, base) if best is not None and base is not None and not baseline else None
    stored = _stored_bytes(best) if best is not None else None
    share = stored / kept if stored and kept else None
    verdict = Verdict.BASELINE if baseline and cells else _verdict(cells, best, times, share)
    keys = {record.cell.key for record in cells}
    backends = dict.fromkeys(record.cell.backend for record in cells)
    fastest = {name: _best([r for r in cells if r.cell.backend == name], tag) for name in backends}
    return Judged(
        name=name,
        spec=spec,
        verdict=verdict,
        best=best,
        times=times,
        by_backend={backend: record for backend, record in fastest.items() if record is not None},
        cells=tuple(cells),
        absent=tuple(absent_cells([record for record in everywhere if record.cell.key not in keys])),
        stored_bytes=stored,
        stored_share=None if baseline else share,
    )


def _verdict(cells: list[CellRecord], best: CellRecord | None, times: Ratio | None, share: float | None) -> Verdict:
    if best is None:
        return Verdict.ABSENT
    valid = [record for record in cells if record.status is Status.OK]
    good = [record for record in valid if _is_good(record)]
    if not good:
        inaccurate = bool(valid) and all(record.meets_quality is False for record in valid)
        return Verdict.INACCURATE if inaccurate else Verdict.UNKNOWN
    if times is not None and times.low is not None and times.low > 1:
        return Verdict.PAYS
    speedups = [bounds(speedup) for record in good if (speedup := metric_of(record, "speedup"))]
    if not speedups:
        return Verdict.UNKNOWN
    if any(low > 1 for low, _ in speedups):
        return Verdict.ENGINE
    if all(high < 1 for _, high in speedups):
        return Verdict.SLOWER
    return Verdict.SMALLER if share is not None and share <= SMALLER else Verdict.INDISTINCT


def _stored_bytes(record: CellRecord) -> float | None:
    for tag in ("stored_size", "model_size"):
        if size := metric_of(record, tag):
            return size.value
    return None


class Contribution(NamedTuple):
    """What one step of a composition adds on one engine in one scenario.

    Attributes:
        before: Variant without the step; the nearest shorter one that was measured there.
        after: Variant with it.
        missing: Shorter variants between the two that were not measured there, so that their steps count together.
        speed: Times as fast as `before`.
        quality: Quality over that of `before`.
    """

    composition: str
    backend: str
    scenario: Scenario
    before: CellRecord
    after: CellRecord
    missing: tuple[str, ...]
    speed: Ratio | None
    quality: Ratio | None


def contributions(manifest: RunManifest, workload: str, records: Sequence[CellRecord]) -> list[Contribution]:
    """Return what each step of every composition `a+b` adds: fp32 to `a`, `a` to `a+b`, on the same engine."""
    baseline = next((variant.name for variant in manifest.variants if not variant.steps), "fp32")
    present = {record.cell.key: record for record in records if record.metrics and record.cell.workload == workload}
    found: list[Contribution] = []
    for record in present.values():
        if "+" in record.cell.variant and record.status is Status.OK:
            found += _steps(record, baseline, present)
    return found


def _steps(record: CellRecord, baseline: str, present: dict[str, CellRecord]) -> list[Contribution]:
    """Return the steps of one composed cell, from the first on; none without an fp32 cell beside it."""
    parts = record.cell.variant.split("+")
    chain = [baseline, *("+".join(parts[: count + 1]) for count in range(len(parts)))]
    cells = [present.get(record.cell.model_copy(update={"variant": name}).key) for name in chain]
    steps: list[Contribution] = []
    before: CellRecord | None = None
    missing: list[str] = []
    for name, cell in zip(chain, cells, strict=True):
        if cell is None or cell.status is not Status.OK:
            missing.append(name)
            continue
        if before is not None:
            steps.append(_contribution(record, before, cell, tuple(missing)))
        before, missing = cell, []
    return steps if cells[0] is not None else []


def _contribution(whole: CellRecord, before: CellRecord, after: CellRecord, missing: tuple[str, ...]) -> Contribution:
    ours, theirs = metric_of(after, "quality"), metric_of(before, "quality")
    return Contribution(
        composition=whole.cell.variant,
        backend=whole.cell.backend,
        scenario=whole.cell.scenario,
        before=before,
        after=after,
        missing=missing,
        speed=times_as_fast(after, before),
        quality=ratio(ours, theirs) if ours and theirs else None,
    )
