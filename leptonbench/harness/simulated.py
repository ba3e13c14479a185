"""Cells of a simulated backend: one simulation in place of rounds, another engine's answers, a record of it all."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from leptonbench import catalog
from leptonbench.backends import SIMULATED, Estimate
from leptonbench.errors import PrerequisiteError, UsageError
from leptonbench.harness.aggregate import artifact_metrics, clears, quality_of
from leptonbench.harness.children import run_worker
from leptonbench.harness.device import HOST_CPU
from leptonbench.harness.energies import board_at_the_wall
from leptonbench.harness.feed import build_task, named_for
from leptonbench.harness.jobs import Score, WorkerJob
from leptonbench.harness.scoring import failure_reason
from leptonbench.schema import (
    METRICS,
    Artifact,
    CellRecord,
    CellSpec,
    DeviceProfile,
    Notice,
    Quantity,
    Reason,
    Scenario,
    ScenarioSpec,
    Settings,
    Status,
)
from leptonbench.stats.queueing import max_rate, simulate_batch_queue
from leptonbench.tasks import Arrays, Samples, Split, Task

_TYPICAL_OF = 64  # evaluation samples looked at for one of median length
_PERCENTILES = {"latency_p50": 0.5, "latency_p90": 0.9, "latency_p99": 0.99}
_QUERIES = 4000  # of a simulated queue
_NO_PROCESS = "a simulated device has no process on this machine"
_NO_BASELINE = "an accelerator of 8-bit integers has no fp32 cell"


def is_simulated(cell: CellSpec) -> bool:
    """Return whether a cell's time is simulated."""
    return cell.backend in SIMULATED


def answering(cell: CellSpec) -> CellSpec:
    """Return the cell whose answers a cell gives: itself, or that of the engine which a simulated backend equals."""
    if not is_simulated(cell):
        return cell
    return cell.model_copy(update={"backend": SIMULATED.get(cell.backend).answers, "device": HOST_CPU})


def build(job: WorkerJob, result: dict[str, Any]) -> None:
    """Make what a cell is simulated with; a worker's job without a result."""
    SIMULATED.get(job.cell.backend)().build(job.device)


def simulate(job: WorkerJob, result: dict[str, Any]) -> None:
    """Simulate a cell with a sample of the median length of the data; a worker's job."""
    task = build_task(job.task)
    samples = task.samples(Split.EVALUATION)
    if job.artifact is None:
        raise ValueError("a cell that is simulated has an artifact")
    index, duration_s = typical(samples)
    sample = named_for(_encoded(task, samples, index), job.artifact.inputs)
    found = SIMULATED.get(job.cell.backend)().simulate(job.artifact, job.device, sample)
    shapes = {name: list(array.shape) for name, array in sample.items()}
    facts = found.facts | {"input": shapes, "sample_duration_s": duration_s}
    result["estimate"] = found.model_copy(update={"facts": facts})


class Refused(NamedTuple):
    """Why there is no estimate."""

    status: Status
    reason: Reason


# What keeps a device from running a model without being anyone's failure, and the code of its skipped cells.
_SKIPS = {UsageError.__name__: "unsupported", PrerequisiteError.__name__: "prerequisite"}


def estimate(job: WorkerJob, timeout_s: float) -> Estimate | Refused:
    """Simulate a cell in a child process."""
    result, ended = run_worker(job, timeout_s=timeout_s)
    if result is not None and result.estimate is not None:
        return result.estimate
    failure = result.error if result else None
    code = result.error_code if result else ""
    reason = failure_reason(ended, code, failure.message if failure else "", failure)
    if failure is not None and failure.kind in _SKIPS:
        return Refused(Status.SKIPPED, reason.model_copy(update={"code": _SKIPS[failure.kind], "stderr": ()}))
    return Refused(Status.FAILED, reason)


def typical(samples: Samples) -> tuple[int, float | None]:
    """Return an evaluation sample of median length, and its length; the first where they have none."""
    lengths = {index: samples.duration_s(index) for index in range(min(len(samples), _TYPICAL_OF))}
    known = {index: length for index, length in lengths.items() if length is not None}
    if not known:
        return 0, None
    middle = statistics.median_low(known.values())
    return next(index for index, length in known.items() if length == middle), middle


