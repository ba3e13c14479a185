"""Turn every cell's rounds into its final record, with what needs its siblings: baselines, prices."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from leptonbench import catalog
from leptonbench.cost.rate import unique
from leptonbench.harness.aggregate import (
    CellData,
    aggregate,
    certain,
    clears,
    compare_with_baseline,
    quality_delta,
)
from leptonbench.harness.causes import Evidence, Side, explain, wants_explanation
from leptonbench.harness.device import HOST_CPU
from leptonbench.harness.jobs import Score
from leptonbench.harness.plan import RunPlan, skipped_record
from leptonbench.harness.pricing import Prices, host_prices, price_cell, unpriced
from leptonbench.harness.rate import Trial, ceiling, final_rounds
from leptonbench.harness.rounds import trials
from leptonbench.harness.simulated import answering, is_simulated
from leptonbench.paths import data_root
from leptonbench.schema import (
    METRICS,
    Artifact,
    Assumption,
    Cause,
    CellRecord,
    CellSpec,
    IsaTable,
    Notice,
    Provenance,
    Quantity,
    Reason,
    RoundRecord,
    Scenario,
    Settings,
    Status,
)
from leptonbench.stats.theory import theoretical_speedup
from leptonbench.store import RunStore
from leptonbench.tasks import Metric

_BASELINE = "fp32"


def finish_records(
    store: RunStore,
    plan: RunPlan,
    *,
    artifacts: Mapping[str, Artifact],
    scores: Mapping[str, Score],
    metrics: Mapping[str, Metric],
    done: Mapping[str, list[RoundRecord]],
    simulated: Sequence[CellRecord] = (),
) -> None:
    """Write the record of every cell that was to be measured, and of those that were simulated.

    Args:
        store: The run.
        plan: What was decided.
        artifacts: By cell key, of those to record.
        scores: By group.
        metrics: By workload.
        done: Rounds by cell key, in order.
        simulated: Records of simulated cells, without what needs other cells.
    """
    cells = [cell for cell in plan.cells if cell.key in artifacts]
    records = {
        cell.key: cell_record(
            store, plan, cell, artifact=artifacts[cell.key], score=scores.get(cell.group), done=done[cell.key]
        )
        for cell in cells
    }
    manifest = store.manifest
    busiest = max(cell.threads * cell.instances for cell in plan.cells)
    threads = min(busiest, manifest.fingerprint.identity.logical_cores)
    prices = {
        profile.name: unpriced(profile.name)
        if profile.kind == "gpu"
        else host_prices(
            profile, plan.suite, threads=threads if profile.board is None else 1, date=manifest.created[:10]
        )
        for profile in manifest.devices
    }
    table = catalog.load_yaml(data_root() / "hardware_profiles" / "isa.yaml", IsaTable)
    for record in (*records.values(), *simulated):
        cell = record.cell
        base_cell = answering(cell).model_copy(update={"variant": _BASELINE})
        siblings = Siblings(
            base=records.get(base_cell.key) if record.rounds else None,
            score=scores.get(cell.group),
            base_score=scores.get(base_cell.group),
            metric=metrics[cell.workload],
            relative_floor=plan.suite.relative_floor or plan.workload(cell).spec.quality.relative_floor,
        )
        record = with_baseline(record, siblings, flags=manifest.fingerprint.identity.cpu_flags, table=table)
        if record.rounds or is_simulated(cell):
            priced = price_cell(record, prices[cell.device], plan.suite)
            record = record.model_copy(update={"metrics": in_order(record.metrics | priced)})
        store.write_record(record)
    store.update(assumptions=_assumptions(prices, {record.cell.device for record in simulated}))


def _assumptions(prices: Mapping[str, Prices], boards: set[str]) -> tuple[Assumption, ...]:
    """Return what prices lean on: the host's, and what differs for the simulated boards, under their names."""
    common = prices[HOST_CPU].assumptions
    own = [
        row.model_copy(update={"name": f"{name}: {row.name}"})
        for name in sorted(boards)
        for row in prices[name].assumptions
        if row not in common
    ]
    return unique([*common, *own])


