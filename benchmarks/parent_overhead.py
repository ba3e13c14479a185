"""What the parent takes from the machine while its children are timed: CPU seconds by wall seconds, and peak memory.

The run is a real one in a process of its own. Its counters in /proc are read when a line about a finished round comes,
that is between rounds, so that looking does not disturb what is looked at.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import COMMAND, Outcome, tell
from leptonbench.harness.children import scratch_folder

GOAL_PERCENT, GOAL_MB = 1.0, 300.0
_RUN = "--backend onnxruntime,openvino --variant fp32,int8-static --scenario single-stream --rounds 5 --duration 2s"
_ROUND = re.compile(r"^\[ *\d+/\d+\] ")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Look(NamedTuple):
    """One look at a process: wall seconds, its own CPU seconds, its peak memory in bytes."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def look(pid: int) -> Look | None:
    """Read a process's counters, without its children's; `None` once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    peak = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    if peak is None:
        return None
    # Fields 14 and 15 of proc(5), counted from the third: user and system time in clock ticks.
    return Look(time.perf_counter(), (int(fields[11]) + int(fields[12])) / _TICKS_PER_S, 1024 * int(peak[1]))


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arguments", nargs="*", help=f"arguments of `leptonbench run`, after `--`; default: {_RUN}")
    arguments = parser.parse_args().arguments or _RUN.split()
    boundaries: list[Look] = []
    last: Look | None = None
    with scratch_folder() as folder:
        command = [*COMMAND, "run", "--suite", "manufacturing", "--out", str(folder / "run"), *arguments]
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
            if child.stderr is None:
                raise SystemExit("the run has no progress to follow")
            for line in child.stderr:
                seen = look(child.pid)
                last = seen or last
                if _ROUND.match(line) and seen:
                    boundaries.append(seen)
            while child.poll() is None:  # nothing is timed any more
                last = look(child.pid) or last
                time.sleep(0.05)
        wall_s = time.perf_counter() - started
    if len(boundaries) < 2 or last is None:
        raise SystemExit(f"the run ended with {child.returncode} and told {len(boundaries)} rounds")
    first, end = boundaries[0], boundaries[-1]
    share = 100 * (end.cpu_s - first.cpu_s) / (end.wall_s - first.wall_s)
    tell(
        "parent_overhead",
        [
            Outcome("parent's CPU while measuring", share, "% of a core", GOAL_PERCENT, n=len(boundaries) - 1),
            Outcome("parent's peak memory", last.peak_bytes / 1e6, "MB", GOAL_MB),
            Outcome("parent's CPU, whole run", last.cpu_s, "s"),
            Outcome("whole run", wall_s, "s"),
        ],
        arguments=arguments,
        exit_code=child.returncode,
        boundaries=[boundary._asdict() for boundary in boundaries],
        clock_tick_s=1 / _TICKS_PER_S,
    )


if __name__ == "__main__":
    main()
