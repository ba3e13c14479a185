"""COCO's mAP: pycocotools' own figure, and intervals that mean something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from leptonbench.tasks import coco
from leptonbench.tasks.coco import MeanPrecision

CLASSES = ("nut", "bolt", "gear")
Rows = list[list[list[float]]]


def make(images: int = 60, *, noise: float, seed: int = 0, crowds: bool = False) -> tuple[Rows, Rows]:
    """Return detections and objects: most found, some missed, some invented, boxes off by `noise`."""
    random = np.random.default_rng(seed)
    answers: Rows = []
    targets: Rows = []
    for _ in range(images):
        objects, found = [], []
        for _ in range(int(random.integers(0, 6))):
            x, y, w, h = random.uniform([0, 0, 0.1, 0.1], [0.7, 0.7, 0.3, 0.3])
            kind = int(random.integers(3))
            crowd = int(crowds and random.random() < 0.2)
            objects.append([x, y, x + w, y + h, kind, crowd])
            for _ in range(2 if crowd else int(random.random() < 0.85)):
                dx, dy = random.normal(0, noise, 2)
                kind = kind if random.random() < 0.9 else int(random.integers(3))
                found.append([x + dx, y + dy, x + dx + w, y + dy + h, float(random.uniform(0.2, 1)), kind])
        for _ in range(int(random.integers(0, 3))):
            x, y = random.uniform(0, 0.7, 2)
            found.append([x, y, x + 0.2, y + 0.2, float(random.uniform(0, 0.7)), int(random.integers(3))])
        answers.append(found)
        targets.append(objects)
    return answers, targets


def official(answers: Rows, targets: Rows, capsys: Any) -> tuple[float, float]:
    """Return mAP@[.5:.95] and mAP@.5 as pycocotools sums them up itself."""
    judge = coco.evaluate(answers, targets, len(CLASSES))
    assert capsys.readouterr().out == ""
    judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, 2]
    capsys.readouterr()
    return float(precision[precision > -1].mean()), float(precision[0][precision[0] > -1].mean())


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("crowds", [False, True])
def test_the_value_is_pycocotools_own(noise: float, crowds: bool, capsys: Any) -> None:
    answers, targets = make(noise=noise, crowds=crowds)
    metric = MeanPrecision(CLASSES)
    mean, half = official(answers, targets, capsys)
    assert metric.value(answers, targets) == pytest.approx(mean, abs=1e-9)
    quality = metric.quality(answers, targets)
    assert quality.value == pytest.approx(mean, abs=1e-9)
    assert quality.method is not None
    assert f"mAP@.5 {half:.3f}" in quality.method
    assert capsys.readouterr().out == ""


def test_weights_are_images_drawn_more_than_once() -> None:
    answers, targets = make(20, noise=0.03)
    metric = MeanPrecision(CLASSES)
    drawn = [0, 0, 3, 5, 5, 5, 9, 12, 13, 19]
    weights = np.bincount(drawn, minlength=20).astype(np.float64)
    weighted = coco._means(coco._curves(answers, targets, 3), np.array([np.ones(20), weights]))[0][1]
    copied = metric.value([answers[i] for i in drawn], [targets[i] for i in drawn])
    # Copies of an image tie in score; pycocotools walks tied detections one by one and the weights at once.
    assert weighted == pytest.approx(copied, abs=0.02)


def test_perfect_detections_score_one_and_none_score_zero() -> None:
    _, targets = make(noise=0)
    perfect = [[[*row[:4], 0.9, row[4]] for row in rows] for rows in targets]
    metric = MeanPrecision(CLASSES)
    assert metric.value(perfect, targets) == pytest.approx(1)
    quality = metric.quality([[] for _ in targets], targets)
    assert (quality.value, quality.low, quality.high) == (0, 0, 0)


def test_a_class_without_objects_does_not_count() -> None:
    targets: Rows = [[[0.1, 0.1, 0.5, 0.5, 0, 0]], [[0.2, 0.1, 0.5, 0.5, 0, 0]]]
    answers: Rows = [[[0.1, 0.1, 0.5, 0.5, 0.9, 0], [0.0, 0.0, 0.2, 0.2, 0.9, 2]], [[0.2, 0.1, 0.5, 0.5, 0.8, 0]]]
    assert MeanPrecision(CLASSES).value(answers, targets) == pytest.approx(1)
    assert list(MeanPrecision(CLASSES).by_class(answers, targets)) == ["nut"]


def test_the_interval_holds_the_value_and_narrows_with_more_images() -> None:
    widths = []
    for images in (40, 400):
        quality = MeanPrecision(CLASSES).quality(*make(images, noise=0.03))
        assert quality.low is not None and quality.high is not None and quality.value is not None
        assert quality.low <= quality.value <= quality.high
        assert quality.name == "mAP"
        assert quality.n == images
        widths.append(quality.high - quality.low)
    assert widths[1] < 0.6 * widths[0]


def test_the_interval_is_the_same_every_time() -> None:
    answers, targets = make(40, noise=0.03)
    assert MeanPrecision(CLASSES).quality(answers, targets) == MeanPrecision(CLASSES).quality(answers, targets)


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    metric = MeanPrecision(CLASSES)
    base, targets = make(120, noise=0.03)
    random = np.random.default_rng(4)
    moved = [[[*(row[:4] + random.normal(0, 0.004, 4)), *row[4:]] for row in map(np.asarray, rows)] for rows in base]
    change = metric.difference(moved, base, targets)
    assert change.value == pytest.approx(metric.value(moved, targets) - metric.value(base, targets))
    assert change.low is not None and change.high is not None
    whole = metric.quality(base, targets)
    assert whole.low is not None and whole.high is not None
    assert change.high - change.low < 0.5 * (whole.high - whole.low)
    nothing = metric.difference(base, base, targets)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)


BOX = [0.2, 0.2, 0.6, 0.6]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([[*BOX, 0.9, 1]], [[*BOX, 0.8, 1]], True),
        ([[*BOX, 0.9, 1]], [[0.201, 0.2, 0.601, 0.6, 0.9, 1]], True),
        ([[*BOX, 0.9, 1]], [[*BOX, 0.9, 2]], False),
        ([[*BOX, 0.9, 1]], [[0.25, 0.2, 0.65, 0.6, 0.9, 1]], False),
        ([[*BOX, 0.9, 1]], [], False),
        ([], [[*BOX, 0.9, 1]], False),
        ([], [], True),
        ([[*BOX, 0.2, 1]], [], True),
        ([[*BOX, 0.305, 1]], [[*BOX, 0.295, 1]], True),
        ([[*BOX, 0.9, 1]], [[*BOX, 0.2, 1]], False),
    ],
)
def test_answers_are_the_same_when_they_show_the_same(one: Rows, other: Rows, same: bool) -> None:
    assert MeanPrecision(CLASSES).same(one, other) is same
