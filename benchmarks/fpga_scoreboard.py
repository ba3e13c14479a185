"""How far is the compiler's schedule from what other people's accelerators were published to do?

Every published figure that the method speaks of is predicted; errors are signed, and told by group. With `--write`, the
tables of `docs/fpga.md` are made anew. Beside them: what it costs to schedule layers one by one rather than as one
program, on our own core.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.common import ROOT, Outcome, tell
from leptonbench.fpga.compiler import compile_network
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.scoreboard import document, report
from leptonbench.fpga.scoreboard.networks import draw
from leptonbench.fpga.scoreboard.page import with_tables

_WHOLE = "cf_resnet18_imagenet_224_224_3.65G"
GOAL_SEPARATE_PERCENT = 5.0


def main() -> None:
    """Predict and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="make the tables of docs/fpga.md anew")
    chosen = parser.parse_args()
    began = time.perf_counter_ns()
    found = report(scaling=True, progress=print)
    seconds = (time.perf_counter_ns() - began) / 1e9
    outcomes = [
        Outcome(
            f"median error: {one.name}{' (fitted)' if one.calibration else ''}",
            100 * one.median,
            "%",
            low=100 * one.low if one.low is not None else None,
            high=100 * one.high if one.high is not None else None,
            n=one.figures,
        )
        for one in found.board.summaries
    ]
    outcomes += [
        Outcome("layers one by one over one program, ResNet-18", separate_percent(), "%", GOAL_SEPARATE_PERCENT),
        Outcome("seconds, with what the cache holds", seconds, "s"),
    ]
    tell("fpga_scoreboard", outcomes, interval="quartiles of the figures", **document(found))
    if chosen.write:
        page = ROOT / "docs" / "fpga.md"
        page.write_text(with_tables(page.read_text(encoding="utf-8"), found), encoding="utf-8")


def separate_percent() -> float:
    """Return by how much the sum of a network's layers is above the schedule of one program, in percent."""
    network = draw(_WHOLE)
    if network is None:
        raise SystemExit(f"{_WHOLE} is not drawn")
    alone = sum(program.expected_cycles for program in compile_network(network, CoreShape()).programs)
    together = sum(program.expected_cycles for program in compile_network(network, CoreShape(), together=True).programs)
    return 100 * (alone / together - 1)


if __name__ == "__main__":
    main()
