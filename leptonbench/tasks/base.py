"""What a task owes the harness: samples, the way in and out of a network, a metric, and lessons to tune it with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from leptonbench.schema import DataSpec, Quantity
from leptonbench.stats.interval import Interval

if TYPE_CHECKING:
    from torch import Tensor

    from leptonbench.tasks.network import Network

Arrays = dict[str, NDArray[Any]]
"""Input tensors by the network's own names, batch first."""

Run = Callable[[Arrays], list[NDArray[Any]]]
"""Takes a batch through a graph."""

Coupling = Callable[[Run, Run], Run]
"""Makes one of two graphs: how a task drives a model whose second graph is called again and again."""


class Split(StrEnum):
    """Disjoint parts of a workload's data."""

    TRAIN = "train"
    CALIBRATION = "calibration"
    EVALUATION = "evaluation"


class Samples(Protocol):
    """One split: raw inputs and their targets by index, decoded when asked for."""

    @property
    def identity(self) -> str:
        """Name exactly these samples, for caches: the generator's version, seed and size, or the user's files' hash."""

    def __len__(self) -> int:
        """Return how many samples there are."""

    def raw(self, index: int) -> Any:
        """Return one raw input, decoded into memory (an image: uint8, height x width x 3)."""

    def target(self, index: int) -> Any:
        """Return the true answer of one sample, as JSON can hold it."""

    def duration_s(self, index: int) -> float | None:
        """Return how long one sample plays, for media that have a length; `None` for those that have none."""


class Metric(Protocol):
    """The workload's accuracy metric. Answers and targets are what JSON can hold."""

    def quality(self, answers: Sequence[Any], targets: Sequence[Any]) -> Quantity:
        """Score answers against targets on the same samples, with an interval."""

    def difference(self, answers: Sequence[Any], base: Sequence[Any], targets: Sequence[Any]) -> Interval:
        """Return the change of the metric from `base` to `answers`, paired over the same samples."""

    def same(self, one: Any, other: Any) -> bool:
        """Say whether two answers to one sample are the same, but for rounding in the engine."""


class Batch(NamedTuple):
    """What a network is trained on: input tensors by name and what they should give, in the task's own form."""

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]


class Lesson(Protocol):
    """How a task's networks are tuned.

    Attributes:
        learning_rate: A sound peak for AdamW when a trained network is tuned further.
        steps_factor: By how much to multiply a technique's number of steps: 1 for batches of a dozen images, more
            where a step is cheaper and teaches less.
    """

    learning_rate: float
    steps_factor: float

    def batches(self, seed: int) -> Iterator[Batch]:
        """Yield training batches without end, shuffled and augmented by the seed."""

    def loss(self, outputs: tuple[Tensor, ...], batch: Batch) -> Tensor | None:
        """Return the task's own loss on a network's outputs; `None` where the outputs are not known well enough."""

    def distance(self, outputs: tuple[Tensor, ...], teacher: tuple[Tensor, ...], *, temperature: float) -> Tensor:
        """Return how far outputs are from a teacher's: the temperature-scaled KL divergence, times its square."""


@dataclass(frozen=True, slots=True)
class TaskSetup:
    """What a task is built from.

    Attributes:
        model_dir: Folder of the model, for its pre-processing; `None` where there is none.
        data: Seed and sizes of the workload's own splits.
        own: The user's data in place of the workload's: a folder or a manifest, as the task reads it.
        workload_dir: The workload's folder, for data that ships with it.
    """

    model_dir: Path | None
    data: DataSpec
    own: Path | None = None
    workload_dir: Path | None = None


class Task(Protocol):
    """One kind of problem.

    `encode` and `decode` are what the record calls pre- and post-processing; they are never inside the timed window.

    Attributes:
        metric: Of its answers.
        classes: What the data's answers are chosen from, in order; empty where they are no choice.
    """

    metric: Metric

    @property
    def classes(self) -> Sequence[str]:
        """Return the names of the data's classes."""

    def __init__(self, setup: TaskSetup) -> None:
        """Read the pre-processing; no data yet."""

    def samples(self, split: Split) -> Samples:
        """Return one split, made or read on first use and cached."""

    def encode(self, raw: Any) -> Arrays:
        """Turn one raw input into a batch of one."""

    def decode(self, outputs: Sequence[NDArray[Any]]) -> list[Any]:
        """Turn the outputs of a batch, in the network's order, into one answer a sample."""

    def load_network(self, folder: Path, *, weights: bool = True) -> Network:
        """Load a Hugging Face folder as an fp32 network in evaluation mode; without weights, build it untrained.

        Raises:
            UsageError: If the folder is none of this task, or its classes are not the data's.
        """

    def couple(self, first: Run, second: Run) -> Run:
        """Drive a network and its follower as one; asked of tasks whose networks have followers only."""

    def check_outputs(self, shapes: Sequence[tuple[int | None, ...]]) -> None:
        """Refuse an ONNX file whose outputs (names and shapes are all that is known) the task cannot read.

        Raises:
            UsageError: Saying what was found and what is read.
        """

    def studied(self, split: Split) -> Samples:
        """Return what lessons from a split read: the split, or more of a user's data than calibrates. No torch yet."""

    def lesson(self, split: Split) -> Lesson:
        """Return lessons from a split: `TRAIN` of the workload's own data, `CALIBRATION` of a user's."""


def stack(samples: Sequence[Arrays]) -> Arrays:
    """Put batches of one together; shorter samples are padded with zeros at their ends, as attention masks expect."""
    if len(samples) == 1:
        return samples[0]
    batch: Arrays = {}
    for name in samples[0]:
        parts = [sample[name] for sample in samples]
        shape = tuple(max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True))
        if all(part.shape[1:] == shape for part in parts):
            batch[name] = np.concatenate(parts)
            continue
        whole = np.zeros((len(parts), *shape), dtype=parts[0].dtype)
        for row, part in enumerate(parts):
            inside: tuple[slice, ...] = tuple(slice(size) for size in part.shape[1:])
            whole[row][inside] = part[0]
        batch[name] = whole
    return batch
