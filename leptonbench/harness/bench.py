"""An opened session over prepared samples, and how long its batches take, alone or beside other instances."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.backends import Session
from leptonbench.tasks import Arrays, stack


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
