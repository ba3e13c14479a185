"""Visual inspection: one image in, one of a few classes out; scored by top-1."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.paths import cache_dir
from leptonbench.schema import DataSpec, Provenance, Quantity
from leptonbench.stats.proportion import wilson
from leptonbench.tasks import surface
from leptonbench.tasks.base import Samples, Split
from leptonbench.tasks.images import ImageFolder, ImageProcessor


class SurfaceSamples:
    """One split of the procedural machined-surface images, memory-mapped from the cache."""

    def __init__(self, seed: int, split: Split, count: int) -> None:
        folder = cache_dir() / "data" / f"surface-v{surface.GENERATOR_VERSION}-s{seed}-{split.value}-{count}"
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
    """Image classification on the workload's own images or on a user's image folder.

    Args:
        model_dir: Folder of the model, for its pre-processing; `None` assumes ImageNet's.
        data: Seed and sizes of the workload's own splits.
        images: A user's image folder by class, in place of the workload's own images.
    """

    answer_dtype = "int64"

    def __init__(self, model_dir: Path | None, data: DataSpec, *, images: Path | None = None) -> None:
        self._processor = ImageProcessor.from_folder(model_dir) if model_dir else ImageProcessor()
        self._data = data
        self._folder = images

    def samples(self, split: Split) -> Samples:
        """Return one split: rendered and cached, or read from the user's folder."""
        if split is Split.TRAIN:
            raise ValueError("training images are made by the training script, not by the task")
        count = self._data.calibration if split is Split.CALIBRATION else self._data.evaluation
        if self._folder is not None:
            return ImageFolder(self._folder, split, limit=count)
        return SurfaceSamples(self._data.seed, split, count)

    def encode(self, raw: Any) -> NDArray[np.float32]:
        """Return the normalised image, float32, 3 x height x width."""
        return self._processor(raw)

    def decode(self, outputs: Sequence[NDArray[Any]]) -> list[int]:
        """Return the top-1 class of each row of the logits (batch x classes)."""
        return [int(label) for label in outputs[0].reshape(len(outputs[0]), -1).argmax(axis=1)]

    def quality(self, answers: Sequence[Any], targets: Sequence[Any]) -> Quantity:
        """Return top-1 with its Wilson interval over the samples."""
        correct = int(np.count_nonzero(np.asarray(answers) == np.asarray(targets)))
        interval = wilson(correct, len(targets))
        return Quantity(
            value=correct / len(targets),
            unit="1",
            low=interval.low,
            high=interval.high,
            n=len(targets),
            confidence=0.95,
            provenance=Provenance.MEASURED,
            name="top-1",
            method=f"{correct} of {len(targets)} evaluation samples right; Wilson interval",
        )
