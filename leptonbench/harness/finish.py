"""Turn every cell's rounds into its final record, with what needs its siblings: baselines, prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leptonbench.harness.aggregate import CellData, aggregate, compare_with_baseline, gap_notice, quality_delta
from leptonbench.harness.jobs import Score
from leptonbench.harness.plan import RunPlan, skipped_record
from leptonbench.harness.rate import Trial, final_rounds
from leptonbench.harness.rounds import trials
from leptonbench.schema import (
    METRICS,
    Artifact,
    CellRecord,
    CellSpec,
    Quantity,
    Reason,
    RoundRecord,
    Scenario,
    Settings,
    Status,
)
from leptonbench.store import RunStore

_BASELINE = "fp32"


def finish_records(
    store: RunStore,
    plan: RunPlan,
    *,
    artifacts: Mapping[str, Artifact],
    scores: Mapping[str, Score],
    done: Mapping[str, list[RoundRecord]],
) -> None:
    """Write the record of every cell that was to be measured.

    Args:
        store: The run.
        plan: What was decided.
        artifacts: By cell key.
        scores: By group.
        done: Rounds by cell key, in order.
    """
    cells = [cell for cell in plan.cells if cell.key in done]
    records = {
        cell.key: cell_record(
            store, plan, cell, artifact=artifacts[cell.key], score=scores.get(cell.group), done=done[cell.key]
        )
        for cell in cells
    }
    for cell in cells:
        record = records[cell.key]
        base_cell = cell.model_copy(update={"variant": _BASELINE})
        base = records.get(base_cell.key)
        store.write_record(with_baseline(record, base, scores.get(cell.group), scores.get(base_cell.group)))


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
    )
    record = aggregate(
        data,
        quality=workload.spec.quality,
        latency_target_s=plan.suite.latency_target_s,
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
    return [done[i] for i in final_rounds(tried)], search


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


def with_baseline(
    record: CellRecord, base: CellRecord | None, score: Score | None, base_score: Score | None
) -> CellRecord:
    """Add speedup and quality difference against the fp32 cell of the same backend and scenario."""
    metrics: dict[str, Quantity] = dict(record.metrics)
    if base is not None and base.cell.key != record.cell.key and record.rounds:
        metrics |= compare_with_baseline(record, base, theory=None)
    if score is not None and base_score is not None and score.group != base_score.group:
        metrics["quality_delta"] = quality_delta(score, base_score)
    notice = gap_notice(record, metrics)
    return record.model_copy(
        update={
            "metrics": {tag: metrics[tag] for tag in METRICS if tag in metrics},
            "warnings": (*record.warnings, notice) if notice else record.warnings,
        }
    )
