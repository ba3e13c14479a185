"""From a detector's outputs to detections, in NumPy.

A detection is `[x1, y1, x2, y2, score, class]`: corners as shares of the picture's width and height, score from 0 to 1,
class as an index. Shares and not pixels, because a network sees every picture at one size: they fit whatever the
picture's own was, and IoU is the same in either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from leptonbench.tasks.coco import MOST_DETECTIONS

Floats = NDArray[np.float32]
Detection = list[float]

STRIDE = 4  # pixels of the input a cell of CenterNet's outputs
UNIT_PX = 32.0  # a side of which CenterNet's size output is 0; sizes are natural logarithms, which int8 keeps evenly
LEAST_SCORE = 0.01  # below it nothing is worth keeping: so far down the curve precision is nearly nothing


def _sigmoid(logits: Floats) -> Floats:
    # In two branches, so that no exponential overflows.
    small = np.exp(-np.abs(logits))
    chances: Floats = np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
    return chances


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _rows(corners: Floats, scores: Floats, kinds: NDArray[Any]) -> list[Detection]:
    """Return detections best first; five digits are a hundredth of a pixel of a thousand."""
    corners = np.clip(corners.astype(np.float64), 0, 1)
    return [
        [*(round(float(v), 5) for v in box), round(float(score), 5), int(kind)]
        for box, score, kind in zip(corners, scores, kinds, strict=True)
        if score >= LEAST_SCORE
    ]


def _best(scores: Floats, count: int) -> NDArray[np.intp]:
    """Return the positions of the highest scores in a flat array, highest first; equal ones in order."""
    count = min(count, scores.size)
    some = np.argpartition(-scores, count - 1)[:count] if count < scores.size else np.arange(scores.size)
    return some[np.lexsort((some, -scores[some]))]


def _peaks(heat: Floats) -> NDArray[np.bool_]:
    """Tell which cells [..., h, w] are the highest of the nine around them."""
    padded = np.pad(heat, [(0, 0)] * (heat.ndim - 2) + [(1, 1), (1, 1)], constant_values=-np.inf)
    across = np.maximum(np.maximum(padded[..., :-2], padded[..., 1:-1]), padded[..., 2:])
    around = np.maximum(np.maximum(across[..., :-2, :], across[..., 1:-1, :]), across[..., 2:, :])
    return np.asarray(heat >= around)


def decode_centernet(outputs: Sequence[NDArray[Any]]) -> list[list[Detection]]:
    """Return the detections of each picture from CenterNet's outputs.

    Args:
        outputs: Heat logits [n, classes, h, w], log sizes and offsets [n, 2, h, w], as `centernet.CenterNetModel`.
    """
    heat, size, offset = (np.asarray(output, dtype=np.float32) for output in outputs)
    heat = np.where(_peaks(heat), heat, -np.inf)
    _, _, height, width = heat.shape
    pixels = np.array([width, height], dtype=np.float32) * STRIDE
    answers = []
    for logits, sizes, offsets in zip(heat, size, offset, strict=True):
        best = _best(logits.ravel(), MOST_DETECTIONS)
        best = best[logits.ravel()[best] > math.log(LEAST_SCORE / 2)]
        kinds, rows, columns = np.unravel_index(best, logits.shape)
        middles = (np.stack([columns, rows], axis=1) + offsets[:, rows, columns].T) * STRIDE
        halves = np.exp(np.clip(sizes[:, rows, columns].T, -8, 8)) * (UNIT_PX / 2)
        corners = np.concatenate([(middles - halves) / pixels, (middles + halves) / pixels], axis=1)
        answers.append(_rows(corners, _sigmoid(logits.ravel()[best]), kinds))
    return answers


def decode_queries(outputs: Sequence[NDArray[Any]], *, scores: Literal["softmax", "sigmoid"]) -> list[list[Detection]]:
    """Return the detections of each picture from a set predictor's outputs, as its own processor would.

    Args:
        outputs: Logits [n, queries, classes] (with `softmax`, one more for no object, the last) and boxes
            [n, queries, 4]: centre and sides as shares of the picture.
        scores: `softmax` gives each query its best class (DETR, YOLOS); `sigmoid` takes the best pairs of query and
            class, so many as there are queries (Deformable DETR, RT-DETR, D-FINE).
    """
    logits, boxes = (np.asarray(output, dtype=np.float32) for output in outputs)
    middles, halves = boxes[..., :2], boxes[..., 2:] / 2
    corners = np.concatenate([middles - halves, middles + halves], axis=-1)
    answers = []
    for row, box in zip(logits, corners, strict=True):
        if scores == "softmax":
            shares = _softmax(row)[:, :-1]
            best, kinds = shares.max(axis=1), shares.argmax(axis=1)
            order = _best(best, MOST_DETECTIONS)
            answers.append(_rows(box[order], best[order], kinds[order]))
        else:
            chances = _sigmoid(row).ravel()
            order = _best(chances, min(MOST_DETECTIONS, len(row)))
            answers.append(_rows(box[order // row.shape[1]], chances[order], order % row.shape[1]))
    return answers
