"""Is our reported median that of OpenVINO's own `benchmark_app`, on the same model file, threads and precision?

A is a cell's round: a fresh worker, LoadGen's single-stream scenario, the copy of the outputs to the host inside the
timer. B is `benchmark_app` in its synchronous, latency-oriented form. They take turns, A B B A, each in a process of
its own; a pair of neighbours is one observation, so drift of the machine cancels.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.common import Outcome, of_interval, one_cell, options, tell
from leptonbench.harness.children import run_worker, scratch_folder
from leptonbench.schema import Artifact
from leptonbench.stats.summary import ratio_interval

GOAL_PERCENT = 3.0
BACKEND = "openvino"
VARIANTS = ("fp32", "int8-static")
_TIMEOUT_S = 300.0


def main() -> None:
    """Measure every variant and tell."""
    chosen = options(__doc__ or "", pairs=8)
    for variant in VARIANTS:
        _compare(variant, pairs=chosen.pairs, duration_s=chosen.duration, model=chosen.model)


def _compare(variant: str, *, pairs: int, duration_s: float, model: str | None) -> None:
    ours_s: list[float] = []
    theirs_s: list[float] = []
    with one_cell(variant, BACKEND, model=model, duration_s=duration_s) as (run, cell):
        run.prepare()
        artifact = run.pantry.artifact(cell)

        def ours(index: int) -> None:
            with scratch_folder() as folder:
                job = run.job(cell, mode="performance", out=folder, round_index=index)
                result, ended = run_worker(job, timeout_s=_TIMEOUT_S)
            if result is None or result.error is not None:
                raise SystemExit(f"the worker failed: {result.error if result else ended.message}")
            ours_s.append(result.values["latency_p50"])

        def theirs() -> None:
            theirs_s.append(_benchmark_app(artifact, threads=cell.threads, seconds=duration_s))

        for index in range(pairs):
            if index % 2:
                theirs()
                ours(index)
            else:
                ours(index)
                theirs()
    ratio = ratio_interval(ours_s, theirs_s)
    low, high = (None if end is None else 100 * (end - 1) for end in (ratio.low, ratio.high))
    tell(
        f"benchmark_app {variant}",
        [
            Outcome("our median over benchmark_app's", 100 * (ratio.value - 1), "%", GOAL_PERCENT, low, high, ratio.n),
            of_interval("our median latency", [1e3 * value for value in ours_s], "ms"),
            of_interval("benchmark_app's median latency", [1e3 * value for value in theirs_s], "ms"),
        ],
        cell=f"{variant}, {BACKEND}, single-stream",
        method=ratio.method,
        ours_s=ours_s,
        theirs_s=theirs_s,
    )


def _benchmark_app(artifact: Artifact, *, threads: int, seconds: float) -> float:
    """Run OpenVINO's tool once on an artifact; return its median latency in seconds."""
    spec = artifact.inputs[0]
    sizes = ",".join(str(size or 1) for size in spec.shape)
    with scratch_folder() as folder:
        command = [
            str(Path(sys.executable).parent / "benchmark_app"),
            *("-m", artifact.path, "-d", "CPU", "-api", "sync", "-hint", "none"),
            *("-nstreams", "1", "-nthreads", str(threads), "-nireq", "1"),
            *("-shape", f"{spec.name}[{sizes}]", "-infer_precision", "f32", "-t", str(max(1, round(seconds)))),
            *("-report_type", "no_counters", "-report_folder", str(folder), "-json_stats"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        if done.returncode:
            raise SystemExit(f"benchmark_app failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        report = json.loads((folder / "benchmark_report.json").read_text(encoding="utf-8"))
    return float(report["execution_results"]["latency (ms)"]) / 1e3


if __name__ == "__main__":
    main()
