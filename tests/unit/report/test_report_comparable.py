"""Devices are compared like with like: joules at the wall, dollars of what everything compared can be had for."""

from __future__ import annotations

from leptonbench.report.choice import ENERGY, OWNED, RENTED, RULES, WALL_ENERGY, Question, answer, comparable
from leptonbench.schema import Boundary, CellRecord, Provenance, Quantity, Status
from tests.harness_factory import cell

FRUGAL = next(rule for rule in RULES if rule.question is Question.FRUGAL)


def _record(backend: str, joules: float, boundary: Boundary, wall_j: float | None) -> CellRecord:
    metrics = {ENERGY: Quantity(value=joules, unit="J", provenance=Provenance.MEASURED, boundary=boundary)}
    if wall_j is not None:
        metrics[WALL_ENERGY] = Quantity(value=wall_j, unit="J", provenance=Provenance.PROJECTED, boundary=Boundary.WALL)
    record_cell = cell(backend=backend, device="host-gpu" if boundary is Boundary.DEVICE else "host-cpu")
    return CellRecord(cell=record_cell, status=Status.OK, metrics=metrics, meets_quality=True)


CARD = _record("torch-cuda", 1.0, Boundary.DEVICE, 8.0)
SERVER = _record("onnxruntime", 3.0, Boundary.WALL, 3.0)


def test_a_card_that_takes_less_by_its_own_meter_and_more_at_the_wall_does_not_win() -> None:
    found = answer(FRUGAL, "inspection", [CARD, SERVER])
    assert found.rule.metric == WALL_ENERGY
    assert found.best is SERVER


def test_cells_of_one_boundary_are_compared_by_their_own_meter() -> None:
    other = _record("torch-cuda-graph", 0.8, Boundary.DEVICE, 9.0)
    found = answer(FRUGAL, "inspection", [CARD, other])
    assert found.rule.metric == ENERGY
    assert found.best is other


def test_other_metrics_and_older_runs_stay_as_they_were() -> None:
    assert comparable("latency_p50", [CARD, SERVER]) == "latency_p50"
    older = [_record("torch", 1.0, Boundary.DEVICE, None), _record("openvino", 1.0, Boundary.WALL, None)]
    assert comparable(ENERGY, older) == ENERGY


def _priced(backend: str, **dollars: float) -> CellRecord:
    metrics = {
        tag: Quantity(value=value, unit="USD", provenance=Provenance.PROJECTED) for tag, value in dollars.items()
    }
    record_cell = cell(backend=backend, device="kv260" if backend == "fpga" else "host-cpu")
    return CellRecord(cell=record_cell, status=Status.OK, metrics=metrics, meets_quality=True, meets_target=True)


def test_a_board_that_nobody_rents_out_is_compared_by_what_owning_costs() -> None:
    cheapest = next(rule for rule in RULES if rule.question is Question.CHEAPEST)
    server = _priced("onnxruntime", **{RENTED: 0.9, OWNED: 0.3})
    dear, cheap = (_priced("fpga", **{OWNED: usd}) for usd in (0.8, 0.2))
    assert comparable(RENTED, [server, dear]) == OWNED
    assert answer(cheapest, "inspection", [server, dear]).best is server
    assert answer(cheapest, "inspection", [server, cheap]).best is cheap
    assert answer(cheapest, "inspection", [server]).rule.metric == RENTED
