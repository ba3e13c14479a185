"""Detection: one picture in, boxes with classes and scores out; scored by COCO's mAP."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.paths import cache_dir
from leptonbench.tasks import parts
from leptonbench.tasks.base import Arrays, Lesson, Metric, Samples, Split, TaskSetup
from leptonbench.tasks.coco import MeanPrecision
from leptonbench.tasks.coco_folder import CocoFolder
from leptonbench.tasks.detection_decode import decode_centernet, decode_queries
from leptonbench.tasks.detection_images import WholePicture, config_of
from leptonbench.tasks.pretrained import check_labels, stated_labels

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network

CENTERNET = "leptonbench-centernet"  # the model type of our own networks
_TRAINING_PICTURES = 2500  # as many as a few minutes of tuning see
Shape = tuple[int | None, ...]


class PartSamples:
    """One split of the procedural pictures of machined parts, memory-mapped from the cache."""

    classes = parts.CLASSES

    def __init__(self, seed: int, split: Split, count: int) -> None:
        self.identity = f"parts-v{parts.GENERATOR_VERSION}-s{seed}-{split.value}-{count}"
        folder = cache_dir() / "data" / self.identity
        if not folder.exists():
            _make(folder, seed, split=split, count=count)
        self._images = np.load(folder / "images.npy", mmap_mode="r")
        self._boxes = np.load(folder / "boxes.npy")
        self._found = np.load(folder / "found.npy")

    def __len__(self) -> int:
        """Return how many pictures the split has."""
        return len(self._found)

    def raw(self, index: int) -> NDArray[np.uint8]:
        """Return one picture, uint8, 320 x 320 x 3."""
        return np.asarray(self._images[index])

    def target(self, index: int) -> list[list[float]]:
        """Return rows of `[x1, y1, x2, y2, class, crowd]`, corners as shares of the picture."""
        rows = self._boxes[index, : self._found[index]]
        return [[*(float(value) / parts.SIDE for value in row[:4]), int(row[4]), 0] for row in rows]

    def duration_s(self, index: int) -> None:
        """Return nothing: a picture has no length."""


def _make(folder: Path, seed: int, *, split: Split, count: int) -> None:
    """Render a split into the cache; two processes that race both end with a whole folder."""
    images, boxes, found = parts.generate(seed, split.value, count)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    try:
        np.save(scratch / "images.npy", images)
        np.save(scratch / "boxes.npy", boxes)
        np.save(scratch / "found.npy", found)
        scratch.rename(folder)
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)
        if not folder.exists():
            raise


class DetectionTask:
    """Object detection on the workload's own pictures or on a user's COCO annotations.

    Answers and targets hold corners as shares of the picture's width and height: `coco.MeanPrecision`.

    Args:
        setup: The model's folder gives pre-processing, kind of network and class names, as far as it has them.
    """

    def __init__(self, setup: TaskSetup) -> None:
        self._setup = setup
        self._picture = WholePicture.from_folder(setup.model_dir) if setup.model_dir else WholePicture()
        self._config = config_of(setup.model_dir)
        self._cache: dict[Split, Samples] = {}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Return what class indices stand for: the workload's classes, or for a user's data the model's own."""
        if self._setup.own is None:
            return parts.CLASSES
        return CocoFolder(self._setup.own, Split.EVALUATION, limit=1, labels=stated_labels(self._config)).classes

    @cached_property
    def metric(self) -> Metric:
        """Return COCO's mAP over the classes."""
        return MeanPrecision(self.classes)

    def samples(self, split: Split) -> Samples:
        """Return one split: rendered and cached, or read from the user's annotations.

        Raises:
            UsageError: If the user's annotations or pictures cannot be used.
            ValueError: If training pictures are asked for beside a user's data, which have none.
        """
        if split not in self._cache:
            self._cache[split] = self._read(split)
        return self._cache[split]

    def _read(self, split: Split) -> Samples:
        data = self._setup.data
        counts = {
            Split.TRAIN: _TRAINING_PICTURES,
            Split.CALIBRATION: data.calibration,
            Split.EVALUATION: data.evaluation,
        }
        if self._setup.own is None:
            return PartSamples(data.seed, split, counts[split])
        if split is Split.TRAIN:
            raise ValueError("a user's data is divided in two; learn from its calibration split")
        return CocoFolder(self._setup.own, split, limit=counts[split], labels=stated_labels(self._config))

    def encode(self, raw: Any) -> Arrays:
        """Return the normalised picture as `pixel_values`, float32, 1 x 3 x height x width."""
        return {"pixel_values": self._picture(raw)[None]}

    def decode(self, outputs: Sequence[NDArray[Any]]) -> list[list[list[float]]]:
        """Return each picture's detections, best first, at most 100: `[x1, y1, x2, y2, score, class]`.

        Raises:
            UsageError: If the outputs are not those of a detector of these classes.
        """
        kind = self._kind([tuple(output.shape) for output in outputs])
        if kind == "centernet":
            return decode_centernet(outputs[:3])
        logits, boxes = _logits_first(outputs)
        return decode_queries([logits, boxes], scores=kind)

    def check_outputs(self, shapes: Sequence[Shape]) -> None:
        """Refuse an ONNX file whose outputs are neither CenterNet's nor a set predictor's.

        Raises:
            UsageError: Saying what was found and what is read.
        """
        self._kind(shapes)

    def _kind(self, shapes: Sequence[Shape]) -> Literal["centernet", "softmax", "sigmoid"]:
        """Tell by the outputs' shapes how to read them.

        Set predictors that were trained with a softmax have one output more than there are classes, for no object;
        those trained with a sigmoid have as many: so do transformers' own processors read them.
        """
        classes = len(self.classes)
        if len(shapes) >= 3 and all(len(shape) == 4 for shape in shapes[:3]):
            channels = [shape[1] for shape in shapes[:3]]
            if all(found in (None, stated) for found, stated in zip(channels, (classes, 2, 2), strict=True)):
                return "centernet"
        elif len(shapes) >= 2 and all(len(shape) == 3 for shape in shapes[:2]):
            columns = [shape[2] for shape in _logits_first(shapes)]
            if columns[1] in (None, 4) and columns[0] in (None, classes, classes + 1):
                return "sigmoid" if columns[0] == classes else "softmax"
        found = ", ".join(" x ".join("?" if size is None else str(size) for size in shape) for shape in shapes)
        raise UsageError(
            "the model's outputs cannot be read as detections",
            cause=f"it gives {found or 'nothing'}; the data has {classes} classes ({', '.join(self.classes[:8])})",
            hint=f"a detector gives logits (batch x queries x {classes}, or {classes + 1} with no object) and boxes "
            f"(batch x queries x 4), or CenterNet's heat (batch x {classes} x h x w), sizes and offsets (x 2 x h x w)",
        )

    def load_network(self, folder: Path, *, weights: bool = True) -> Network:
        """Load a CenterNet or a transformers object detector; without weights, build it untrained.

        Raises:
            UsageError: If the folder is neither, or the workload's classes are not the model's.
        """
        from leptonbench.tasks.detectors import load_detector

        config = config_of(folder)
        network = load_detector(folder, centernet=config.get("model_type") == CENTERNET, weights=weights)
        model: Any = network.model
        check_labels(
            stated_labels(config),
            int(model.config.num_labels),
            classes=self.classes,
            hint="give `--data` with pictures annotated with the model's classes, named as its id2label does",
        )
        return network

    def studied(self, split: Split) -> Samples:
        """Return what lessons from a split read: the split."""
        return self.samples(split)

    def lesson(self, split: Split) -> Lesson:
        """Return augmented pictures of a split with their boxes.

        Parts seen from above are turned and mirrored at will; a user's pictures, which may have an upright, left to
        right only.
        """
        from leptonbench.tasks.detection_lesson import DetectorLesson

        own = self._setup.own is not None
        if own and split is not Split.CALIBRATION:
            raise ValueError("a user's data teaches by its calibration split only")
        return DetectorLesson(
            self.studied(split),
            self.encode,
            classes=len(self.classes),
            centernet=self._config.get("model_type") == CENTERNET,
            turn=not own,
        )


def _logits_first(pair: Sequence[Any]) -> tuple[Any, Any]:
    """Return a set predictor's two outputs or their shapes, logits before boxes: boxes have four columns."""
    one, other = pair[0], pair[1]
    columns = [getattr(item, "shape", item)[-1] for item in (one, other)]
    return (other, one) if columns[0] == 4 and columns[1] != 4 else (one, other)
