"""The step of a run that simulates: a child process for each artifact and board, before anything is timed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from leptonbench.backends import Estimate
from leptonbench.harness.budget import PREPARE_SHARE, SCORE_SHARE, SIMULATE_SHARE, groups_by_importance
from leptonbench.harness.children import run_workers, scratch_folder
from leptonbench.harness.jobs import WorkerJob
from leptonbench.harness.simulated import Refused, estimate, simulated_record
from leptonbench.harness.system import cores_available
from leptonbench.schema import CellRecord, CellSpec

if TYPE_CHECKING:
    from leptonbench.harness.run import Run

_TIMEOUT_S = 900.0  # the first time, a simulator is built for each core


def simulate_cells(run: Run, cells: Sequence[CellSpec]) -> list[CellRecord]:
    """Simulate every group of cells once, and return the records that follow, without what needs other cells.

    The scenarios of a group share one estimate. Cells without one are recorded with the reason.
    """
    _build(run, cells)
    records: list[CellRecord] = []
    groups = groups_by_importance(cells, run.plan.suite)
    for number, (group, first) in enumerate(groups.items(), 1):
        words = f"simulate {first.workload}, {first.variant} on {first.device}"
        run.progress.phase(words, done=number, total=len(groups))
        mine = [cell for cell in cells if cell.group == group]
        if _spent(run):
            for cell in mine:
                run.skip_for_budget(cell)
            continue
        found = _estimate(run, first)
        for cell in mine:
            if isinstance(found, Refused):
                run.store.write_record(CellRecord(cell=cell, status=found.status, reason=found.reason))
            else:
                records.append(_record(run, cell, found))
    return records


def _spent(run: Run) -> bool:
    return run.budget.until_s(PREPARE_SHARE + SCORE_SHARE + SIMULATE_SHARE) == 0


def _build(run: Run, cells: Sequence[CellSpec]) -> None:
    """Make what the cells are simulated with, for all devices at once; what cannot be made their cells say.

    With one device there is nothing to do at once: its first cell makes it.
    """
    firsts = {(cell.backend, cell.device): cell for cell in reversed(cells)}
    if len(firsts) < 2 or _spent(run):
        return
    run.progress.phase(f"make the simulators of {', '.join(sorted(device for _, device in firsts))}")
    with scratch_folder() as folder:
        jobs = ((_job(run, cell, "build", folder / cell.device), _TIMEOUT_S) for cell in firsts.values())
        with closing(run_workers(jobs, at_once=cores_available())) as ends:
            for _ in ends:
                pass


def _job(run: Run, cell: CellSpec, mode: str, folder: Path) -> WorkerJob:
    return run.job(cell, mode=mode, out=folder).model_copy(update={"device": run.plan.board(cell)})


def _estimate(run: Run, cell: CellSpec) -> Estimate | Refused:
    with scratch_folder() as folder:
        return estimate(_job(run, cell, "simulate", folder), run.request.round_timeout_s or _TIMEOUT_S)


def _record(run: Run, cell: CellSpec, found: Estimate) -> CellRecord:
    scenario = run.plan.scenario(cell)
    return simulated_record(
        cell,
        scenario,
        estimate=found,
        artifact=run.pantry.artifact(cell),
        score=run.scores.get(cell.group),
        device=run.plan.board(cell),
        floor=run.plan.workload(cell).spec.quality.floor,
        latency_target_s=run.plan.suite.target_s(cell.workload),
        requested=scenario.model_dump(mode="json"),
        seed=run.request.seed,
    )
