"""A session opened on a job's artifact, over prepared samples; how long its batches take, alone or with others."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.backends import BACKENDS, RuntimeOptions, Session
from leptonbench.backends.base import check_honoured
from leptonbench.errors import MeasurementError
from leptonbench.harness.coupled import CoupledSession
from leptonbench.harness.feed import build_task
from leptonbench.harness.jobs import WorkerJob
from leptonbench.schema import Scenario
from leptonbench.tasks import Arrays, stack


class NonFiniteError(MeasurementError):
    """An output holds a NaN or an infinity."""


class Bench:
    """An opened session with its prepared samples: what LoadGen's systems call.

    Args:
        session: The engine's.
        samples: Encoded, each with a batch dimension of one, by the artifact's input names.
    """

    def __init__(self, session: Session, samples: Sequence[Arrays]) -> None:
        self.session = session
        self._samples = samples
        self.outputs: dict[int, list[NDArray[Any]]] = {}

    @property
    def count(self) -> int:
        """Return how many samples are prepared."""
        return len(self._samples)

    def twin(self, session: Session) -> Bench:
        """Return another instance over the same samples; what it answers is kept with the first one's answers."""
        twin = Bench(session, self._samples)
        twin.outputs = self.outputs
        return twin

    def run(self, positions: Sequence[int]) -> None:
        """Run the samples at these positions as one batch and keep each one's last outputs."""
        outputs = self.session.run(stack([self._samples[position] for position in positions]))
        for row, position in enumerate(positions):
            self.outputs[position] = [output[row : row + 1] for output in outputs]

    def time_batches(self, size: int, *, runs: int, seconds: float) -> list[float]:
        """Run batches of one size for at least so many runs and seconds; return each one's seconds."""
        positions = [i % len(self._samples) for i in range(size)]
        times: list[float] = []
        ends = time.perf_counter() + seconds
        while len(times) < runs or time.perf_counter() < ends:
            started = time.perf_counter_ns()
            self.run(positions)
            times.append((time.perf_counter_ns() - started) / 1e9)
        return times


def time_together(benches: Sequence[Bench], size: int, *, runs: int, seconds: float) -> list[float]:
    """Time batches of one size on all instances at once: they share the cores, as they will when they serve.

    Returns:
        The seconds of every batch of every instance. One instance is timed in the caller's thread; several have a
        thread each, warmed by a run that is not counted.
    """
    if len(benches) == 1:
        return benches[0].time_batches(size, runs=runs, seconds=seconds)
    start = threading.Barrier(len(benches))

    def time_one(bench: Bench) -> list[float]:
        try:
            bench.time_batches(size, runs=1, seconds=0)
            start.wait()
        except BaseException:
            start.abort()  # the others must not wait for one that failed
            raise
        return bench.time_batches(size, runs=runs, seconds=seconds)

    with ThreadPoolExecutor(max_workers=len(benches)) as threads:
        futures = [threads.submit(time_one, bench) for bench in benches]
        done = [future.exception() for future in futures]
    # An instance's own error, not the broken barrier that it left the others with.
    first = next((error for error in done if error and not isinstance(error, threading.BrokenBarrierError)), None)
    if first is not None:
        raise first
    return [float(value) for value in np.concatenate([future.result() for future in futures])]


def batch_sizes(job: WorkerJob) -> tuple[int, ...]:
    """Return every batch size that the scenario puts to the engine, apart from an offline query's last remainder."""
    if job.scenario.kind is Scenario.SINGLE_STREAM or job.mode == "score":
        return (1,)
    if job.scenario.kind is Scenario.MULTI_STREAM:
        return (job.scenario.samples_per_query,)
    if job.scenario.kind is Scenario.OFFLINE:
        return (job.scenario.max_batch,)
    return tuple(range(1, job.scenario.max_batch + 1))


def open_session(job: WorkerJob, *, profile: bool = False) -> tuple[Session, float]:
    """Open the cell's artifact in its engine, to be timed or to be profiled.

    Returns:
        The session, and the seconds from the engine's import to a session that can run.
    """
    if job.artifact is None:
        raise ValueError("a cell that is measured has an artifact")
    options = RuntimeOptions(
        threads=job.cell.threads,
        features=frozenset(job.features),
        batches=batch_sizes(job),
        cache=Path(job.cache),
        inspect=job.mode == "score",
        engine=job.cell.options,
        profile=profile,
    )
    started = time.perf_counter()
    backend = BACKENDS.get(job.cell.backend)()
    session: Session = backend.open(job.artifact, options)
    if job.artifact.follower is not None:
        second = backend.open(job.artifact.follower, options)
        session = CoupledSession(session, second, build_task(job.task).couple)
    opened_s = time.perf_counter() - started
    check_honoured(job.cell.backend, job.cell.options, session.effective())
    return session, opened_s


def timed_indices(job: WorkerJob, count: int) -> list[int]:
    """Return which evaluation samples this job runs: another part of one fixed shuffle each round."""
    order = np.random.default_rng(job.seed).permutation(count)
    start = job.round_index * job.samples
    return [int(order[(start + i) % count]) for i in range(min(job.samples, count))]


def check_finite(outputs: Any) -> None:
    """Refuse outputs that are not numbers.

    Raises:
        NonFiniteError: On the first NaN or infinity.
    """
    for output in outputs:
        if np.issubdtype(output.dtype, np.floating) and not np.isfinite(output).all():
            raise NonFiniteError(
                "the model returned a non-finite output",
                cause="an output holds NaN or infinity",
                hint="check the artifact's calibration and precision; the speed of wrong answers is not reported",
            )
