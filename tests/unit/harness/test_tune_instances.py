"""Several instances timed together: all of them busy, all of their answers kept, the first error told."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from leptonbench.harness.bench import Bench, time_together


class Echo:
    """A session that returns its inputs, and says when it runs."""

    def __init__(self, together: threading.Barrier | None = None, error: Exception | None = None) -> None:
        self.together = together
        self.error = error
        self.sizes: list[int] = []

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        self.sizes.append(len(inputs["x"]))
        if self.error is not None:
            raise self.error
        if self.together is not None:
            self.together.wait(timeout=60)
        return [inputs["x"].copy()]

    def effective(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        return


SAMPLES = [{"x": np.full((1, 2), float(number))} for number in range(3)]


def test_all_instances_run_at_the_same_time() -> None:
    """Each run waits for the other instance's: one after the other, the barrier would break."""
    barrier = threading.Barrier(2)
    first = Bench(Echo(barrier), SAMPLES)
    times = time_together([first, first.twin(Echo(barrier))], 2, runs=3, seconds=0)
    assert len(times) == 6
    assert min(times) > 0


def test_one_instance_runs_in_the_callers_thread_as_often_as_asked() -> None:
    session = Echo()
    assert len(time_together([Bench(session, SAMPLES)], 3, runs=4, seconds=0)) == 4
    assert session.sizes == [3] * 4


def test_a_batch_larger_than_the_samples_takes_them_again() -> None:
    session = Echo()
    Bench(session, SAMPLES).time_batches(5, runs=1, seconds=0)
    assert session.sizes == [5]


def test_what_a_twin_answers_is_kept_with_the_firsts() -> None:
    first = Bench(Echo(), SAMPLES)
    first.twin(Echo()).run([2])
    np.testing.assert_array_equal(first.outputs[2][0], SAMPLES[2]["x"])


def test_the_error_of_one_instance_ends_all_and_is_the_one_told() -> None:
    first = Bench(Echo(), SAMPLES)
    broken = first.twin(Echo(error=ValueError("no such kernel")))
    with pytest.raises(ValueError, match="no such kernel"):
        time_together([first, broken], 1, runs=2, seconds=0)
