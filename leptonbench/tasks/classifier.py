"""An image classifier as a network, and lessons to tune one with. Imports torch: import it lazily."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leptonbench.errors import UsageError
from leptonbench.tasks.base import Arrays, Batch, Samples
from leptonbench.tasks.network import Network
from leptonbench.tasks.pretrained import check_whole

_BATCH = 16
_LABEL_SMOOTHING = 0.05  # as the shipped network was trained
_LIGHT = 0.1  # images are made so much brighter or darker at most, as a share


class Classifier(Network):
    """Maps `pixel_values` (batch x 3 x height x width) to logits (batch x classes)."""

    output_names = ("logits",)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Return the logits, out of the container that transformers puts them in."""
        return (self.model(pixel_values=pixel_values).logits.flatten(1),)


def load_classifier(folder: Path, *, weights: bool = True) -> Classifier:
    """Load an image classifier from a Hugging Face folder as an fp32 network in evaluation mode.

    Args:
        folder: With config.json and, if `weights`, matching weights.
        weights: Read them; else the network is built untrained from the config alone.

    Raises:
        UsageError: If transformers cannot load the folder as an image classifier, or weights are missing.
    """
    from transformers import AutoConfig, AutoModelForImageClassification
    from transformers import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        if weights:
            model, notes = AutoModelForImageClassification.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True
            )
            check_whole(folder, notes)
        else:
            config = AutoConfig.from_pretrained(folder)
            build: Callable[[Any], nn.Module] = AutoModelForImageClassification.from_config
            model = build(config).to(torch.float32)
    except UsageError:
        raise
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and safetensors' own
        raise UsageError(
            f"transformers cannot load `{folder}` as an image classifier",
            cause=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            hint="the folder needs config.json and matching weights of an image-classification architecture",
        ) from error
    network = Classifier(model)
    return network.eval().requires_grad_(False)


class ClassifierLesson:
    """Batches of augmented images with their classes.

    Args:
        samples: What to learn from.
        encode: The task's own way from a raw image to input tensors.
        turn: Whether an image may be turned by quarters and mirrored both ways (a surface has no upright), or is
            mirrored left to right only.
    """

    learning_rate = 5e-4
    steps_factor = 1.0

    def __init__(self, samples: Samples, encode: Callable[[Any], Arrays], *, turn: bool) -> None:
        self._samples = samples
        self._encode = encode
        self._turn = turn

    def batches(self, seed: int) -> Iterator[Batch]:
        """Yield batches of 16 without end; every image is seen once before any is seen again."""
        random = np.random.default_rng(seed)
        waiting: list[int] = []
        while True:
            while len(waiting) < _BATCH:
                waiting += random.permutation(len(self._samples)).tolist()
            chosen, waiting = waiting[:_BATCH], waiting[_BATCH:]
            images = np.stack([self._augmented(index, random) for index in chosen])
            labels = torch.tensor([int(self._samples.target(index)) for index in chosen])
            yield Batch({"pixel_values": torch.from_numpy(images)}, {"labels": labels})

    def _augmented(self, index: int, random: np.random.Generator) -> NDArray[np.float32]:
        image = self._encode(self._samples.raw(index))["pixel_values"][0]
        turns = int(random.integers(4)) if self._turn and image.shape[1] == image.shape[2] else 0
        image = np.rot90(image, turns, axes=(1, 2))
        if random.integers(2):
            image = image[:, :, ::-1]
        light = np.float32(1 + random.uniform(-_LIGHT, _LIGHT))
        return np.ascontiguousarray(image, dtype=np.float32) * light

    def loss(self, outputs: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Return the cross entropy with the true classes, their labels smoothed."""
        return nn.functional.cross_entropy(
            outputs[0].float(), batch.targets["labels"], label_smoothing=_LABEL_SMOOTHING
        )

    def distance(self, outputs: tuple[Tensor, ...], teacher: tuple[Tensor, ...], *, temperature: float) -> Tensor:
        """Return the KL divergence from the teacher's classes at a temperature, times its square (Hinton, 2015)."""
        return (
            nn.functional.kl_div(
                nn.functional.log_softmax(outputs[0].float() / temperature, dim=1),
                nn.functional.log_softmax(teacher[0].float() / temperature, dim=1),
                reduction="batchmean",
                log_target=True,
            )
            * temperature**2
        )
