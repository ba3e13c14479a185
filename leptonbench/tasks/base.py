"""What a task owes the harness: samples, the way in and out of a model, and a quality metric."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leptonbench.schema import Quantity

Arrays = dict[str, NDArray[Any]]
"""Input tensors by name, batch first."""


class Split(StrEnum):
    """Disjoint parts of a workload's data."""

    TRAIN = "train"
    CALIBRATION = "calibration"
    EVALUATION = "evaluation"


class Samples(Protocol):
    """One split: raw inputs and their targets by index, decoded when asked for."""

    def __len__(self) -> int:
        """Return how many samples there are."""

    def raw(self, index: int) -> Any:
        """Return one raw input, decoded into memory (an image: uint8, height x width x 3)."""

    def target(self, index: int) -> Any:
        """Return the true answer of one sample."""


class Task(Protocol):
    """One kind of problem.

    `encode` and `decode` are what the record calls pre- and post-processing; they are never inside the timed window.
    """

    answer_dtype: str

    def samples(self, split: Split) -> Samples:
        """Return one split, made or read on first use and cached."""

    def encode(self, raw: Any) -> NDArray[Any]:
        """Turn one raw input into one input tensor without the batch dimension."""

    def decode(self, outputs: Sequence[NDArray[Any]]) -> list[Any]:
        """Turn a batch of model outputs into one answer a sample."""

    def quality(self, answers: Sequence[Any], targets: Sequence[Any]) -> Quantity:
        """Score answers against targets on the same samples."""


def encode_batch(task: Task, samples: Samples, indices: Sequence[int]) -> NDArray[Any]:
    """Decode and pre-process several samples into one contiguous batch."""
    return np.ascontiguousarray(np.stack([task.encode(samples.raw(index)) for index in indices]))