def cell_record(
    store: RunStore,
    plan: RunPlan,
    cell: CellSpec,
    *,
    artifact: Artifact,
    score: Score | None,
    done: Sequence[RoundRecord],
) -> CellRecord:
    """Aggregate one cell on its own."""
    rounds = plan.suite.rounds
    if not done:
        hint = "`leptonbench run --resume` or a larger --budget"
        return skipped_record(cell, Reason(code="budget", message="no time was left to measure it", hint=hint))
    kept, search = counted_rounds(cell, done, rounds)
    answers = sum(r.values.get("answers", 0.0) for r in kept)
    agreed = sum(r.values.get("answers_agreed", 0.0) for r in kept)
    workload = plan.workload(cell)
    data = CellData(
        cell=cell,
        scenario=plan.scenario(cell),
        rounds=tuple(kept),
        latencies=tuple(store.latencies(cell.key, r.index) for r in kept if r.queries),
        artifact=artifact,
        score=score,
        settings=Settings(
            requested=plan.scenario(cell).model_dump(mode="json") | {"duration_s": plan.suite.duration_s},
            effective=(score.effective if score else {}) | kept[-1].effective | {"rate_search": search},
        ),
        agreement=agreed / answers if answers else None,
        ceiling_per_s=ceiling(trials(done)) if cell.scenario is Scenario.SERVER else None,
    )
    record = aggregate(
        data,
        quality=workload.spec.quality,
        latency_target_s=plan.suite.target_s(cell.workload),
        percentile=plan.suite.latency_percentile,
    )
    return judged(record, len(kept), rounds)


def counted_rounds(
    cell: CellSpec, done: Sequence[RoundRecord], rounds: int
) -> tuple[list[RoundRecord], list[tuple[float, bool]]]:
    """Return the rounds a record is made from, and for a server cell every rate that was tried."""
    tried: list[Trial] = trials(done) if cell.scenario is Scenario.SERVER else []
    if not tried or any(r.status is Status.FAILED for r in done):
        return list(done), [(trial.rate_per_s, trial.met) for trial in tried]
    search = [(trial.rate_per_s, trial.met) for trial in tried]
    return [done[i] for i in final_rounds(tried, rounds)], search


def judged(record: CellRecord, kept: int, rounds: int) -> CellRecord:
    """Mark a cell that has fewer rounds than an interval needs."""
    if record.status is not Status.OK or kept >= rounds:
        return record
    reason = Reason(
        code="too-few-rounds",
        message=f"{kept} of {rounds} rounds were measured",
        hint="`leptonbench run --resume` measures the rest",
    )
    return record.model_copy(update={"status": Status.INVALID, "reason": reason})


class Siblings(NamedTuple):
    """What a cell is compared with: the fp32 cell of the same backend and scenario, and both scores."""

    base: CellRecord | None
    score: Score | None
    base_score: Score | None
    metric: Metric
    relative_floor: float


def with_baseline(record: CellRecord, siblings: Siblings, *, flags: tuple[str, ...], table: IsaTable) -> CellRecord:
    """Add speedup, theoretical speedup and quality difference, and judge the quality by the allowed drop."""
    metrics: dict[str, Quantity] = dict(record.metrics)
    base, score, base_score = siblings.base, siblings.score, siblings.base_score
    notices: list[Notice] = []
    if base is not None and base.cell.key != record.cell.key and record.rounds:
        metrics |= compare_with_baseline(record, base, theory=theory(record, base, flags=flags, table=table))
    elif record.rounds:
        itself = "this is the baseline" if base is not None else "the run has no fp32 cell on this backend and scenario"
        metrics |= {tag: Quantity.null("1", itself) for tag in ("speedup", "theoretical_speedup")}
    meets_quality = record.meets_quality
    if score is not None and base_score is None:
        meets_quality = both(meets_quality, None)
        notices.append(_unjudged(siblings.relative_floor))
    elif score is not None and base_score is not None and score.group != base_score.group:
        delta = quality_delta(score, base_score, siblings.metric)
        metrics["quality_delta"] = delta
        allowed = -(1 - siblings.relative_floor) * (base_score.quality.value or 0.0)
        meets_quality = both(meets_quality, clears(delta, allowed))
        if not certain(delta, allowed):
            notices.append(_uncertain(delta, allowed, siblings.relative_floor))
    return record.model_copy(
        update={
            "metrics": in_order(metrics),
            "warnings": (*record.warnings, *notices),
            "causes": causes(record, metrics, siblings, flags=flags),
            "meets_quality": meets_quality,
        }
    )


