"""One side, prepared: models made, answers scored, jobs written for the workers that measure it.

`python -m leptonbench.gate.side FOLDER` reads `job.json` and writes `result.json` there. It runs in the side's own
environment and with the side's own leptonbench, which may be another than the gate's: what they share is the protocol.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

from leptonbench import __version__
from leptonbench.backends import SIMULATED
from leptonbench.errors import LeptonError, UsageError
from leptonbench.gate.exact import count
from leptonbench.gate.model import PROTOCOL, Answers, SideCell, SideJob, SideReport
from leptonbench.harness.child import main
from leptonbench.harness.jobs import JOB_FILE, RESULT_FILE, Failure, write_message
from leptonbench.harness.manifest import new_manifest
from leptonbench.harness.plan import RunPlan, plan_run
from leptonbench.harness.request import Plan, RunRequest
from leptonbench.harness.run import Run
from leptonbench.harness.system import fingerprint
from leptonbench.schema import CellRecord, CellSpec, Notice
from leptonbench.store import RunStore

_TIMED_SAMPLES = 16  # prepared in each process: a median over a window needs few, and preparing them takes time
_MIN_QUERIES = 16
_MEDIAN = 0.5  # the gate judges by the median, so LoadGen has no tail to certify


class _Lines:
    """Progress as lines on the pipe to the gate."""

    def plan(self, plan: Plan) -> None:
        """Say nothing: the gate has its own plan."""

    def phase(self, text: str, *, done: int = 0, total: int = 0) -> None:
        """Say what is being done."""
        print(text, flush=True)  # noqa: T201 - the pipe to the gate

    def round(self, cell: CellSpec, done: int, total: int, *, status: str, detail: str, eta_s: float | None) -> None:
        """Say nothing: no round is measured here."""

    def notice(self, notice: Notice) -> None:
        """Say nothing: notices are in the report."""


def prepare_side(job: SideJob, folder: Path) -> SideReport:
    """Prepare and score every cell of a side.

    Args:
        job: What to prepare.
        folder: Scratch of this side.

    Raises:
        LeptonError: If the model or the data cannot be read, a name is unknown, or a backend is simulated.
    """
    if simulated := [name for name in job.backends if name in SIMULATED]:
        raise UsageError(
            f"the gate does not measure the backend `{simulated[0]}`",
            cause="its device is simulated, and has no time that two processes could be compared by",
            hint="`leptonbench fpga simulate` tells its cycles, the same every time; gate its model on another backend",
        )
    request = RunRequest(
        suite=job.suite,
        filters={
            "workload": (job.workload,),
            "variant": job.variants,
            "backend": job.backends,
            "scenario": job.scenarios,
        },
        duration_s=job.window_s,
        threads=job.threads,
        seed=job.seed,
        model=job.model,
        data=Path(job.data) if job.data else None,
    )
    machine = fingerprint()
    decided = _for_medians(plan_run(request, machine), job)
    cells = [SideCell(cell=record.cell, reason=record.reason) for record in decided.skipped]
    if not decided.cells:
        return SideReport(leptonbench_version=__version__, identity=machine.identity, cells=tuple(cells))
    with RunStore.create(folder / "run", new_manifest(request, decided, machine, "gate")) as store:
        run = Run(request, decided, store, progress=_Lines(), started=time.monotonic())
        run.prepare()
        ready = run.score(run.runnable(decided.cells))
        refused = [record for record in store.records() if record.reason is not None]
        cells += [SideCell(cell=record.cell, reason=record.reason) for record in _last(refused)]
        cells += [_ready(run, cell) for cell in ready]
        notices = store.manifest.notices
    return SideReport(leptonbench_version=__version__, identity=machine.identity, cells=tuple(cells), notices=notices)


def _last(records: list[CellRecord]) -> list[CellRecord]:
    return list({record.cell.key: record for record in records}.values())


def _for_medians(decided: RunPlan, job: SideJob) -> RunPlan:
    """Return the plan with scenarios that certify a median and no tail, and the gate's own number of samples."""
    scenarios = tuple(
        scenario.model_copy(update={"min_queries": _MIN_QUERIES, "percentile": _MEDIAN})
        for scenario in decided.suite.scenarios
    )
    suite = decided.suite.model_copy(update={"scenarios": scenarios, "quality_samples": job.quality_samples})
    return dataclasses.replace(decided, suite=suite)


def _ready(run: Run, cell: CellSpec) -> SideCell:
    artifact = run.pantry.artifact(cell)
    counted = count(artifact)
    score = run.scores[cell.group]
    worker = run.job(cell, mode="performance", out=Path(), samples=_TIMED_SAMPLES)
    return SideCell(
        cell=cell,
        job=json.loads(worker.model_dump_json()),
        timeout_s=run.timeout_s(cell),
        exact=counted.values,
        absent=counted.absent,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        artifact_sha256=artifact.sha256,
        data_sha256=run.pantry.prepared[cell.workload].data_sha256,
        answers=Answers(
            metric=score.quality.name or "quality", quality=score.quality, answers=score.answers, targets=score.targets
        ),
    )


def _work(folder: Path) -> None:
    found = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
    if found.get("protocol") != PROTOCOL:
        sys.exit(f"this leptonbench ({__version__}) speaks gate protocol {PROTOCOL}, not {found.get('protocol')}")
    try:
        report = prepare_side(SideJob.model_validate(found), folder)
    except LeptonError as error:
        failure = Failure.of(error)
        report = SideReport(
            leptonbench_version=__version__, identity=fingerprint().identity, error=failure.model_dump()
        )
    write_message(folder / RESULT_FILE, report)


if __name__ == "__main__":
    main(_work)
