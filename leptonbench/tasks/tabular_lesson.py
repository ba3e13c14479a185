"""Lessons for networks that score rows. Imports torch: import it lazily."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leptonbench.tasks.base import Batch

_BATCH = 512


class TabularLesson:
    """Batches of rows with their labels, as they are: there is no sound way to augment a row.

    Args:
        features: float32 [n, width].
        labels: int64 [n], 0 or 1.
    """

    learning_rate = 1e-3
    steps_factor = 10.0

    def __init__(self, features: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        self._features = torch.from_numpy(features)
        self._labels = torch.from_numpy(labels.astype(np.float32))

    def batches(self, seed: int) -> Iterator[Batch]:
        """Yield batches of 512 rows, or of all there are, without end; each row once before any comes again."""
        random = np.random.default_rng(seed)
        size = min(_BATCH, len(self._labels))
        waiting = np.empty(0, dtype=np.int64)
        while True:
            if len(waiting) < size:
                waiting = np.concatenate([waiting, random.permutation(len(self._labels))])
            chosen, waiting = torch.from_numpy(waiting[:size]), waiting[size:]
            yield Batch({"features": self._features[chosen]}, {"labels": self._labels[chosen]})

    def loss(self, outputs: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Return the binary cross entropy of the logits with the labels."""
        return nn.functional.binary_cross_entropy_with_logits(outputs[0].float().flatten(), batch.targets["labels"])

    def distance(self, outputs: tuple[Tensor, ...], teacher: tuple[Tensor, ...], *, temperature: float) -> Tensor:
        """Return the KL divergence from the teacher's chances at a temperature, times its square (Hinton, 2015)."""
        mine, theirs = (logits[0].float().flatten() / temperature for logits in (outputs, teacher))
        chance = torch.sigmoid(theirs)
        positive = nn.functional.logsigmoid(theirs) - nn.functional.logsigmoid(mine)
        negative = nn.functional.logsigmoid(-theirs) - nn.functional.logsigmoid(-mine)
        return (chance * positive + (1.0 - chance) * negative).mean() * temperature**2
