"""What detectors are taught with: augmented images, CenterNet's targets and loss, distances to a teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leptonbench.tasks.base import Arrays, Batch, Samples
from leptonbench.tasks.detection_decode import STRIDE, UNIT_PX

Floats = NDArray[np.float32]

_LIGHT = 0.15  # brightness is drawn within this share of what it is
_SPREAD = 0.09  # a Gaussian's standard deviation, of the box's side: TTFNet's 0.54 / 6 (arXiv:1909.00700)
_FAINT = 0.05  # heat below this is no heat


def _cell(pixel: float, cells: int) -> int:
    """Return the cell that holds a place on one axis."""
    return min(int(pixel / STRIDE), cells - 1)


def centernet_targets(boxes: Floats, *, classes: int, side: int) -> dict[str, Floats]:
    """Return what CenterNet should give for one image.

    Sizes and offsets are taught at the centre's cell and, with half the weight, at the eight around it, so that an
    object teaches nine times (as TTFNet, which learns an order faster); a smaller object has the last word.

    Args:
        boxes: Corners in pixels of the input and class, [n, 5].
        classes: How many there are.
        side: Of the square input, in pixels.

    Returns:
        `heat` [classes, h, w] from 0 to 1, `size` and `offset` [2, h, w] and their `weight` [1, h, w].
    """
    cells = side // STRIDE
    heat = np.zeros((classes, cells, cells), dtype=np.float32)
    size, offset = np.zeros((2, cells, cells), dtype=np.float32), np.zeros((2, cells, cells), dtype=np.float32)
    weight = np.zeros((1, cells, cells), dtype=np.float32)
    axis = np.arange(cells, dtype=np.float32)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    ordered = boxes[np.argsort(-areas, kind="stable")]
    for left, top, right, bottom, kind in ordered:
        column, row = _cell((left + right) / 2, cells), _cell((top + bottom) / 2, cells)
        spreads = (max(0.5, float(extent) / STRIDE * _SPREAD) for extent in (right - left, bottom - top))
        along, down = (
            np.exp(-0.5 * ((axis - at) / spread) ** 2) for at, spread in zip((column, row), spreads, strict=True)
        )
        blob = down[:, None] * along[None, :]
        np.maximum(heat[int(kind)], blob * (blob > _FAINT), out=heat[int(kind)])
    for reach, worth in ((1, 0.5), (0, 1.0)):  # centres last: a neighbour never takes another object's own cell
        for left, top, right, bottom, _ in ordered:
            x, y = (left + right) / 2, (top + bottom) / 2
            column, row = _cell(x, cells), _cell(y, cells)
            rows, columns = (
                slice(max(0, row - reach), row + reach + 1),
                slice(max(0, column - reach), column + reach + 1),
            )
            size[:, rows, columns] = np.log(np.array([right - left, bottom - top]) / UNIT_PX)[:, None, None]
            offset[0, rows, columns] = x / STRIDE - axis[None, columns]
            offset[1, rows, columns] = y / STRIDE - axis[rows, None]
            weight[0, rows, columns] = worth
    return {"heat": heat, "size": size, "offset": offset, "weight": weight}


def focal(logits: Tensor, heat: Tensor) -> Tensor:
    """Return the penalty-reduced focal loss over a batch, an object's share of it."""
    positive = heat.ge(0.999).float()
    chance = torch.sigmoid(logits)
    sure, unsure = nn.functional.logsigmoid(logits), nn.functional.logsigmoid(-logits)
    there = (1 - chance) ** 2 * sure * positive
    absent = (1 - heat) ** 4 * chance**2 * unsure * (1 - positive)
    return -(there.sum() + absent.sum()) / positive.sum().clamp(min=1)


