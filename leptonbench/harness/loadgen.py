"""MLPerf LoadGen, driven from Python: one run a process, settings set directly, the detail log read back.

What is inside the timer: from the moment LoadGen issues a query (server: from its scheduled arrival, so that waiting
counts) to the moment all its outputs are in host memory. In the streams the single latencies, from which the tail
percentiles are pooled, are taken around the engine's call; LoadGen's own, behind p50 and mean, begin and end a few
microseconds outside (the null query bounds them). Inputs are already decoded and pre-processed in memory; putting
several samples into one batch counts.
"""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import mlperf_loadgen as lg
import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import MeasurementError
from leptonbench.meters.base import Meter
from leptonbench.schema import EnergyReading, Scenario

RunBatch = Callable[[Sequence[int]], None]
"""Run the samples at these positions as one batch; returns when the outputs are on the host."""

_SCENARIOS = {
    Scenario.SINGLE_STREAM: lg.TestScenario.SingleStream,
    Scenario.MULTI_STREAM: lg.TestScenario.MultiStream,
    Scenario.SERVER: lg.TestScenario.Server,
    Scenario.OFFLINE: lg.TestScenario.Offline,
}
_NS = 1e9
_SAMPLE_EVENT = re.compile(r'"name":"Sample".*"ph":"b".*"issue_start_ns":(\d+),"complete_ns":(\d+)')


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """One LoadGen run.

    Attributes:
        expected_latency_s: Streams: from calibration; LoadGen pre-generates queries by it.
        expected_qps: Offline: from calibration.
        target_qps: Server: mean of the Poisson arrivals.
        latency_target_s: Server: the bound that `percentile` of the queries must meet.
    """

    scenario: Scenario
    duration_s: float
    min_queries: int
    percentile: float
    folder: Path
    seed: int
    expected_latency_s: float = 0.001
    expected_qps: float = 1.0
    target_qps: float = 1.0
    latency_target_s: float = 0.1
    samples_per_query: int = 1


class Loaded(NamedTuple):
    """What one LoadGen run said.

    Attributes:
        valid: LoadGen's own verdict, and none of its lines is an error.
        reasons: Why not, in LoadGen's words.
        values: Metrics of this round in SI units.
        latencies_s: One a query (from the scheduled arrival in the server scenario); empty for offline.
        log: Requested and effective settings and LoadGen's results, as logged.
        energy: Of the run, where a meter was given.
    """

    valid: bool
    reasons: tuple[str, ...]
    values: dict[str, float]
    latencies_s: NDArray[np.float64]
    log: dict[str, Any]
    energy: EnergyReading | None = None


class System(Protocol):
    """The system under test as LoadGen sees it."""

    latencies_ns: list[int]

    def issue(self, samples: Sequence[Any]) -> None:
        """Take a query."""

    def stop(self) -> None:
        """End worker threads."""


class Failures:
    """The first error of an inference. LoadGen has no channel for failures, so the harness keeps its own.

    After one, the remaining queries are answered at once and unmeasured, so that LoadGen ends; the round has failed.
    """

    def __init__(self) -> None:
        self.first: BaseException | None = None

    def guard(self, run: RunBatch, positions: Sequence[int]) -> None:
        """Run a batch unless one has failed before; keep the error of the first that does."""
        if self.first is None:
            try:
                run(positions)
            except Exception as error:  # any engine error fails the round
                self.first = error


class StreamSystem:
    """Single- and multi-stream: LoadGen's own thread runs the query as one batch."""

    def __init__(self, run: RunBatch, failures: Failures) -> None:
        self._run = run
        self._failures = failures
        self.latencies_ns: list[int] = []

    def issue(self, samples: Sequence[Any]) -> None:
        """Run one query and complete its samples."""
        started = time.perf_counter_ns()
        self._failures.guard(self._run, [sample.index for sample in samples])
        self.latencies_ns.append(time.perf_counter_ns() - started)
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in samples])

    def stop(self) -> None:
        """Do nothing: there is no thread."""


class _Arrival(NamedTuple):
    """One sample in the queue: LoadGen's handle, its position, and when it came (`perf_counter` seconds)."""

    id: int
    position: int
    arrived: float