def _encoded(task: Task, samples: Samples, index: int) -> Arrays:
    return {name: np.ascontiguousarray(array) for name, array in task.encode(samples.raw(index)).items()}


def simulated_record(
    cell: CellSpec,
    scenario: ScenarioSpec,
    *,
    estimate: Estimate,
    artifact: Artifact,
    score: Score | None,
    device: DeviceProfile,
    floor: float,
    latency_target_s: float,
    requested: Mapping[str, Any],
    seed: int,
) -> CellRecord:
    """Make a cell's record, without what needs other cells.

    Args:
        cell: The cell.
        scenario: Its settings.
        estimate: Of the simulation.
        artifact: That was simulated.
        score: Of the engine whose answers it gives.
        device: The board.
        floor: Of the workload's quality.
        latency_target_s: Of the suite.
        requested: Settings that the suite asks for.
        seed: Of the arrivals of a server.
    """
    served = cell.scenario is Scenario.SERVER
    speeds = _server(estimate, scenario, latency_target_s, seed) if served else _stream(scenario, estimate)
    frame = _frame_s(speeds["throughput"])
    energy = SIMULATED.get(cell.backend)().energy(estimate, device, catalog.event_energies(), frame=frame)
    joules = {
        "energy_per_inference": energy.total,
        "dynamic_energy_per_inference": energy.dynamic,
        "wall_energy_per_inference": board_at_the_wall(energy.total, device.power),
    }
    metrics = artifact_metrics(artifact) | speeds | joules | _absent()
    duration_s = estimate.facts.get("sample_duration_s")
    if duration_s and not served and cell.scenario is not Scenario.OFFLINE:
        metrics["real_time_factor"] = _times(
            estimate.latency, 1 / duration_s, "1", "latency over the sample's duration"
        )
    if score is not None:
        metrics["quality"] = _answered(cell, score)
    return CellRecord(
        cell=cell,
        status=Status.OK,
        metrics={tag: metrics[tag] for tag in METRICS if tag in metrics},
        artifact=artifact,
        settings=Settings(requested=dict(requested), effective=estimate.facts),
        warnings=(*estimate.notices, _simulated_notice(device)),
        meets_target=_meets(cell, metrics, latency_target_s),
        meets_quality=None if score is None else clears(score.quality, floor),
    )


def _stream(scenario: ScenarioSpec, estimate: Estimate) -> dict[str, Quantity]:
    """Return the times of one query after another, or of all samples at once."""
    if scenario.kind is Scenario.OFFLINE:
        why = "the offline scenario has all samples at once, so a latency of one means nothing"
        return {"throughput": estimate.throughput} | {tag: Quantity.null("s", why) for tag in _latency_tags()}
    samples = scenario.samples_per_query if scenario.kind is Scenario.MULTI_STREAM else 1
    one = estimate.latency if samples == 1 else _query_s(estimate, samples)
    rate = _inverse(one, samples, "1/s", "one query after another")
    return {"throughput": rate} | dict.fromkeys(_latency_tags(), one)


def _query_s(estimate: Estimate, samples: int) -> Quantity:
    """Return the seconds of a query of several samples, spread over the servers."""
    turns = math.ceil(samples / estimate.servers)
    return estimate.busy_latency.model_copy(
        update={end: turns * _service_s(estimate, end) for end in ("value", "low", "high")}
        | {"method": f"{samples} samples a query on {estimate.servers} cores; {estimate.busy_latency.method}"}
    )


def _service_s(estimate: Estimate, end: str) -> float:
    """Return how long a frame occupies a server, core and host together, while all of them are busy.

    It is a bound from above, since the host could work on one frame while the core works on the next.

    Args:
        estimate: Of the simulation.
        end: `value`, `low` or `high`.
    """
    rate = getattr(estimate.throughput, "high" if end == "low" else "low" if end == "high" else end)
    return max(float(getattr(estimate.busy_latency, end)), estimate.servers / float(rate))


def _inverse(quantity: Quantity, count: float, unit: str, method: str) -> Quantity:
    """Return how often a quantity goes into a count; absent, with the reason, where the quantity is."""
    if not quantity.value or not quantity.low or not quantity.high:
        return Quantity.null(unit, quantity.why_null or "the time of a frame is not known")
    ends = {"value": count / quantity.value, "low": count / quantity.high, "high": count / quantity.low}
    return quantity.model_copy(update={**ends, "unit": unit, "method": method})


