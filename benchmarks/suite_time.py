"""How long `leptonbench run --suite manufacturing` takes, with an empty cache and then with what that run left."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from benchmarks.common import COMMAND, Outcome, tell
from leptonbench.harness.children import scratch_folder

GOAL_COLD_S, GOAL_WARM_S = 1200.0, 720.0


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="folder to keep both runs and the cache in; default: none")
    parser.add_argument("arguments", nargs="*", help="further arguments of `leptonbench run`, after `--`")
    chosen = parser.parse_args()
    arguments = chosen.arguments
    walls_s, cells = [], []
    with nullcontext(chosen.keep.resolve()) if chosen.keep else scratch_folder() as folder:
        for name in ("cold", "warm"):
            wall_s, counts = _run(folder / name, cache=folder / "cache", arguments=arguments)
            walls_s.append(wall_s)
            cells.append(counts)
    tell(
        "suite_time",
        [
            Outcome("empty cache", walls_s[0], "s", GOAL_COLD_S),
            Outcome("warm cache", walls_s[1], "s", GOAL_WARM_S),
        ],
        cells_cold=cells[0],
        cells_warm=cells[1],
        arguments=arguments,
    )
    print(f"  cells: {_words(cells[0])}; again: {_words(cells[1])}\n")


def _run(out: Path, *, cache: Path, arguments: list[str]) -> tuple[float, dict[str, int]]:
    """Run the suite once; return the seconds it took and its cells by status."""
    command = [*COMMAND, "run", "--suite", "manufacturing", "--out", str(out), *arguments]
    environment = {**os.environ, "LEPTONBENCH_CACHE": str(cache)}
    started = time.perf_counter()
    ended = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL)
    wall_s = time.perf_counter() - started
    if ended.returncode not in (0, 3):  # 3: measured, and some cell is invalid or failed
        raise SystemExit(f"the run ended with {ended.returncode}")
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((out / "cells").glob("*.json"))]
    return wall_s, dict(Counter(record["status"] for record in records))


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items())


if __name__ == "__main__":
    main()
