"""Does LoadGen's latency differ from a bare loop's? Both on one session, in the order A B B A, in fresh processes.

A is what a cell measures: LoadGen's single-stream scenario over the worker's own session, inputs and system. B calls
the engine's session in a plain loop for as many queries. The order cancels drift inside a process, and the ratio of a
process's two medians is one observation.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, Outcome, of_interval, one_cell, options, tell
from leptonbench.harness.children import scratch_folder
from leptonbench.harness.jobs import JOB_FILE, WorkerJob, write_message
from leptonbench.stats.summary import ratio_interval

GOAL_PERCENT = 1.0
VARIANT, BACKEND = "int8-static", "onnxruntime"
_WARM_RUNS, _WARM_S = 20, 0.5


def main() -> None:
    """Measure and tell; with a folder as the only argument, be one of the processes."""
    if len(sys.argv) == 2 and Path(sys.argv[1]).is_dir():
        _child(Path(sys.argv[1]))
        return
    chosen = options(__doc__ or "", processes=10)
    loadgen_s, bare_s = [], []
    with one_cell(VARIANT, BACKEND, model=chosen.model, duration_s=chosen.duration) as (run, cell):
        run.prepare()
        for index in range(chosen.processes):
            with scratch_folder() as folder:
                write_message(folder / JOB_FILE, run.job(cell, mode="performance", out=folder, round_index=index))
                command = [sys.executable, "-m", "benchmarks.bias", str(folder)]
                subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **_threads(cell.threads)})
                medians = json.loads((folder / "medians.json").read_text(encoding="utf-8"))
            loadgen_s.append(medians["loadgen_s"])
            bare_s.append(medians["bare_s"])
    ratio = ratio_interval(loadgen_s, bare_s)
    low, high = (None if end is None else 100 * (end - 1) for end in (ratio.low, ratio.high))
    tell(
        "bias",
        [
            Outcome("LoadGen over bare loop", 100 * (ratio.value - 1), "%", GOAL_PERCENT, low, high, ratio.n),
            of_interval("median latency by LoadGen", [1e3 * value for value in loadgen_s], "ms"),
            of_interval("median latency of the bare loop", [1e3 * value for value in bare_s], "ms"),
        ],
        cell=f"{VARIANT}, {BACKEND}, single-stream",
        method=ratio.method,
        loadgen_s=loadgen_s,
        bare_s=bare_s,
    )


def _threads(count: int) -> dict[str, str]:
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(count))


def _child(folder: Path) -> None:
    """Measure A B B A on one session and write the two medians."""
    from leptonbench.harness import worker
    from leptonbench.harness.bench import Bench, open_session, timed_indices
    from leptonbench.harness.feed import build_task, named_for
    from leptonbench.tasks import Split

    job = WorkerJob.model_validate_json((folder / JOB_FILE).read_text(encoding="utf-8"))
    if job.artifact is None:
        raise SystemExit("there is no artifact to measure")
    session, _ = open_session(job)
    task = build_task(job.task)
    samples = task.samples(Split.EVALUATION)
    encoded = [task.encode(samples.raw(index)) for index in timed_indices(job, len(samples))]
    feeds = [named_for(sample, job.artifact.inputs) for sample in encoded]
    bench = Bench(session, feeds)
    bench.time_batches(1, runs=_WARM_RUNS, seconds=_WARM_S)
    settings = worker.calibrate(job, [bench], {"effective": {}})
    latencies: dict[str, list[float]] = {"A": [], "B": []}
    for turn, kind in enumerate("ABBA"):
        if kind == "A":
            measured = _loadgen(bench, replace(settings, folder=folder / f"loadgen-{turn}"))
        else:
            measured = _bare(session, feeds, seconds=job.duration_s)
        latencies[kind] += measured
    medians = {"loadgen_s": statistics.median(latencies["A"]), "bare_s": statistics.median(latencies["B"])}
    (folder / "medians.json").write_text(json.dumps(medians), encoding="utf-8")


def _loadgen(bench: Any, settings: Any) -> list[float]:
    from leptonbench.harness.loadgen import Failures, StreamSystem, run_loadgen

    failures = Failures()
    loaded = run_loadgen(StreamSystem(bench.run, failures), settings, sample_count=bench.count, failures=failures)
    return [float(one) for one in loaded.latencies_s]


def _bare(session: Any, feeds: list[dict[str, Any]], *, seconds: float) -> list[float]:
    latencies: list[float] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        feed = feeds[len(latencies) % len(feeds)]
        started = time.perf_counter_ns()
        session.run(feed)
        latencies.append((time.perf_counter_ns() - started) / 1e9)
    return latencies


if __name__ == "__main__":
    main()