class BatchSystem:
    """Server and offline: a queue, and one thread an instance that batches what has arrived.

    Args:
        runs: One callable an instance.
        max_batch: Largest batch.
        max_wait_s: Longest time after its arrival that the first sample of a batch waits for company; 0 takes what is
            there.
        warm: Called once in each instance's own thread before it serves: engines keep caches and thread pools by the
            calling thread. The constructor returns when all have done so.
    """

    def __init__(
        self,
        runs: Sequence[RunBatch],
        failures: Failures,
        *,
        max_batch: int,
        max_wait_s: float,
        warm: Callable[[RunBatch], None] | None = None,
    ) -> None:
        self._failures = failures
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._queue: queue.SimpleQueue[_Arrival | None] = queue.SimpleQueue()
        self.latencies_ns: list[int] = []
        self._threads = [threading.Thread(target=self._serve, args=(run,), daemon=True) for run in runs]
        self._warm = warm
        self._ready = threading.Semaphore(0)
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            self._ready.acquire()

    def issue(self, samples: Sequence[Any]) -> None:
        """Queue the samples and return at once."""
        now = time.perf_counter()
        for sample in samples:
            self._queue.put(_Arrival(sample.id, sample.index, now))

    def stop(self) -> None:
        """End the instances' threads once the queue is empty."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, run: RunBatch) -> None:
        try:
            if self._warm is not None:
                self._warm(lambda positions: self._failures.guard(run, positions))
        finally:
            self._ready.release()
        while (first := self._queue.get()) is not None:
            batch = [first]
            deadline = first.arrived + self._max_wait_s
            ended = False
            while len(batch) < self._max_batch and not ended:
                item = self._next(deadline)
                if item is False:
                    break
                if item is None:
                    ended = True
                else:
                    batch.append(item)  # type: ignore[arg-type]
            self._failures.guard(run, [sample.position for sample in batch])
            lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in batch])
            if ended:
                return

    def _next(self, deadline: float) -> _Arrival | None | bool:
        """Return the next sample, `None` for the end, or `False` when nothing comes in time."""
        wait_s = deadline - time.perf_counter()
        try:
            return self._queue.get(timeout=wait_s) if wait_s > 0 else self._queue.get_nowait()
        except queue.Empty:
            return False


def run_loadgen(
    system: System, settings: LoadSettings, *, sample_count: int, failures: Failures, meter: Meter | None = None
) -> Loaded:
    """Run LoadGen once over a system.

    Args:
        system: Receives the queries.
        settings: Of the run.
        sample_count: Number of prepared samples; LoadGen draws positions below it.
        failures: Where the system keeps its first error.
        meter: Reads the energy of LoadGen's run and of nothing else.

    Raises:
        MeasurementError: If LoadGen wrote no verdict, the meter has no sound reading, or an inference failed.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    sut = lg.ConstructSUT(system.issue, lambda: None)
    # The samples are loaded before LoadGen starts, so its (untimed) load and unload calls have nothing to do.
    library = lg.ConstructQSL(sample_count, sample_count, lambda indices: None, lambda indices: None)
    energy = None
    try:
        if meter is not None:
            meter.begin()
        # The last argument names a file that does not exist: LoadGen would otherwise obey an `audit.config` in the
        # current folder.
        lg.StartTestWithLogSettings(
            sut, library, _test_settings(settings), _log_settings(settings), str(settings.folder / "no-audit.config")
        )
        if meter is not None and failures.first is None:
            energy = meter.end()
    finally:
        system.stop()
        lg.DestroyQSL(library)
        lg.DestroySUT(sut)
    if failures.first is not None:
        raise failures.first
    return _read_back(system, settings)._replace(energy=energy)


def _test_settings(settings: LoadSettings) -> Any:
    test = lg.TestSettings()
    test.scenario = _SCENARIOS[settings.scenario]
    test.mode = lg.TestMode.PerformanceOnly
    test.min_duration_ms = round(settings.duration_s * 1000)
    test.min_query_count = settings.min_queries
    test.qsl_rng_seed = settings.seed
    test.sample_index_rng_seed = settings.seed + 1
    test.schedule_rng_seed = settings.seed + 2
    expected_ns = max(1, round(settings.expected_latency_s * _NS))
    if settings.scenario is Scenario.SINGLE_STREAM:
        test.single_stream_expected_latency_ns = expected_ns
        test.single_stream_target_latency_percentile = settings.percentile
    elif settings.scenario is Scenario.MULTI_STREAM:
        test.multi_stream_expected_latency_ns = expected_ns
        test.multi_stream_target_latency_percentile = settings.percentile
        test.multi_stream_samples_per_query = settings.samples_per_query
    elif settings.scenario is Scenario.SERVER:
        test.server_target_qps = settings.target_qps
        test.server_target_latency_ns = round(settings.latency_target_s * _NS)
        test.server_target_latency_percentile = settings.percentile
    else:
        test.offline_expected_qps = settings.expected_qps
    return test


