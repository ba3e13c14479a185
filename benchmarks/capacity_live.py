"""A real server cell under Poisson load, its latencies predicted from service times that were measured apart.

Each round takes four fresh processes or more: one times batches of every size with nobody waiting (`probe`), the others
serve LoadGen's Poisson arrivals, at 0.5 to 0.95 of the capacity that the first round's times give. The prediction
simulates runs as short as the real ones, so that both scatter alike.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import one_cell
from leptonbench.cost.capacity import ServiceModel
from leptonbench.cost.capacity.resampling import resample
from leptonbench.cost.capacity.simulation import lay_out, simulate
from leptonbench.harness.children import run_worker, scratch_folder
from leptonbench.harness.jobs import LATENCIES_FILE, WorkerJob, WorkerResult
from leptonbench.harness.probe import SERVICE
from leptonbench.harness.run import Run
from leptonbench.schema import CellSpec
from leptonbench.stats.queueing import capacity_per_s

LOADS = (0.5, 0.7, 0.85, 0.95)
PERCENTILE = 0.99
VARIANT, BACKEND = "int8-static", "onnxruntime"
_PROBE_S = 1.0  # of each batch size
_REPLAYS = 400  # simulated runs behind a prediction


class Observed(NamedTuple):
    """One real run.

    Attributes:
        load: Rate over capacity.
        rate_per_s: That LoadGen was asked for.
        queries: That it issued.
        percentile_s: Of their latencies, in seconds.
    """

    load: float
    rate_per_s: float
    queries: int
    percentile_s: float


class Predicted(NamedTuple):
    """What the model says of one run: the median of simulated runs and the middle 95 % of them, in seconds."""

    value_s: float
    low_s: float
    high_s: float


class Live(NamedTuple):
    """Service times and what was seen under load.

    Attributes:
        model: Of all rounds' probes.
        capacity_per_s: That the loads are shares of.
        runs: Real ones, each with its prediction.
    """

    model: ServiceModel
    capacity_per_s: float
    runs: list[tuple[Observed, Predicted]]


def measure(*, rounds: int, duration_s: float, model: str | None = None, seed: int = 5) -> Live:
    """Probe and load the server cell so many times, in random order within a round.

    Args:
        rounds: Of one probe and one run a load.
        duration_s: Of a run.
        model: In place of the workload's own.
        seed: Of the order and of the simulated runs.
    """
    rng = np.random.default_rng(seed)
    probes: list[dict[int, list[float]]] = []
    observed: list[Observed] = []
    capacity = 0.0
    with one_cell(VARIANT, BACKEND, "server", model=model, duration_s=duration_s) as (run, cell):
        run.prepare()
        scenario = run.plan.scenario(cell)
        for index in range(rounds):
            probes.append(_probe(run, cell, index))
            capacity = capacity or capacity_per_s(probes[0], instances=cell.instances, max_batch=scenario.max_batch)
            for load in rng.permutation(LOADS):
                observed.append(_serve(run, cell, index, float(load), capacity))
    service = ServiceModel.measured(
        probes,
        method="probe in a fresh process",
        instances=cell.instances,
        max_batch=scenario.max_batch,
        max_wait_s=scenario.max_wait_s,
    )
    return Live(service, capacity, [(one, predict(service, one, rng)) for one in observed])


def predict(model: ServiceModel, run: Observed, rng: np.random.Generator) -> Predicted:
    """Simulate runs of the same length from an empty queue, each with service times drawn anew."""
    found = []
    samples = resample(model, rng, _REPLAYS)
    for index in range(_REPLAYS):
        arrivals_s = np.cumsum(rng.exponential(1.0 / run.rate_per_s, size=run.queries))
        latency_s, _ = simulate(
            lay_out(samples.one(index), model.max_batch),
            arrivals_s,
            rng.random(run.queries),
            engines=model.instances,
            max_wait_s=model.max_wait_s,
        )
        found.append(percentile_s(latency_s))
    low, middle, high = np.quantile(found, (0.025, 0.5, 0.975))
    return Predicted(float(middle), float(low), float(high))


def percentile_s(latency_s: NDArray[np.float64]) -> float:
    """Return the percentile that is compared, in seconds."""
    return float(np.quantile(latency_s, PERCENTILE, method="higher"))


def _probe(run: Run, cell: CellSpec, index: int) -> dict[int, list[float]]:
    with scratch_folder() as folder:
        job = run.job(cell, mode="probe", out=folder, round_index=index)
        # The probe stops at the size that takes longer than the target; here every size is wanted.
        found = _worked(job.model_copy(update={"duration_s": _PROBE_S, "latency_target_s": 1e6}))
    times: dict[str, list[float]] = found.effective[SERVICE]
    return {int(size): seconds for size, seconds in times.items()}


def _serve(run: Run, cell: CellSpec, index: int, load: float, capacity: float) -> Observed:
    with scratch_folder() as folder:
        job = run.job(cell, mode="performance", out=folder, round_index=index)
        _worked(job.model_copy(update={"target_qps": load * capacity, "seed": job.seed + round(1000 * load)}))
        latency_s = np.load(Path(folder) / LATENCIES_FILE)
    return Observed(load, load * capacity, len(latency_s), percentile_s(latency_s))


def _worked(job: WorkerJob) -> WorkerResult:
    began = time.monotonic()
    result, ended = run_worker(job, timeout_s=120 + 20 * job.duration_s)
    if result is None or result.error is not None:
        raise SystemExit(f"the worker ended after {time.monotonic() - began:.0f} s: {ended.message} {ended.stderr}")
    return result
