"""Visual inspection: one image in, one of a few classes out; scored by top-1."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.paths import cache_dir
from leptonbench.tasks import surface
from leptonbench.tasks.base import Arrays, Lesson, Samples, Split, TaskSetup
from leptonbench.tasks.images import ImageFolder, ImageProcessor
from leptonbench.tasks.pretrained import check_labels, stated_labels
from leptonbench.tasks.top1 import Top1

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network

_TRAINING_IMAGES = 4000  # as many as a few minutes of tuning see


class SurfaceSamples:
    """One split of the procedural machined-surface images, memory-mapped from the cache."""

    classes = surface.CLASSES

    def __init__(self, seed: int, split: Split, count: int) -> None:
        self.identity = f"surface-v{surface.GENERATOR_VERSION}-s{seed}-{split.value}-{count}"
        folder = cache_dir() / "data" / self.identity
        if not folder.exists():
            _make(folder, seed, split=split, count=count)
        self._images = np.load(folder / "images.npy", mmap_mode="r")
        self._labels = np.load(folder / "labels.npy")

    def __len__(self) -> int:
        """Return how many images the split has."""
        return len(self._labels)

    def raw(self, index: int) -> NDArray[np.uint8]:
        """Return one image, uint8, 224 x 224 x 3."""
        return np.asarray(self._images[index])

    def target(self, index: int) -> int:
        """Return the class index in `surface.CLASSES`."""
        return int(self._labels[index])

    def duration_s(self, index: int) -> None:
        """Return nothing: an image has no length."""


def _make(folder: Path, seed: int, *, split: Split, count: int) -> None:
    """Render a split into the cache; two processes that race both end with a whole folder."""
    images, labels = surface.generate(seed, split.value, count)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    try:
        np.save(scratch / "images.npy", images)
        np.save(scratch / "labels.npy", labels)
        scratch.rename(folder)
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)
        if not folder.exists():
            raise


class InspectionTask:
    """Image classification on the workload's own images or on a user's image folder by class.

    Args:
        setup: Without a model's folder, ImageNet's pre-processing is assumed.
    """

    def __init__(self, setup: TaskSetup) -> None:
        self.metric = Top1()
        self._setup = setup
        self._processor = ImageProcessor.from_folder(setup.model_dir) if setup.model_dir else ImageProcessor()
        self._cache: dict[Split, Samples] = {}

    def samples(self, split: Split) -> Samples:
        """Return one split: rendered and cached, or read from the user's folder.

        Raises:
            UsageError: If the user's folder cannot be read as images by class.
            ValueError: If training images are asked for beside a user's folder, which has none.
        """
        if split not in self._cache:
            self._cache[split] = self._read(split)
        return self._cache[split]

    def _read(self, split: Split) -> Samples:
        data = self._setup.data
        counts = {
            Split.TRAIN: _TRAINING_IMAGES,
            Split.CALIBRATION: data.calibration,
            Split.EVALUATION: data.evaluation,
        }
        if self._setup.own is None:
            return SurfaceSamples(data.seed, split, counts[split])
        if split is Split.TRAIN:
            raise ValueError("a user's folder is divided in two; learn from its calibration split")
        return ImageFolder(self._setup.own, split, limit=counts[split])

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the data's classes, in the order of their indices."""
        if self._setup.own is None:
            return surface.CLASSES
        return ImageFolder(self._setup.own, Split.EVALUATION, limit=1).classes

    def encode(self, raw: Any) -> Arrays:
        """Return the normalised image as `pixel_values`, float32, 1 x 3 x height x width."""
        return {"pixel_values": self._processor(raw)[None]}

    def decode(self, outputs: Sequence[NDArray[Any]]) -> list[int]:
        """Return the top-1 class of each row of the logits (batch x classes)."""
        return [int(label) for label in outputs[0].reshape(len(outputs[0]), -1).argmax(axis=1)]

    def load_network(self, folder: Path, *, weights: bool = True) -> Network:
        """Load an image classifier from a Hugging Face folder; without weights, build it untrained.

        Raises:
            UsageError: If the folder is no image classifier, or its classes are not the data's: its score would
                mean nothing.
        """
        from leptonbench.tasks.classifier import load_classifier

        network = load_classifier(folder, weights=weights)
        model: Any = network.model
        check_labels(
            stated_labels(json.loads((folder / "config.json").read_text(encoding="utf-8"))),
            int(model.config.num_labels),
            classes=self.classes,
            hint="name the class folders as the model's id2label does, in the same (alphabetical) order",
        )
        return network

    def check_outputs(self, shapes: Sequence[tuple[int | None, ...]]) -> None:
        """Refuse an ONNX file that gives another number of logits than the data has classes.

        Raises:
            UsageError: If it has no output, or a stated count differs.
        """
        if not shapes:
            raise UsageError("the model has no output", hint="an image classifier gives one row of logits an image")
        sizes = [size for size in shapes[0][1:] if size is not None]
        if len(sizes) < len(shapes[0]) - 1 or not sizes or math.prod(sizes) == len(self.classes):
            return
        raise UsageError(
            "the model's classes are not those of the data",
            cause=f"model: {math.prod(sizes)} logits; data: {len(self.classes)} classes "
            f"({', '.join(self.classes[:8])})",
            hint="give one class folder for each logit, in the logits' order when sorted by name",
        )

    def studied(self, split: Split) -> Samples:
        """Return what lessons from a split read: of a user's images more than calibration needs, where there are.

        Raises:
            ValueError: If training images are asked for beside a user's folder, which has none.
        """
        return self._teaching if self._setup.own is not None and split is Split.CALIBRATION else self.samples(split)

    @cached_property
    def _teaching(self) -> ImageFolder:
        if self._setup.own is None:
            raise ValueError("there is no folder of the user's")
        return ImageFolder(self._setup.own, Split.CALIBRATION, limit=_TRAINING_IMAGES)

    def lesson(self, split: Split) -> Lesson:
        """Return augmented images of a split with their classes.

        Surfaces are turned and mirrored at will; a user's images, which may have an upright, left to right only.
        """
        from leptonbench.tasks.classifier import ClassifierLesson

        own = self._setup.own is not None
        if own and split is not Split.CALIBRATION:
            raise ValueError("a user's folder teaches by its calibration split only")
        return ClassifierLesson(self.studied(split), self.encode, turn=not own)
