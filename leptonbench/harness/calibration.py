"""The calibration split as graph steps use it: encoded samples, what a second graph is given, what answers lose."""

from __future__ import annotations

import functools
import itertools
import statistics
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from leptonbench.compression.base import Outputs
from leptonbench.compression.follower import follower_inputs
from leptonbench.stats.interval import Interval
from leptonbench.tasks import Arrays, Samples, Split, Task

_LOOPS = 16  # samples whose every step calibrates a follower
_TYPICAL_OF = 32  # samples looked at for one of typical length


class Part(StrEnum):
    """Which graph of a model; most have one."""

    FIRST = "first"
    FOLLOWER = "follower"


class Calibration:
    """One task's calibration split, read when first asked for.

    Args:
        task: Whose data it is.
        model: The uncompressed model's folder or file, for what a follower is given.
    """

    def __init__(self, task: Task, model: Path) -> None:
        self._task = task
        self._model = model

    @functools.cached_property
    def samples(self) -> Samples:
        """Return the split."""
        return self._task.samples(Split.CALIBRATION)

    @functools.cached_property
    def typical(self) -> Arrays:
        """Return one encoded sample, of typical length where they have lengths."""
        count = min(len(self.samples), _TYPICAL_OF)
        lengths = {index: self.samples.duration_s(index) for index in range(count)}
        known = {index: length for index, length in lengths.items() if length is not None}
        middle = statistics.median_low(known.values()) if known else None
        index = next((i for i, length in known.items() if length == middle), 0)
        return self._task.encode(self.samples.raw(index))

    def typical_of(self, part: Part) -> Arrays:
        """Return one typical sample of what a graph takes."""
        if part is Part.FIRST:
            return self.typical
        steps = list(self._follower_samples(iter([self.typical])))
        return steps[len(steps) // 2]

    def encoded(self, part: Part = Part.FIRST) -> Iterator[Arrays]:
        """Yield what a graph is calibrated on, in the order of the split, as batches of one."""
        own = (self._task.encode(self.samples.raw(index)) for index in range(len(self.samples)))
        return own if part is Part.FIRST else self._follower_samples(itertools.islice(own, _LOOPS))

    def _follower_samples(self, samples: Iterator[Arrays]) -> Iterator[Arrays]:
        """Yield what the uncompressed follower is given while the task's loop runs over samples."""
        return follower_inputs(self._task.load_network(self._model), self._task.couple, samples)

    def difference(self, found: Outputs, plain: Outputs) -> Interval:
        """Return by how much the task's metric changes between two sets of outputs of the first samples."""
        answers, base = (
            [answer for one in outputs for answer in self._task.decode(list(one))] for outputs in (found, plain)
        )
        targets = [self.samples.target(index) for index in range(len(plain))]
        return self._task.metric.difference(answers, base, targets)
