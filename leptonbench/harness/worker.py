"""One fresh process, one cell, one round: load, warm up, calibrate, LoadGen inside a meter window, check, report.

`python -m leptonbench.harness.worker FOLDER` reads `job.json` and writes `result.json` and `latencies.npy` there. It
imports the cell's engine and no other.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import LeptonError, MeasurementError, PrerequisiteError
from leptonbench.harness.accelerator import claimed, used_bytes
from leptonbench.harness.answers import score
from leptonbench.harness.bench import (
    Bench,
    NonFiniteError,
    batch_sizes,
    check_finite,
    open_session,
    time_together,
    timed_indices,
)
from leptonbench.harness.child import limit_memory, main
from leptonbench.harness.feed import build_task, named_for
from leptonbench.harness.jobs import (
    JOB_FILE,
    LATENCIES_FILE,
    RESULT_FILE,
    Failure,
    WorkerJob,
    WorkerResult,
    write_message,
)
from leptonbench.harness.loadgen import BatchSystem, Failures, Loaded, LoadSettings, RunBatch, StreamSystem, run_loadgen
from leptonbench.harness.profiling import profile, wants_profile
from leptonbench.harness.rate import search_percentile
from leptonbench.harness.simulated import build, simulate
from leptonbench.harness.system import peak_memory_bytes
from leptonbench.meters import select_gpu_meter, select_meter
from leptonbench.meters.base import Meter
from leptonbench.meters.gpu import Gpu
from leptonbench.schema import Notice, Scenario
from leptonbench.stats.queueing import max_rate
from leptonbench.tasks import Arrays, Samples, Split, Task

_WARM_RUNS, _WARM_S = 2, 0.2  # at least so many runs of each batch size, and so long in all
_CALIBRATE_RUNS, _CALIBRATE_S = 3, 0.25  # likewise, to tell LoadGen what latency or rate to expect
_PROCESSING_REPEATS = 16  # samples whose pre- and post-processing is timed
_MAX_SERVER_S = 8  # windows: a rate that needs longer for the fewest queries is of no use to a buyer
_STREAM_HINT = 0.5  # of the calibrated latency: LoadGen then generates four times the queries that it should need
_OFFLINE_HINT = 2.0  # over the fastest calibrated rate: too low a hint makes the run invalid, too high a longer one


class UnreachableTargetError(MeasurementError):
    """The engine works, and answers later than the latency target even when nobody waits."""


def measure(job: WorkerJob, result: dict[str, Any]) -> None:
    """Measure one round, filling `result` as figures come in, so that a failure keeps what came before."""
    values: dict[str, float] = result["values"]
    session, values["load_time"] = open_session(job)
    result["effective"] = session.effective()
    task = build_task(job.task)
    samples = task.samples(Split.EVALUATION)
    indices = timed_indices(job, len(samples))
    if job.artifact is None:
        raise ValueError("a cell that is measured has an artifact")
    encoded, values["preprocess"] = _encode(task, samples, indices)
    named = [named_for(sample, job.artifact.inputs) for sample in encoded]
    bench = Bench(session, named)
    values["first_inference"] = bench.time_batches(1, runs=1, seconds=0)[0]
    for size in batch_sizes(job):
        bench.time_batches(size, runs=_WARM_RUNS, seconds=_WARM_S / len(batch_sizes(job)))
    _measure_load(job, bench, result)
    values["peak_memory"] = float(peak_memory_bytes())
    if job.gpu is not None:
        values["peak_device_memory"] = float(used_bytes(job.gpu.index))
        result["effective"] |= session.effective()  # with the memory that it came to hold
    durations_s = [samples.duration_s(index) for index in indices]
    if "latency_mean" in values and None not in durations_s:
        values["real_time_factor"] = values["latency_mean"] / float(np.mean(np.array(durations_s, dtype=float)))
    for outputs in bench.outputs.values():
        check_finite(outputs)
    values["postprocess"] = _time_decode(task, list(bench.outputs.values()))
    answers = {indices[position]: task.decode(outputs)[0] for position, outputs in sorted(bench.outputs.items())}
    result["answers"] = answers
    session.close()
    if wants_profile(job):
        profile(job, named, result)


def _encode(task: Task, samples: Samples, indices: Sequence[int]) -> tuple[list[Arrays], float]:
    """Decode and pre-process the samples; return them and the median seconds of one."""
    encoded, times = [], []
    for index in indices:
        raw = samples.raw(index)
        started = time.perf_counter_ns()
        encoded.append({name: np.ascontiguousarray(array) for name, array in task.encode(raw).items()})
        times.append((time.perf_counter_ns() - started) / 1e9)
    return encoded, float(np.median(times))


def _time_decode(task: Task, outputs: list[list[NDArray[Any]]]) -> float:
    times = []
    for one in outputs[:_PROCESSING_REPEATS]:
        started = time.perf_counter_ns()
        task.decode(one)
        times.append((time.perf_counter_ns() - started) / 1e9)
    return float(np.median(times))


def _measure_load(job: WorkerJob, bench: Bench, result: dict[str, Any]) -> None:
    """Open the further instances, calibrate, then run LoadGen inside the meter's window."""
    benches = [bench, *more_instances(job, bench)]
    settings = calibrate(job, benches, result)
    meter, notice = _meter(job)
    if notice is not None:
        result["notices"].append(notice)
    if meter is not None:
        settings = replace(settings, duration_s=max(settings.duration_s, meter.least_window_s))
    loaded = _run(job, benches, settings, meter)
    result["energy"] = loaded.energy
    result["values"] |= loaded.values
    result["valid"], result["invalid_reasons"] = loaded.valid, loaded.reasons
    result["loadgen"] = loaded.log
    result["queries"] = int(loaded.log.get("result_query_count", len(loaded.latencies_s)))
    result["inferences"] = result["queries"] * _samples_per_query(job, loaded.log)
    np.save(Path(job.out) / LATENCIES_FILE, loaded.latencies_s)