def _corners(size: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Return upper left and lower right corners [n, 2, h, w] in cells, from the cell's own corner."""
    half = torch.exp(size.clamp(-4, 4)) * (UNIT_PX / STRIDE / 2)
    return offset - half, offset + half


def _union_loss(size: Tensor, offset: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """Return 1 - generalised IoU (arXiv:1902.09630) of each cell, [n, 1, h, w]."""
    low, high = _corners(size, offset)
    true_low, true_high = _corners(targets["size"], targets["offset"])
    both = (torch.minimum(high, true_high) - torch.maximum(low, true_low)).clamp(min=0).prod(1, keepdim=True)
    union = (high - low).prod(1, keepdim=True) + (true_high - true_low).prod(1, keepdim=True) - both
    hull = (torch.maximum(high, true_high) - torch.minimum(low, true_low)).prod(1, keepdim=True)
    return 1 - both / union + (hull - union) / hull


def centernet_loss(outputs: tuple[Tensor, ...], targets: dict[str, Tensor]) -> Tensor:
    """Return the focal loss of the heat plus L1 and generalised IoU losses of the boxes.

    Args:
        outputs: Heat logits, sizes and offsets, as `CenterNetModel` gives.
        targets: As `centernet_targets`, batched.
    """
    heat, size, offset = (output.float() for output in outputs)
    weight = targets["weight"]
    total = weight.sum().clamp(min=1)
    union = (_union_loss(size, offset, targets) * weight).sum() / total
    apart = ((size - targets["size"]).abs() + (offset - targets["offset"]).abs()) * weight
    return focal(heat, targets["heat"]) + 2 * union + 0.5 * apart.sum() / total


def centernet_distance(outputs: tuple[Tensor, ...], teacher: tuple[Tensor, ...], *, temperature: float) -> Tensor:
    """Return how far heat, sizes and offsets are from a teacher's.

    The heat of a class in a cell is a yes or no of its own, so its divergence is that of two Bernoulli variables at a
    temperature, times its square; divided by the teacher's total heat, that is by about the number of objects. Sizes
    and offsets count as much as the teacher sees something in the cell.
    """
    heat, size, offset = (output.float() for output in outputs)
    true_heat, true_size, true_offset = (output.float() for output in teacher)
    seen = torch.sigmoid(true_heat).amax(1, keepdim=True)
    objects = seen.sum().clamp(min=1)
    soft, true_soft = heat / temperature, true_heat / temperature
    chance = torch.sigmoid(true_soft)
    log = nn.functional.logsigmoid
    divergence = chance * (log(true_soft) - log(soft)) + (1 - chance) * (log(-true_soft) - log(-soft))
    apart = ((size - true_size).abs() + (offset - true_offset).abs()) * seen
    return divergence.sum() * temperature**2 / objects + apart.sum() / objects


def query_distance(outputs: tuple[Tensor, ...], teacher: tuple[Tensor, ...], *, temperature: float) -> Tensor:
    """Return how far a set predictor's logits [n, queries, classes] and boxes [n, queries, 4] are from a teacher's.

    Query by query: networks tuned from one another keep what each query stands for. Boxes count as much as the
    teacher believes in the query.
    """
    logits, boxes = outputs[0].float(), outputs[1].float()
    true_logits, true_boxes = teacher[0].float(), teacher[1].float()
    soft = nn.functional.log_softmax(logits / temperature, dim=-1)
    true_soft = nn.functional.log_softmax(true_logits / temperature, dim=-1)
    divergence = nn.functional.kl_div(soft, true_soft, reduction="none", log_target=True).sum(-1).mean()
    seen = true_logits.softmax(-1).amax(-1)
    apart = (boxes - true_boxes).abs().sum(-1) * seen
    return divergence * temperature**2 + apart.sum() / seen.sum()


def flipped(image: Floats, boxes: Floats) -> tuple[Floats, Floats]:
    """Return an image [3, h, w] and its boxes in pixels [n, 5] mirrored left to right."""
    width = image.shape[2]
    mirrored = boxes.copy()
    mirrored[:, 0], mirrored[:, 2] = width - boxes[:, 2], width - boxes[:, 0]
    return image[:, :, ::-1], mirrored


def transposed(image: Floats, boxes: Floats) -> tuple[Floats, Floats]:
    """Return an image and its boxes mirrored at the diagonal."""
    return image.transpose(0, 2, 1), boxes[:, [1, 0, 3, 2, 4]]


class DetectorLesson:
    """Batches of augmented images with boxes.

    Args:
        samples: What to learn from; targets are rows of relative corners, class and crowd flag.
        encode: The task's own way from a raw image to input tensors.
        classes: How many classes the network tells apart.
        centernet: Whether it is one, whose targets and loss are known; others learn from a teacher only.
        turn: Whether pictures may also be mirrored at the diagonal, and so turned: seen from above they have no
            upright.
    """

    learning_rate = 5e-4
    steps_factor = 1.0

    def __init__(
        self, samples: Samples, encode: Callable[[Any], Arrays], *, classes: int, centernet: bool, turn: bool
    ) -> None:
        self._samples = samples
        self._encode = encode
        self._classes = classes
        self._centernet = centernet
        self._turn = turn
        self._size = 8 if centernet else 2

    def batches(self, seed: int) -> Iterator[Batch]:
        """Yield batches without end; every image is seen once before any is seen again."""
        random = np.random.default_rng(seed)
        waiting: list[int] = []
        while True:
            while len(waiting) < self._size:
                waiting += random.permutation(len(self._samples)).tolist()
            chosen, waiting = waiting[: self._size], waiting[self._size :]
            pairs = [self._augmented(index, random) for index in chosen]
            yield self.batch([image for image, _ in pairs], [boxes for _, boxes in pairs])

    def batch(self, images: list[Floats], boxes: list[Floats]) -> Batch:
        """Put normalised images [3, h, w] and their boxes in pixels [n, 5] together, with CenterNet's targets."""
        inputs = {"pixel_values": torch.from_numpy(np.stack(images))}
        if not self._centernet:
            return Batch(inputs, {})
        side = images[0].shape[1]
        each = [centernet_targets(rows, classes=self._classes, side=side) for rows in boxes]
        return Batch(inputs, {name: torch.from_numpy(np.stack([maps[name] for maps in each])) for name in each[0]})

    def _augmented(self, index: int, random: np.random.Generator) -> tuple[Floats, Floats]:
        image: Floats = self._encode(self._samples.raw(index))["pixel_values"][0]
        rows = np.asarray(self._samples.target(index), dtype=np.float32).reshape(-1, 6)
        height, width = image.shape[1:]
        boxes = rows[rows[:, 5] == 0][:, :5] * np.array([width, height, width, height, 1], dtype=np.float32)
        if random.integers(2):
            image, boxes = flipped(image, boxes)
        if self._turn and random.integers(2):
            image, boxes = transposed(image, boxes)
            if random.integers(2):  # the two mirrors in turn are a quarter turn
                image, boxes = flipped(image, boxes)
        light = np.float32(1 + random.uniform(-_LIGHT, _LIGHT))
        return np.ascontiguousarray(image) * light, boxes

    def loss(self, outputs: tuple[Tensor, ...], batch: Batch) -> Tensor | None:
        """Return CenterNet's loss; `None` for other networks, whose matching of queries to objects is their own."""
        return centernet_loss(outputs, batch.targets) if self._centernet else None

    def distance(self, outputs: tuple[Tensor, ...], teacher: tuple[Tensor, ...], *, temperature: float) -> Tensor:
        """Return the distance to a teacher's outputs, by the kind of network."""
        rule = centernet_distance if self._centernet else query_distance
        return rule(outputs, teacher, temperature=temperature)
