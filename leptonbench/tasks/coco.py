"""COCO's mean average precision, by pycocotools, with intervals over images.

Matching detections to objects is pycocotools' work, once. An image's matches do not depend on other images, so a
bootstrap over images needs no second matching: each replicate weighs every image by how often it was drawn, and the
precision-recall curve is summed again with these weights. With all weights 1 that is pycocotools' own figure (tested).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.schema import Provenance, Quantity
from leptonbench.stats.interval import Interval

Floats = NDArray[np.float64]

MOST_DETECTIONS = 100  # a picture; COCO's own limit
_REPLICATES = 400
_SEED = 20260101  # of the bootstrap's draws: the same answers give the same interval
_CONFIDENCE = 0.95
_SCALE = 1000.0  # relative corners to something like pixels; COCO's "all" areas have no lower bound
_RECALLS = np.linspace(0.0, 1.0, 101)  # COCO's points of recall
_SURE = 0.3  # detections above it are what a user of the workload would see
_SAME_IOU = 0.9


@dataclass(frozen=True, slots=True)
class _Curve:
    """The matches of one class.

    Attributes:
        images: Position of each detection's image, detections sorted by falling score, [n].
        right: Whether it is right at each IoU threshold, [thresholds, n].
        counted: Whether it counts at each (a match with a crowd does not), [thresholds, n].
        objects: How many objects of the class each image holds, [images].
    """

    images: NDArray[np.int64]
    right: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    objects: NDArray[np.int64]

    def precision(self, weights: Floats) -> Floats:
        """Return the average precision of each replicate at each IoU threshold; NaN without objects.

        Precision at a recall is the best at that recall or a higher one. It is highest where a right detection has
        just come in, and only there does recall rise, so that the right ones are all that has to be looked at: each
        stands for the points of recall between the one before it and its own.

        Args:
            weights: How often each image counts in each replicate, [replicates, images].

        Returns:
            [replicates, thresholds].
        """
        totals = weights @ self.objects
        share = weights[:, self.images]
        seen = np.cumsum(share, axis=1)
        means = np.empty((len(weights), len(self.right)))
        for column, (right, counted) in enumerate(zip(self.right, self.counted, strict=True)):
            hits = np.flatnonzero(right)
            true = np.cumsum(share[:, hits], axis=1)
            given = seen[:, hits] if counted.all() else np.cumsum(share * counted, axis=1)[:, hits]
            precision = np.divide(true, given, out=np.zeros_like(true), where=given > 0)
            best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            recall = np.divide(true, totals[:, None], out=np.zeros_like(true), where=totals[:, None] > 0)
            points = np.diff(np.searchsorted(_RECALLS, recall, side="right"), axis=1, prepend=0)
            means[:, column] = (best * points).sum(axis=1) / len(_RECALLS)
        means[totals == 0] = np.nan
        return means


def _annotations(targets: Sequence[Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for image, objects in enumerate(targets):
        for x1, y1, x2, y2, kind, crowd in objects:
            box = [x1 * _SCALE, y1 * _SCALE, (x2 - x1) * _SCALE, (y2 - y1) * _SCALE]
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image,
                    "category_id": int(kind),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(crowd),
                }
            )
    return rows


def _detections(answers: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image,
            "category_id": int(kind),
            "bbox": [x1 * _SCALE, y1 * _SCALE, (x2 - x1) * _SCALE, (y2 - y1) * _SCALE],
            "score": score,
        }
        for image, found in enumerate(answers)
        for x1, y1, x2, y2, score, kind in found
    ]


def evaluate(answers: Sequence[Any], targets: Sequence[Any], classes: int) -> Any:
    """Return pycocotools' `COCOeval` after matching, silently.

    Args:
        answers: Detections of each image, `[x1, y1, x2, y2, score, class]`, corners relative.
        targets: Objects of each image, `[x1, y1, x2, y2, class, crowd]`, corners relative.
        classes: How many there are.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress there, where our data goes
        truth = COCO()
        truth.dataset = {
            "images": [{"id": image} for image in range(len(targets))],
            "annotations": _annotations(targets),
            "categories": [{"id": kind} for kind in range(classes)],
        }
        truth.createIndex()
        found = _detections(answers)
        scored = COCO()
        scored.dataset = {
            "images": truth.dataset["images"],
            "categories": truth.dataset["categories"],
            "annotations": [
                {**row, "id": number, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
                for number, row in enumerate(found, start=1)
            ],
        }
        scored.createIndex()
        judge = COCOeval(truth, scored, "bbox")
        judge.params.areaRng = [judge.params.areaRng[0]]
        judge.params.areaRngLbl = ["all"]
        judge.params.maxDets = [1, 10, MOST_DETECTIONS]
        judge.evaluate()
    return judge


def _curves(answers: Sequence[Any], targets: Sequence[Any], classes: int) -> list[_Curve]:
    """Return the matches of each class."""
    judge = evaluate(answers, targets, classes)
    images = len(targets)
    thresholds = len(judge.params.iouThrs)
    curves = []
    for kind in range(classes):
        each = judge.evalImgs[kind * images : (kind + 1) * images]  # class by class, one range of areas
        objects = np.zeros(images, dtype=np.int64)
        scores, owners = [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
        right, ignored = [np.zeros((thresholds, 0), dtype=np.bool_)], [np.zeros((thresholds, 0), dtype=np.bool_)]
        for image, match in enumerate(each):
            if match is None:
                continue
            objects[image] = int(np.count_nonzero(np.asarray(match["gtIgnore"]) == 0))
            scores.append(np.asarray(match["dtScores"], dtype=np.float64))
            owners.append(np.full(len(match["dtScores"]), image))
            right.append(np.asarray(match["dtMatches"]).reshape(thresholds, -1) > 0)
            ignored.append(np.asarray(match["dtIgnore"]).reshape(thresholds, -1) > 0)
        order = np.argsort(-np.concatenate(scores), kind="mergesort")
        counted = ~np.concatenate(ignored, axis=1)[:, order]
        curves.append(
            _Curve(np.concatenate(owners)[order], np.concatenate(right, axis=1)[:, order] & counted, counted, objects)
        )
    return curves


def _means(curves: Sequence[_Curve], weights: Floats) -> tuple[Floats, Floats]:
    """Return mAP over COCO's ten thresholds and mAP at the first, 0.5, of each replicate; 0 where there is no object.

    Args:
        curves: Of each class.
        weights: How often each image counts, [replicates, images].
    """
    table = np.array([curve.precision(weights) for curve in curves])  # [classes, replicates, thresholds]
    present = ~np.isnan(table).any(axis=2)
    classes = np.maximum(present.sum(axis=0), 1)
    table = np.where(present[:, :, None], table, 0.0)
    return table.mean(axis=2).sum(axis=0) / classes, table[:, :, 0].sum(axis=0) / classes


def _once(images: int) -> Floats:
    """Return the weights of the pictures as they are, each once, [1, images]."""
    return np.ones((1, images))


def _draws(images: int) -> Floats:
    """Return how often each image is drawn in each replicate, [replicates, images]; equal for equal counts."""
    random = np.random.default_rng(_SEED)
    counts = [np.bincount(random.integers(images, size=images), minlength=images) for _ in range(_REPLICATES)]
    return np.asarray(counts, dtype=np.float64)


def _ends(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return float(low), float(high)


def _overlap(one: Floats, other: Floats) -> Floats:
    """Return the IoU of every pair of boxes, [n, m]."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:4], other[None, :, 2:4])
    both = np.maximum(high - low, 0).prod(axis=2)
    areas = [(boxes[:, 2:4] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None, :] - both
    return np.asarray(np.divide(both, union, out=np.zeros_like(both), where=union > 0))


class MeanPrecision:
    """COCO's mAP@[.5:.95].

    Answers are lists of `[x1, y1, x2, y2, score, class]`, targets lists of `[x1, y1, x2, y2, class, crowd]`, corners as
    shares of the picture's width and height.

    Args:
        classes: Names of the classes, in the order of their indices.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)

    def value(self, answers: Sequence[Any], targets: Sequence[Any]) -> float:
        """Return mAP@[.5:.95] alone."""
        return float(_means(_curves(answers, targets, len(self._classes)), _once(len(targets)))[0][0])

    def by_class(self, answers: Sequence[Any], targets: Sequence[Any]) -> dict[str, float]:
        """Return the average precision over COCO's thresholds of each class that has objects."""
        curves = _curves(answers, targets, len(self._classes))
        means = [float(curve.precision(_once(len(targets))).mean()) for curve in curves]
        return {name: mean for name, mean in zip(self._classes, means, strict=True) if not np.isnan(mean)}

    def quality(self, answers: Sequence[Any], targets: Sequence[Any]) -> Quantity:
        """Return mAP@[.5:.95] with a bootstrap interval over images; the method's phrase holds mAP@.5."""
        curves = _curves(answers, targets, len(self._classes))
        mean, half = (float(value[0]) for value in _means(curves, _once(len(targets))))
        low, high = _ends(_means(curves, _draws(len(targets)))[0])
        return Quantity(
            value=mean,
            unit="1",
            low=min(low, mean),
            high=max(high, mean),
            n=len(targets),
            confidence=_CONFIDENCE,
            provenance=Provenance.MEASURED,
            name="mAP",
            method=f"COCO mAP@[.5:.95] by pycocotools on {len(targets)} images, mAP@.5 {half:.3f}; "
            f"percentile bootstrap over images, {_REPLICATES} replicates",
        )

    def difference(self, answers: Sequence[Any], base: Sequence[Any], targets: Sequence[Any]) -> Interval:
        """Return the change of mAP@[.5:.95] from `base` to `answers`; both see the same draws of images."""
        mine, theirs = (_curves(side, targets, len(self._classes)) for side in (answers, base))
        once, draws = _once(len(targets)), _draws(len(targets))
        change = float((_means(mine, once)[0] - _means(theirs, once)[0])[0])
        low, high = _ends(_means(mine, draws)[0] - _means(theirs, draws)[0])
        return Interval(
            change,
            min(low, change),
            max(high, change),
            len(targets),
            _CONFIDENCE,
            f"paired percentile bootstrap over images, {_REPLICATES} replicates",
        )

    def same(self, one: Any, other: Any) -> bool:
        """Say whether two answers show the same objects.

        Above a score of 0.3 each detection of either has one of the other, of its class and with an IoU above 0.9;
        one that is within a hundredth of that score may be missing.
        """
        first, second = (np.asarray(side, dtype=np.float64).reshape(-1, 6) for side in (one, other))
        return _covered(first, second) and _covered(second, first)


def _covered(these: Floats, by: Floats) -> bool:
    these = these[these[:, 4] > _SURE + 0.01]
    by = by[by[:, 4] > _SURE - 0.01]
    pairs = (_overlap(these, by) > _SAME_IOU) & (these[:, None, 5] == by[None, :, 5])
    return bool(pairs.any(axis=1).all())
