"""The step of a run that measures: rounds of all cells, interleaved, and what a budget does not suffice for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from leptonbench.harness.budget import RESERVE_S, cut, round_estimate_s
from leptonbench.harness.rounds import remaining, schedule
from leptonbench.schema import CellSpec, RoundRecord

if TYPE_CHECKING:
    from leptonbench.harness.run import Run


def measure_cells(run: Run, cells: Sequence[CellSpec], done: dict[str, list[RoundRecord]]) -> list[CellSpec]:
    """Measure the rounds that are missing, interleaved; each is on disk before the next starts.

    Where rounds take longer than was estimated, a budget suffices for fewer cells: the least important are left, for
    the others to have all their rounds. They are recorded as skipped for the budget.

    Args:
        run: In progress.
        cells: To measure.
        done: Rounds on disk by cell; those measured are appended.

    Returns:
        The cells that are not skipped. All have their rounds, save where none could have.
    """
    rounds = run.plan.suite.rounds
    total = len(cells) * rounds
    walls: list[float] = []
    kept = list(cells)
    for cell in schedule(kept, done, rounds=rounds, seed=run.request.seed):
        left = run.left_s()
        if left is not None:
            kept[:] = _within(left - RESERVE_S, kept, run, done)
            if left < RESERVE_S:
                break
        if cell not in kept:
            continue
        finished = sum(min(rounds, len(done[c.key])) for c in cells)
        eta_s = (total - finished) * sum(walls) / len(walls) if walls else None
        run.progress.round(cell, finished, total, status="running", detail="", eta_s=eta_s)
        record = run.measure_round(cell, done[cell.key])
        done[cell.key].append(record)
        walls.append(record.wall_s)
        detail = round_detail(record)
        run.progress.round(cell, finished + 1, total, status=record.status.value, detail=detail, eta_s=None)
    complete = [cell for cell in cells if not remaining(cell, done[cell.key], rounds)]
    finished_cells = complete or kept
    for cell in cells:
        if cell not in finished_cells:
            run.skip_for_budget(cell, len(done[cell.key]))
    return finished_cells


def _within(
    left_s: float, cells: Sequence[CellSpec], run: Run, done: Mapping[str, Sequence[RoundRecord]]
) -> list[CellSpec]:
    """Return the cells that the time left suffices for, those that are complete included."""
    suite = run.plan.suite
    costs = {
        cell.key: _missing_s(run, cell, done[cell.key])
        for cell in cells
        if remaining(cell, done[cell.key], suite.rounds)
    }
    pending = [cell for cell in cells if cell.key in costs]
    fitting = cut(pending, suite, lambda some: sum(costs[cell.key] for cell in some) <= left_s)
    return [cell for cell in cells if cell.key not in costs or cell in fitting]


def _missing_s(run: Run, cell: CellSpec, done: Sequence[RoundRecord]) -> float:
    """Return a rough time for the rounds that a cell still needs: by its own rounds, else by the estimate."""
    suite = run.plan.suite.model_copy(update={"duration_s": run.duration_s})
    score = run.scores.get(cell.group)
    estimate_s = round_estimate_s(cell, suite, score.sample_s if score else 0.0)
    if not done:
        return estimate_s
    longest_s = max(record.wall_s for record in done)
    return longest_s * max(1, suite.rounds - len(done))


def round_detail(record: RoundRecord) -> str:
    """Return a round's outcome in a few words."""
    if record.reason is not None:
        return record.reason.message
    if "latency_p50" in record.values:
        return f"p50 {record.values['latency_p50'] * 1e3:.2f} ms"
    return f"{record.values.get('throughput', 0.0):.1f}/s"
