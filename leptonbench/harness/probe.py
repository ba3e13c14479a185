"""One fresh process, one engine setting: how long a batch of each size takes while every instance is busy.

`python -m leptonbench.harness.probe FOLDER` reads `job.json` and writes `result.json` there. It generates no load: the
service times go into the queue model, which says what rate they would sustain. That makes a probe a few seconds long
whatever the percentile, so that many settings can be looked at before a few are verified by real arrivals.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from leptonbench.harness.bench import Bench, check_finite, open_session, time_together, timed_indices
from leptonbench.harness.child import main
from leptonbench.harness.feed import build_task, named_for
from leptonbench.harness.jobs import WorkerJob
from leptonbench.harness.system import peak_memory_bytes
from leptonbench.harness.worker import more_instances, work
from leptonbench.tasks import Arrays, Split

SERVICE = "service_samples_s"  # in `effective`: seconds of each batch, by size
_WARM_RUNS, _WARM_S = 2, 0.15  # at least so many runs of each size, and so long
_RUNS = 6  # of each size at least: fewer say nothing about a tail


def ladder(largest: int) -> tuple[int, ...]:
    """Return the batch sizes to look at: powers of two up to the largest, and the largest itself."""
    sizes = [2**power for power in range(largest.bit_length()) if 2**power < largest]
    return (*sizes, largest)


def probe(job: WorkerJob, result: dict[str, Any]) -> None:
    """Time batches of rising size until one takes longer than the latency target, which none larger could meet."""
    session, result["values"]["load_time"] = open_session(job)
    result["effective"] = session.effective()
    bench = Bench(session, _encoded(job))
    benches = [bench, *more_instances(job, bench)]
    timed: dict[str, list[float]] = {}
    for size in ladder(job.scenario.max_batch):
        time_together(benches, size, runs=_WARM_RUNS, seconds=_WARM_S)
        times = time_together(benches, size, runs=_RUNS, seconds=job.duration_s)
        timed[str(size)] = times
        if np.median(times) > job.latency_target_s:
            break
    result["effective"][SERVICE] = timed
    result["values"]["peak_memory"] = float(peak_memory_bytes())
    for outputs in bench.outputs.values():
        check_finite(outputs)
    session.close()


def _encoded(job: WorkerJob) -> list[Arrays]:
    if job.artifact is None:
        raise ValueError("a cell that is probed has an artifact")
    task = build_task(job.task)
    samples = task.samples(Split.EVALUATION)
    inputs = job.artifact.inputs
    encoded = [named_for(task.encode(samples.raw(index)), inputs) for index in timed_indices(job, len(samples))]
    return [{name: np.ascontiguousarray(array) for name, array in one.items()} for one in encoded]


if __name__ == "__main__":
    main(lambda folder: work(folder, {"probe": probe}))
