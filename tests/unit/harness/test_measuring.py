"""A budget that turns out too short suffices for fewer cells, each of them whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from leptonbench.harness.budget import RESERVE_S
from leptonbench.harness.measuring import measure_cells
from leptonbench.harness.run import Run
from leptonbench.schema import CellSpec, RoundRecord
from tests.harness_factory import cell, round_record, suite

SUITE = suite(
    variants=("fp32", "int8-static"),
    backends=("onnxruntime", "openvino"),
    scenarios=({"kind": "single-stream"}, {"kind": "multi-stream"}),
)
STREAMS = [cell(variant, backend) for variant in ("fp32", "int8-static") for backend in ("onnxruntime", "openvino")]
MULTI = [cell(variant, "onnxruntime", "multi-stream") for variant in ("fp32", "int8-static")]


class _Clock:
    """A run whose rounds take as long as told, by a clock that only they move."""

    request = SimpleNamespace(seed=0)
    plan = SimpleNamespace(suite=SUITE)
    progress = SimpleNamespace(round=lambda *_, **__: None)
    duration_s = SUITE.duration_s
    scores: dict[str, Any] = {}

    def __init__(self, budget_s: float | None, round_s: float) -> None:
        self.budget_s, self.round_s, self.spent_s = budget_s, round_s, 0.0
        self.skipped: dict[str, int] = {}

    def left_s(self) -> float | None:
        return None if self.budget_s is None else self.budget_s - self.spent_s

    def measure_round(self, cell: CellSpec, done: list[RoundRecord]) -> RoundRecord:
        self.spent_s += self.round_s
        return round_record(len(done)).model_copy(update={"wall_s": self.round_s})

    def skip_for_budget(self, cell: CellSpec, rounds: int) -> None:
        self.skipped[cell.key] = rounds


def _measure(clock: _Clock, cells: list[CellSpec]) -> tuple[list[CellSpec], dict[str, list[RoundRecord]]]:
    done: dict[str, list[RoundRecord]] = {one.key: [] for one in cells}
    return measure_cells(cast(Run, clock), cells, done), done


def test_without_a_budget_all_cells_have_all_rounds() -> None:
    clock = _Clock(None, 100.0)
    finished, done = _measure(clock, STREAMS)
    assert finished == STREAMS and not clock.skipped
    assert {len(rounds) for rounds in done.values()} == {SUITE.rounds}


@pytest.mark.parametrize("round_s", [3.0, 6.0, 9.0, 14.0, 20.0])
def test_rounds_that_take_longer_than_estimated_leave_fewer_cells_but_whole_ones(round_s: float) -> None:
    clock = _Clock(120.0, round_s)
    cells = [*STREAMS, *MULTI]
    finished, done = _measure(clock, cells)
    assert finished and finished[0] == STREAMS[0], "the most important cell stays"
    assert {len(done[one.key]) for one in finished} == {SUITE.rounds}
    assert clock.spent_s - round_s <= 120.0 - RESERVE_S, "no round is started in the reserve"
    assert clock.skipped == {one.key: len(done[one.key]) for one in cells if one not in finished}


def test_what_goes_first_is_the_last_scenario_of_all_variants() -> None:
    finished, _ = _measure(_Clock(12 * 8.0 + 8.0 + 20.0, 8.0), [*STREAMS, *MULTI])
    assert finished == STREAMS


def test_where_no_cell_can_be_whole_the_rounds_of_the_most_important_are_told() -> None:
    clock = _Clock(60.0, 50.0)
    finished, done = _measure(clock, STREAMS)
    assert finished == STREAMS[:1] and len(done[STREAMS[0].key]) < SUITE.rounds
    assert set(clock.skipped) == {one.key for one in STREAMS[1:]}