def _meter(job: WorkerJob) -> tuple[Meter | None, Notice | None]:
    """Return the meter of the job's device, and what the reader should know of it; a GPU may have none."""
    if job.gpu is None:
        return select_meter(job.device, matched=job.device_matched, idle_w=job.host_idle_w)
    try:
        return select_gpu_meter(Gpu(job.gpu.index), job.device, matched=job.device_matched, idle_w=job.gpu.idle_w)
    except PrerequisiteError as error:
        return None, Notice(code="energy-absent", message=f"{error.message}: {error.cause}", hint=error.hint)


def _samples_per_query(job: WorkerJob, log: dict[str, Any]) -> int:
    if job.scenario.kind is Scenario.OFFLINE:
        return int(log.get("effective_samples_per_query", 1))
    return job.scenario.samples_per_query if job.scenario.kind is Scenario.MULTI_STREAM else 1


def more_instances(job: WorkerJob, first: Bench) -> list[Bench]:
    """Open the further instances of a cell that has several; they share the encoded samples."""
    return [first.twin(open_session(job)[0]) for _ in range(job.cell.instances - 1)]


def calibrate(job: WorkerJob, benches: Sequence[Bench], result: dict[str, Any]) -> LoadSettings:
    """Tell LoadGen what to expect, from a short timed loop; predict the server rate where none is given."""
    kind, scenario = job.scenario.kind, job.scenario
    sizes = batch_sizes(job)
    seconds = _CALIBRATE_S / len(sizes)
    timed = {size: time_together(benches, size, runs=_CALIBRATE_RUNS, seconds=seconds) for size in sizes}
    largest = float(np.median(timed[sizes[-1]]))
    target_qps = job.target_qps
    if kind is Scenario.SERVER:
        result["effective"]["service_time_s"] = {str(size): float(np.median(times)) for size, times in timed.items()}
        if target_qps is None:
            predicted = max_rate(
                timed,
                latency_target_s=job.latency_target_s,
                percentile=search_percentile(scenario.min_queries, scenario.percentile),
                instances=job.cell.instances,
                max_batch=scenario.max_batch,
                max_wait_s=scenario.max_wait_s,
                seed=job.seed,
            )
            target_qps = max(predicted, scenario.min_queries / (_MAX_SERVER_S * job.duration_s))
            if predicted <= 0:
                raise UnreachableTargetError(
                    "no rate meets the latency target",
                    cause=f"a batch of {sizes[-1]} takes {largest:.3g} s, the target is {job.latency_target_s:.3g} s",
                    hint="loosen the latency target (--slo), or use a faster variant or backend",
                )
        result["effective"]["target_qps"] = target_qps
    return LoadSettings(
        scenario=kind,
        duration_s=job.duration_s,
        min_queries=scenario.min_queries,
        percentile=scenario.percentile,
        folder=Path(job.out) / "loadgen",
        seed=job.seed + 1000 * job.round_index,
        # Hints on the fast side: a run that outpaces them runs out of queries, or ends before its window.
        expected_latency_s=_STREAM_HINT * largest,
        expected_qps=_OFFLINE_HINT * len(benches) * sizes[-1] / min(timed[sizes[-1]]),
        target_qps=target_qps or 1.0,
        latency_target_s=job.latency_target_s,
        samples_per_query=scenario.samples_per_query,
    )


