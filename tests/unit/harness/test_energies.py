"""Joules an inference from readings: as read, dynamic, and at the wall; absent with a reason rather than guessed."""

from __future__ import annotations

import pytest

from leptonbench.catalog import load_board
from leptonbench.harness.energies import board_at_the_wall, energies
from leptonbench.schema import Boundary, EnergyReading, Provenance, Quantity, RoundRecord, Status, WallEnergy


def _round(index: int, energy_j: float, *, idle_j: float | None = 4.0, wall_j: float | None = 30.0) -> RoundRecord:
    wall = (
        None
        if wall_j is None
        else WallEnergy(
            energy_j=wall_j, low_j=0.7 * wall_j, high_j=1.3 * wall_j, method="m", provenance=Provenance.PROJECTED
        )
    )
    energy = EnergyReading(
        energy_j=energy_j,
        low_j=0.9 * energy_j,
        high_j=1.1 * energy_j,
        idle_j=idle_j,
        window_s=2.0,
        boundary="device",
        method="counter",
        provenance=Provenance.MEASURED,
        coverage=1.0,
        samples=2,
        wall=wall,
    )
    values = {"inferences": 10.0}
    return RoundRecord(index=index, started="", wall_s=2.0, status=Status.OK, values=values, energy=energy)


def test_three_figures_each_with_its_boundary_and_provenance():
    found = energies([_round(0, 10.0), _round(1, 12.0), _round(2, 11.0)])
    read, dynamic, wall = (found[f"{name}energy_per_inference"] for name in ("", "dynamic_", "wall_"))
    assert (read.value, read.boundary, read.provenance) == (pytest.approx(1.1), Boundary.DEVICE, Provenance.MEASURED)
    assert (dynamic.value, dynamic.boundary) == (pytest.approx(0.7), Boundary.DEVICE)
    assert (wall.value, wall.boundary, wall.provenance) == (pytest.approx(3.0), Boundary.WALL, Provenance.PROJECTED)
    for one in (read, dynamic, wall):
        assert one.low is not None and one.high is not None and one.value is not None
        assert one.low < one.value < one.high
        assert one.n == 3


def test_the_meters_band_widens_the_interval_and_not_the_cells_own():
    found = energies([_round(0, 10.0), _round(1, 10.0), _round(2, 10.0)])["wall_energy_per_inference"]
    assert (found.low, found.high) == (pytest.approx(2.1), pytest.approx(3.9))
    assert found.own_low == pytest.approx(found.own_high)


@pytest.mark.parametrize(
    ("rounds", "tag", "why"),
    [
        ([_round(0, 10.0), _round(1, 10.0, idle_j=None)], "dynamic_energy_per_inference", "cannot tell"),
        ([_round(0, 10.0), _round(1, 10.0, idle_j=10.0)], "dynamic_energy_per_inference", "no more than idle"),
        ([_round(0, 10.0, wall_j=None)], "wall_energy_per_inference", "rest of the server"),
        ([], "energy_per_inference", "no round has an energy reading"),
        ([], "wall_energy_per_inference", "no round has an energy reading"),
    ],
)
def test_what_cannot_be_told_is_absent_with_its_reason(rounds, tag, why):
    found = energies(rounds)[tag]
    assert found.value is None
    assert why in str(found.why_null)


def test_a_board_is_at_the_wall_through_its_own_supply():
    board = Quantity(value=0.94, unit="J", low=0.5, high=1.8, provenance="simulated", boundary="board", method="events")
    card = board_at_the_wall(board, load_board("u250").power)
    assert (card.value, card.low, card.high) == (pytest.approx(1.0), pytest.approx(0.5 / 0.96), pytest.approx(2.0))
    wall = board_at_the_wall(board, load_board("kv260").power)
    assert (wall.value, wall.low, wall.high) == pytest.approx((0.94 / 0.85, 0.5 / 0.92, 1.8 / 0.68))
    assert (wall.boundary, wall.provenance) == (Boundary.WALL, Provenance.PROJECTED)
    assert board_at_the_wall(Quantity.null("J", "no idle power"), None).why_null == "no idle power"