def _log_settings(settings: LoadSettings) -> Any:
    output = lg.LogOutputSettings()
    output.outdir = str(settings.folder)
    output.copy_summary_to_stdout = False
    log = lg.LogSettings()
    log.log_output = output
    # Only the trace tells how long a server query waited since its scheduled arrival; elsewhere it costs for nothing.
    log.enable_trace = settings.scenario is Scenario.SERVER
    return log


def read_detail(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Read LoadGen's detail log: the first value of each key, and the lines marked as errors.

    Raises:
        MeasurementError: If it holds no verdict: LoadGen did not finish, and no number of it counts.
    """
    found: dict[str, Any] = {}
    errors: list[str] = []
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for line in text.splitlines():
        try:
            entry = json.loads(line.removeprefix(":::MLLOG").strip())
        except ValueError:
            continue
        found.setdefault(entry["key"], entry["value"])
        if entry.get("metadata", {}).get("is_error"):
            errors.append(f"{entry['key']}: {entry['value']}")
    if "result_validity" not in found:
        raise MeasurementError(
            "LoadGen wrote no verdict",
            cause=f"`result_validity` is missing from {path.name}",
            hint="the disk may be full, or the run ended early; see the log beside the record",
        )
    return found, errors


def _read_back(system: System, settings: LoadSettings) -> Loaded:
    detail, errors = read_detail(settings.folder / "mlperf_log_detail.txt")
    reasons = list(errors)
    if detail["result_validity"] != "VALID":
        reasons.append(_why_invalid(detail))
    log = {
        key: value for key, value in detail.items() if key.startswith(("requested_", "effective_", "result_", "early_"))
    }
    log["result"] = detail["result_validity"]
    log["loadgen_version"] = detail.get("loadgen_version")
    latencies = _latencies(system, settings)
    expected = 0 if settings.scenario is Scenario.OFFLINE else int(detail["result_query_count"])
    if len(latencies) != expected:
        raise MeasurementError(
            f"LoadGen counted {expected} queries, and {len(latencies)} latencies were kept",
            cause="its trace is cut short or in a form that is not known",
            hint="the disk may be full; else report the version of LoadGen",
        )
    return Loaded(not reasons, tuple(reasons), _values(detail, settings), latencies, log)


def _why_invalid(detail: dict[str, Any]) -> str:
    stated = str(detail.get("result_invalid_reason") or "").strip()
    if not detail.get("result_perf_constraints_met", True):
        return stated or "the latency target was not met"
    if not detail.get("early_stopping_met", True):
        return " ".join(str(detail.get("early_stopping_result", "too few queries to certify the percentile")).split())
    return stated or "LoadGen found the run invalid"


def _values(detail: dict[str, Any], settings: LoadSettings) -> dict[str, float]:
    """Translate LoadGen's results to metrics in SI units."""
    if settings.scenario is Scenario.OFFLINE:
        return {"throughput": float(detail["result_samples_per_second"])}
    suffix = "_per_query_latency_ns" if settings.scenario is Scenario.MULTI_STREAM else "_latency_ns"
    names = {"latency_p50": "50.00", "latency_p90": "90.00", "latency_p99": "99.00", "latency_p999": "99.90"}
    values = {
        tag: float(value) / _NS
        for tag, name in names.items()
        if (value := _first(detail, f"result_{name}_percentile{suffix}", f"result_{name}_percentile_latency_ns"))
        is not None
    }
    mean = _first(detail, f"result_mean{suffix}", "result_mean_latency_ns", "result_mean_query_latency_ns")
    if mean is not None:
        values["latency_mean"] = float(mean) / _NS
    if settings.scenario is Scenario.SERVER:
        # The rate that was asked for and met. What completed in a short window scatters with the Poisson arrivals.
        values["throughput"] = settings.target_qps
        values["completed_rate"] = float(detail["result_completed_samples_per_sec"])
    elif settings.scenario is Scenario.SINGLE_STREAM:
        values["throughput"] = float(detail["result_qps_with_loadgen_overhead"])
    elif "latency_mean" in values:
        values["throughput"] = settings.samples_per_query / values["latency_mean"]
    return values


def _first(detail: dict[str, Any], *keys: str) -> Any:
    return next((detail[key] for key in keys if key in detail), None)


def _latencies(system: System, settings: LoadSettings) -> NDArray[np.float64]:
    if settings.scenario is Scenario.OFFLINE:
        return np.empty(0)
    if settings.scenario is not Scenario.SERVER:
        return np.asarray(system.latencies_ns, dtype=np.float64) / _NS
    trace = (settings.folder / "mlperf_log_trace.json").read_text(encoding="utf-8")
    return np.asarray([int(match[2]) for match in _SAMPLE_EVENT.finditer(trace)], dtype=np.float64) / _NS
