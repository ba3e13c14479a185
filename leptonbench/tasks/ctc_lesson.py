"""Lessons for CTC networks: padded batches of like lengths, masked features, CTC and distillation losses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from leptonbench.errors import UsageError
from leptonbench.tasks.base import Arrays, Batch, stack
from leptonbench.tasks.ctc import CtcForm

_POOL = 24  # batches' worth of utterances that are sorted by length together: little padding, order still random


@dataclass(frozen=True, slots=True)
class Masking:
    """SpecAugment (Park et al., 2019): stretches of time and of bands set to zero, the mean of normalised features.

    Attributes:
        bands: How many stretches of bands.
        band_share: Widest stretch, as a share of all bands.
        times: How many stretches of time.
        time_share: Longest stretch, as a share of the utterance.
    """

    bands: int = 2
    band_share: float = 0.2
    times: int = 2
    time_share: float = 0.08

    def __call__(self, sample: Arrays, rng: np.random.Generator) -> Arrays:
        """Return a copy of a batch of one with stretches masked; a wave has time only."""
        name = next(iter(sample))
        values = sample[name].copy()
        length = int(sample["attention_mask"].sum())
        for _ in range(self.times):
            start, stop = _stretch(length, self.time_share, rng)
            values[:, start:stop] = 0
        if values.ndim == 3:
            for _ in range(self.bands):
                start, stop = _stretch(values.shape[2], self.band_share, rng)
                values[:, :, start:stop] = 0
        return {**sample, name: values}


def _stretch(length: int, share: float, rng: np.random.Generator) -> tuple[int, int]:
    width = int(rng.integers(int(length * share) + 1))
    start = int(rng.integers(length - width + 1))
    return start, start + width


def _known(form: CtcForm) -> str:
    """Return the first of the model's tokens, for an error."""
    pieces = filter(None, (form.vocabulary.text([token]) for token in range(form.size)))
    return " ".join(itertools.islice(pieces, 30))


class CtcLesson:
    """See `leptonbench.tasks.base.Lesson`.

    Args:
        encode: Index to a batch of one.
        texts: What each utterance says.
        durations_s: How long each plays.
        form: Of the network.
        batch: Utterances a step.
        masking: Augmentation.

    Raises:
        UsageError: If no text has a word of the vocabulary.
    """

    learning_rate = 1e-3  # as the last cycle of the shipped network's own training
    steps_factor = 6.0

    def __init__(
        self,
        encode: Callable[[int], Arrays],
        texts: list[str],
        durations_s: list[float],
        *,
        form: CtcForm,
        batch: int = 16,
        masking: Masking | None = None,
    ) -> None:
        self._encode, self._form, self._batch = encode, form, batch
        self._masking = masking or Masking()
        self._ids = [form.vocabulary.ids(text) for text in texts]
        self._durations_s = durations_s
        # A text of which the model knows no token, or spaces only, teaches it nothing.
        usable = [index for index, ids in enumerate(self._ids) if ids and form.vocabulary.text(ids)]
        if not usable:
            raise UsageError(
                "the model cannot learn from the recordings",
                cause=f"its vocabulary spells none of their texts, such as {texts[0]!r}; it knows {_known(form)}"
                if texts
                else "there are none",
                hint="give texts in the model's language and letters, or a model of theirs",
            )
        self._usable = np.array(usable, dtype=np.int64)

    def batches(self, seed: int) -> Iterator[Batch]:
        """Yield batches without end: each utterance once an epoch, with others of like length."""
        rng = np.random.default_rng(seed)
        while True:
            for chosen in self.epoch(rng):
                yield self.collate(chosen, rng)

    def epoch(self, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        """Return one epoch's batches of indices."""
        order = rng.permutation(self._usable)
        groups: list[NDArray[np.int64]] = []
        for start in range(0, len(order), _POOL * self._batch):
            pool = order[start : start + _POOL * self._batch]
            pool = pool[np.argsort([self._durations_s[index] for index in pool], kind="stable")]
            groups += [pool[i : i + self._batch] for i in range(0, len(pool), self._batch)]
        return [groups[index] for index in rng.permutation(len(groups))]

    def collate(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Return one batch: inputs, `labels` [batch, tokens], `label_lengths` [batch] and `frames` [batch]."""
        inputs = stack([self._masking(self._encode(int(index)), rng) for index in chosen])
        ids = [self._ids[index] for index in chosen]
        labels = torch.zeros((len(ids), max(map(len, ids))), dtype=torch.int64)
        for row, tokens in enumerate(ids):
            labels[row, : len(tokens)] = torch.tensor(tokens)
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        return Batch(
            tensors,
            {
                "labels": labels,
                "label_lengths": torch.tensor([len(tokens) for tokens in ids]),
                "frames": self._form.frames(tensors["attention_mask"].sum(-1)),
            },
        )

    def loss(self, outputs: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Return the CTC loss a token, averaged over the batch; utterances too short for their text count nothing."""
        chances = outputs[0].float().log_softmax(-1).transpose(0, 1)
        targets = batch.targets
        return functional.ctc_loss(
            chances,
            targets["labels"],
            targets["frames"],
            targets["label_lengths"],
            blank=self._form.blank,
            zero_infinity=True,
        )

    def distance(self, outputs: tuple[Tensor, ...], teacher: tuple[Tensor, ...], *, temperature: float) -> Tensor:
        """Return the KL divergence of softened frames from the teacher's, times the temperature squared, a frame.

        Padded frames, where the teacher is certain of the blank by force, are left out.
        """
        student, other = outputs[0].float() / temperature, teacher[0].float() / temperature
        kept = ~self._forced(teacher[0])
        divergence = functional.kl_div(
            student.log_softmax(-1), other.log_softmax(-1), reduction="none", log_target=True
        ).sum(-1)
        return divergence[kept].mean() * temperature**2

    def _forced(self, logits: Tensor) -> Tensor:
        """Say which frames hold the forced blank, [batch, frames]."""
        from leptonbench.tasks.ctc import FORCED

        return logits.amin(-1) <= FORCED
