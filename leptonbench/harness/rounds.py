"""The order of rounds, and one round as the parent sees it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leptonbench.harness.children import run_worker
from leptonbench.harness.jobs import LATENCIES_FILE, Score, WorkerJob, WorkerResult
from leptonbench.harness.process import Ended
from leptonbench.harness.rate import Trial, decide
from leptonbench.harness.scoring import failure_reason
from leptonbench.schema import CellSpec, Reason, RoundRecord, Scenario, Status
from leptonbench.store import RunStore
from leptonbench.tasks import Metric


def remaining(cell: CellSpec, done: Sequence[RoundRecord], rounds: int) -> bool:
    """Return whether a cell needs another round, given those it has."""
    if any(r.status is Status.FAILED for r in done):
        return False
    if cell.scenario is Scenario.SERVER:
        return not decide(trials(done), rounds).done
    return len(done) < rounds


def trials(done: Sequence[RoundRecord]) -> list[Trial]:
    """Return a server cell's rounds as trials of a rate."""
    return [Trial(float(r.effective["target_qps"]), r.status is Status.OK) for r in done if "target_qps" in r.effective]


def schedule(
    cells: Sequence[CellSpec], done: Mapping[str, list[RoundRecord]], *, rounds: int, seed: int
) -> Iterator[CellSpec]:
    """Yield which cell is measured next: one round of every cell that needs one, in random order, then again.

    The caller appends each finished round to `done`, which decides whether a cell comes again. A cell that the caller
    takes out of `cells` does not come in the next sweep.
    """
    sweep = 0
    while pending := [cell for cell in cells if remaining(cell, done[cell.key], rounds)]:
        order = np.random.default_rng((seed, sweep)).permutation(len(pending))
        for position in order:
            yield pending[int(position)]
        sweep += 1


def run_round(
    job: WorkerJob, store: RunStore, *, scored: Score | None, metric: Metric, timeout_s: float, attempt: int = 0
) -> RoundRecord:
    """Measure one round in a fresh process and keep it with its latencies and LoadGen's logs.

    Args:
        job: Of the worker.
        store: Where it is kept.
        scored: What the same engine answered untimed; the timed answers are held against it.
        metric: Says which answers are the same.
        timeout_s: After this the worker is killed.
        attempt: Of the run.
    """
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    load_average = os.getloadavg()[0]
    result, ended = run_worker(job, timeout_s=timeout_s)
    latencies = _latencies(Path(job.out))
    record = make_record(job, result, ended)
    values = {**record.values, **_agreement(result, scored, metric)}
    changes = {"started": started, "attempt": attempt, "load_average": load_average, "values": values}
    record = record.model_copy(update=changes)
    logs = store.log_dir(job.cell.key, job.round_index)
    for log in sorted((Path(job.out) / "loadgen").glob("mlperf_log_*")):
        if not log.name.endswith(("trace.json", "accuracy.json")):
            shutil.copy(log, logs / log.name)
    store.write_round(job.cell.key, record, latencies)
    return record


def make_record(job: WorkerJob, result: WorkerResult | None, ended: Ended) -> RoundRecord:
    """Classify a finished child and make its record."""
    base = {
        "index": job.round_index,
        "started": "",
        "wall_s": ended.wall_s,
        "effective": {"target_qps": job.target_qps} if job.target_qps else {},
    }
    if result is None or ended.code != "ok" or result.error is not None:
        failure = result.error if result else None
        code = result.error_code if result and ended.code == "ok" else ""
        reason = failure_reason(ended, code, failure.message if failure else "", failure)
        return RoundRecord.model_validate({**base, "status": Status.FAILED, "reason": reason})
    invalid: Reason | None = None
    if not result.valid:
        invalid = Reason(
            code="loadgen-invalid",
            message="; ".join(result.invalid_reasons),
            hint="a longer --duration gives the rule more queries" if job.scenario.kind is not Scenario.OFFLINE else "",
        )
    return RoundRecord.model_validate(
        {
            **base,
            "status": Status.INVALID if invalid else Status.OK,
            "reason": invalid,
            "values": {**result.values, "inferences": float(result.inferences)},
            "queries": result.queries,
            "loadgen": result.loadgen,
            "effective": {**result.effective, "artifact_sha256": job.artifact.sha256 if job.artifact else ""},
            "energy": result.energy,
            "notices": result.notices,
            "profile": result.profile,
        }
    )


def _agreement(result: WorkerResult | None, scored: Score | None, metric: Metric) -> dict[str, float]:
    """Return how many timed samples were answered, and how many answers are the same as the scored ones."""
    if result is None or scored is None:
        return {}
    shared = [index for index in result.answers if index in scored.answers]
    agreed = sum(metric.same(result.answers[index], scored.answers[index]) for index in shared)
    return {"answers": float(len(shared)), "answers_agreed": float(agreed)}


def _latencies(folder: Path) -> NDArray[np.float64]:
    path = folder / LATENCIES_FILE
    return np.asarray(np.load(path)) if path.exists() else np.empty(0)