def _run(job: WorkerJob, benches: list[Bench], settings: LoadSettings, meter: Meter | None) -> Loaded:
    failures = Failures()
    if job.scenario.kind in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM):
        system: Any = StreamSystem(benches[0].run, failures)
    else:
        # Offline has all samples at once: waiting for company could only lose time.
        wait_s = job.scenario.max_wait_s if job.scenario.kind is Scenario.SERVER else 0.0
        runs = [bench.run for bench in benches]

        def warm(run: RunBatch) -> None:
            for size in batch_sizes(job):
                run([i % benches[0].count for i in range(size)])

        system = BatchSystem(runs, failures, max_batch=job.scenario.max_batch, max_wait_s=wait_s, warm=warm)
    return run_loadgen(system, settings, sample_count=benches[0].count, failures=failures, meter=meter)


def null_query(job: WorkerJob, result: dict[str, Any]) -> None:
    """Measure a system that does nothing: what LoadGen and Python add to every query."""
    folder = Path(job.out) / "loadgen"
    failures = Failures()
    system = StreamSystem(_nothing, failures)
    settings = LoadSettings(Scenario.SINGLE_STREAM, 0.2, 1000, 0.9, folder, job.seed, expected_latency_s=1e-6)
    loaded = run_loadgen(system, settings, sample_count=64, failures=failures)
    result["values"] = {"latency_mean": 1.0 / loaded.values["throughput"]}
    result["queries"] = len(loaded.latencies_s)


def _nothing(positions: Sequence[int]) -> None:
    """Answer at once."""


Mode = Callable[[WorkerJob, dict[str, Any]], None]

MODES: dict[str, Mode] = {
    "performance": measure,
    "score": score,
    "null": null_query,
    "build": build,
    "simulate": simulate,
}


def work(folder: Path, modes: Mapping[str, Mode] = MODES) -> None:
    """Read the job, do it, write the result; errors become part of the result."""
    job = WorkerJob.model_validate_json((folder / JOB_FILE).read_text(encoding="utf-8"))
    # The limit is of mapped memory, and a GPU's driver maps as much as there is.
    limit_memory(None if job.gpu else job.memory_limit_bytes)
    result: dict[str, Any] = {"values": {}, "effective": {}, "notices": []}
    try:
        with claimed(job):
            modes[job.mode](job, result)
    except MemoryError as error:
        result |= _failed("out-of-memory", MeasurementError("the engine ran out of memory", cause=str(error)))
    except NonFiniteError as error:
        result |= _failed("non-finite", error)
    except UnreachableTargetError as error:
        result |= _failed("target-unreachable", error)
    except LeptonError as error:
        result |= _failed("refused", error)
    except Exception as error:  # whatever an engine raises fails its cell, with its own words kept
        text = str(error).strip()
        code = "out-of-memory" if "allocate memory" in text.lower() or "bad_alloc" in text else "crash"
        wrapped = MeasurementError(
            "the engine raised an error", cause=f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
        )
        result |= _failed(code, wrapped)
        sys.excepthook(type(error), error, error.__traceback__)
    write_message(folder / RESULT_FILE, WorkerResult.model_validate(result))


def _failed(code: str, error: LeptonError) -> dict[str, Any]:
    return {"error": Failure.of(error), "error_code": code}


if __name__ == "__main__":
    main(work)