def causes(
    record: CellRecord, metrics: Mapping[str, Quantity], siblings: Siblings, *, flags: tuple[str, ...]
) -> tuple[Cause, ...]:
    """Return why a variant's speed is what it is, where that calls for a reason."""
    base, score, base_score = siblings.base, siblings.score, siblings.base_score
    if base is None or score is None or base_score is None or base.cell.key == record.cell.key:
        return ()
    if record.cell.device != HOST_CPU:  # the checks know engines and instructions of CPUs
        return ()
    if not wants_explanation(metrics.get("speedup"), metrics.get("theoretical_speedup")):
        return ()
    evidence = Evidence(
        base=_side(base, base_score),
        variant=_side(record, score),
        techniques=tuple(step.technique for step in record.artifact.recipe) if record.artifact else (),
        machine=platform.machine(),
        features=frozenset(flags),
        options={step.technique: step.options for step in record.artifact.recipe} if record.artifact else {},
    )
    return tuple(explain(evidence))


def _side(record: CellRecord, score: Score) -> Side:
    artifact = record.artifact
    macs, precision = (artifact.macs, artifact.precision) if artifact else (0, "fp32")
    profile = next((r.profile for r in record.rounds if r.profile), {})
    return Side.of(macs, precision, score.effective, profile)


def _unjudged(relative_floor: float) -> Notice:
    """Say that nothing tells how much of fp32's quality a variant keeps."""
    return Notice(
        code="no-baseline",
        message=f"whether it keeps {relative_floor:.0%} of fp32's quality is unknown: fp32 has no score on this engine",
        hint="run the fp32 variant, too; until then this cell is not ranked",
    )


def _uncertain(delta: Quantity, allowed: float, relative_floor: float) -> Notice:
    """Say that the samples are too few to be sure on which side of the floor a variant lies."""
    return Notice(
        code="quality-uncertain",
        message=f"{delta.n} samples cannot tell for sure whether it keeps {relative_floor:.0%} of fp32's quality: "
        f"the difference may lie between {delta.low:+.3f} and {delta.high:+.3f}, and {allowed:+.3f} is allowed",
        hint="it is judged by the value itself; a suite without `quality_samples` scores the whole split",
    )


def both(one: bool | None, other: bool | None) -> bool | None:
    """Return whether two verdicts hold: false if either is, unknown if either is."""
    if one is False or other is False:
        return False
    return True if one and other else None


def theory(record: CellRecord, base: CellRecord, *, flags: tuple[str, ...], table: IsaTable) -> Quantity | None:
    """Return the peak speedup that the arithmetic allows; `None` without counts."""
    if record.artifact is None or base.artifact is None or not (record.artifact.macs and base.artifact.macs):
        return None
    if record.cell.device != HOST_CPU:
        return Quantity.null("1", "peak ratios are published by CPU instruction; a GPU's depends on the card")
    found = theoretical_speedup(
        base.artifact.macs, record.artifact.macs, precision=record.artifact.precision, cpu_flags=flags, table=table
    )
    if found is None:
        return Quantity.null("1", f"no published peak ratio for {record.artifact.precision} on this CPU")
    return Quantity(
        value=found.value,
        unit="1",
        low=found.low,
        high=found.high,
        provenance=Provenance.ASSUMED if found.ratio.assumed else Provenance.PROJECTED,
        method=f"MACs ratio {found.mac_ratio:.3g} x arithmetic ratio {found.arithmetic_ratio:.3g}: {found.derivation}",
    )


def in_order(metrics: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """Return the metrics in the order of their declaration."""
    return {tag: metrics[tag] for tag in METRICS if tag in metrics}
