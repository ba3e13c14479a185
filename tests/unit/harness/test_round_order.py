"""Rounds are interleaved between cells, so that what drifts hits all cells alike."""

from __future__ import annotations

from leptonbench.harness.rounds import remaining, schedule, trials
from leptonbench.schema import CellSpec, RoundRecord, Status
from tests.harness_factory import cell, round_record, server_round

CELLS = [cell(variant, backend) for variant in ("fp32", "int8-static") for backend in ("onnxruntime", "openvino", "x")]


def _play(
    cells: list[CellSpec], done: dict[str, list[RoundRecord]] | None = None, *, rounds: int = 3, seed: int = 0
) -> list[str]:
    """Return the order in which cells are measured when every round succeeds."""
    done = done if done is not None else {c.key: [] for c in cells}
    order = []
    for chosen in schedule(cells, done, rounds=rounds, seed=seed):
        order.append(chosen.key)
        done[chosen.key].append(round_record(len(done[chosen.key])))
    return order


def test_each_sweep_holds_each_cell_once() -> None:
    order = _play(CELLS)
    size = len(CELLS)
    assert len(order) == 3 * size
    for start in range(0, len(order), size):
        assert sorted(order[start : start + size]) == sorted(c.key for c in CELLS)


def test_the_order_is_random_but_the_seeds() -> None:
    assert _play(CELLS, seed=1) == _play(CELLS, seed=1)
    assert _play(CELLS, seed=1) != _play(CELLS, seed=2)
    order = _play(CELLS, seed=1)
    assert order[: len(CELLS)] != order[len(CELLS) : 2 * len(CELLS)], "each sweep has an order of its own"


def test_a_cell_that_failed_is_not_measured_again() -> None:
    done: dict[str, list[RoundRecord]] = {c.key: [] for c in CELLS}
    done[CELLS[0].key] = [round_record(0, Status.FAILED)]
    assert CELLS[0].key not in _play(CELLS, done)


def test_a_run_that_goes_on_measures_only_what_is_missing() -> None:
    done: dict[str, list[RoundRecord]] = {c.key: [] for c in CELLS}
    done[CELLS[0].key] = [round_record(index) for index in range(3)]
    done[CELLS[1].key] = [round_record(0)]
    order = _play(CELLS, done)
    assert order.count(CELLS[0].key) == 0
    assert order.count(CELLS[1].key) == 2
    assert {len(rounds) for rounds in done.values()} == {3}


def test_an_invalid_round_counts_as_one() -> None:
    done = [round_record(index, Status.INVALID) for index in range(3)]
    assert not remaining(CELLS[0], done, 3)
    assert remaining(CELLS[0], done[:2], 3)


def test_a_server_cell_comes_back_until_its_rate_is_verified() -> None:
    server = cell(scenario="server")
    done = [server_round(index, 100.0, met=False) for index in range(1)]
    done += [server_round(index, 90.0, met=True) for index in range(1, 3)]
    assert remaining(server, done, 3)
    assert not remaining(server, [*done, server_round(3, 90.0, met=True)], 3)
    assert trials(done) == [(100.0, False), (90.0, True), (90.0, True)]


def test_a_round_that_has_no_rate_is_no_trial() -> None:
    assert trials([round_record(0, Status.FAILED)]) == []