def _server(estimate: Estimate, scenario: ScenarioSpec, target_s: float, seed: int) -> dict[str, Quantity]:
    """Return the highest rate of Poisson arrivals that meets the target, a bound from below, and latencies at it."""
    service_s = _service_s(estimate, "value")
    rates = {
        end: max_rate(
            {1: [_service_s(estimate, end)]},
            latency_target_s=target_s,
            percentile=scenario.percentile,
            instances=estimate.servers,
            max_batch=1,
            max_wait_s=0.0,
            seed=seed,
            queries=_QUERIES,
        )
        for end in ("value", "low", "high")
    }
    if rates["value"] <= 0:
        why = f"no rate meets the target of {target_s:.3g} s: a frame takes {service_s:.3g} s"
        return {"throughput": Quantity.null("1/s", why)} | {tag: Quantity.null("s", why) for tag in _latency_tags()}
    method = f"simulated queue of Poisson arrivals at {estimate.servers} cores, each busy {service_s:.4g} s a frame"
    found = estimate.throughput.model_copy(
        update={"value": rates["value"], "low": rates["high"], "high": rates["low"], "method": method}
    )
    arrivals = np.cumsum(np.random.default_rng((seed, 1)).exponential(size=_QUERIES)) / rates["value"]
    waits = simulate_batch_queue(
        arrivals,
        {1: [service_s]},
        instances=estimate.servers,
        max_batch=1,
        max_wait_s=0.0,
        rng=np.random.default_rng((seed, 2)),
    )[_QUERIES // 10 :]
    origin = estimate.busy_latency.provenance
    at_rate = f"simulated queue at {rates['value']:.4g} queries a second"

    def quantity(value: float) -> Quantity:
        return Quantity(value=value, unit="s", n=len(waits), provenance=origin, method=at_rate)

    latencies = {
        tag: quantity(float(np.quantile(waits, share, method="higher"))) for tag, share in _PERCENTILES.items()
    }
    return {"throughput": found, "latency_mean": quantity(float(np.mean(waits)))} | latencies


def _latency_tags() -> tuple[str, ...]:
    return (*_PERCENTILES, "latency_mean")


def _frame_s(rate: Quantity) -> Quantity:
    """Return the seconds from one frame's end to the next one's, over which a board draws its idle power."""
    return _inverse(rate, 1, "s", "1 / rate")


def _absent() -> dict[str, Quantity]:
    """Return what a simulated cell cannot have, with the reason."""
    return {
        "peak_memory": Quantity.null("B", _NO_PROCESS),
        "speedup": Quantity.null("1", _NO_BASELINE),
        "theoretical_speedup": Quantity.null("1", _NO_BASELINE),
    }


def _times(quantity: Quantity, factor: float, unit: str, method: str) -> Quantity:
    scaled = {
        end: None if (part := getattr(quantity, end)) is None else part * factor for end in ("value", "low", "high")
    }
    return quantity.model_copy(update={**scaled, "unit": unit, "method": method})


def _answered(cell: CellSpec, score: Score) -> Quantity:
    """Return the score of the engine that answers, saying so."""
    quality = quality_of(score)
    engine = SIMULATED.get(cell.backend).answers
    return quality.model_copy(
        update={"method": f"{quality.method}; answers of {engine}, whose bytes every simulated layer gives"}
    )


def _meets(cell: CellSpec, metrics: Mapping[str, Quantity], target_s: float) -> bool | None:
    """Say whether the latency target is met, wherever the figure lies in its range; `None` where that decides."""
    if cell.scenario is Scenario.OFFLINE:
        return None
    if cell.scenario is Scenario.SERVER:
        return metrics["throughput"].value is not None
    latency = metrics["latency_p90"]
    if latency.low is None or latency.high is None:
        return None
    return True if latency.high <= target_s else False if latency.low > target_s else None


def _simulated_notice(device: DeviceProfile) -> Notice:
    return Notice(
        code="simulated",
        message=f"no {device.title['en']} was measured: cycles are simulated from RTL, host times projected",
        hint="`leptonbench fpga simulate` shows them layer by layer",
    )
