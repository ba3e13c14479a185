"""Decoding: what a network was taught comes back, and other families read as their own processors read them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from leptonbench.tasks.detection_decode import decode_centernet, decode_queries
from leptonbench.tasks.detection_lesson import centernet_targets

BOXES = np.array(
    [[10, 20, 110, 90, 0], [30, 40, 62, 60, 2], [200, 200, 320, 320, 1], [204, 150, 216, 170, 2], [0, 250, 40, 300, 0]],
    dtype=np.float32,
)


def _maps(boxes: np.ndarray, side: int = 320) -> list[np.ndarray]:
    maps = centernet_targets(boxes, classes=3, side=side)
    heat = np.clip(maps["heat"], 1e-6, 1 - 1e-6)
    return [np.log(heat / (1 - heat))[None], maps["size"][None], maps["offset"][None]]


def test_centernet_gives_back_what_it_was_taught() -> None:
    (found,) = decode_centernet(_maps(BOXES))
    assert len(found) == len(BOXES)
    for box in BOXES:
        closest = min(found, key=lambda row: np.abs(np.array(row[:4]) * 320 - box[:4]).sum())
        np.testing.assert_allclose(np.array(closest[:4]) * 320, box[:4], atol=0.01)
        assert closest[5] == box[4]
        assert closest[4] > 0.99


def test_objects_with_one_middle_keep_their_own_boxes() -> None:
    boxes = np.array([[100, 100, 200, 200, 0], [146, 143, 164, 161, 1]], dtype=np.float32)
    (found,) = decode_centernet(_maps(boxes))
    sides = sorted(round((row[2] - row[0]) * 320) for row in found)
    assert sides == [18, 100]


def test_pictures_of_a_batch_do_not_mix() -> None:
    maps = [np.concatenate(pair) for pair in zip(_maps(BOXES[:2]), _maps(BOXES[2:]), strict=True)]
    assert decode_centernet(maps) == [*decode_centernet(_maps(BOXES[:2])), *decode_centernet(_maps(BOXES[2:]))]


def test_a_plateau_of_heat_is_not_missed_and_the_faint_is_left_out() -> None:
    heat = np.full((1, 1, 8, 8), -9.0, dtype=np.float32)
    heat[0, 0, 2, 2] = heat[0, 0, 2, 3] = 3.0
    flat = np.zeros((1, 2, 8, 8), dtype=np.float32)
    (found,) = decode_centernet([heat, flat, flat])
    assert [row[4] for row in found] == [pytest.approx(0.95257), pytest.approx(0.95257)]


def test_at_most_a_hundred_come_back_best_first() -> None:
    random = np.random.default_rng(0)
    outputs = [random.normal(0, 2, (2, channels, 40, 40)).astype(np.float32) for channels in (3, 2, 2)]
    for found in decode_centernet(outputs):
        assert len(found) == 100
        scores = [row[4] for row in found]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= value <= 1 for row in found for value in row[:5])
        assert all(isinstance(row[5], int) for row in found)


def _theirs(name: str, logits: np.ndarray, boxes: np.ndarray) -> list[dict[str, Any]]:
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        processor = getattr(transformers, name)()
    outputs = type("Outputs", (), {"logits": torch.from_numpy(logits), "pred_boxes": torch.from_numpy(boxes)})
    sizes = torch.tensor([[1, 1]] * len(logits))  # boxes as shares of the picture
    found: list[dict[str, Any]] = processor.post_process_object_detection(outputs, threshold=0.01, target_sizes=sizes)
    return found


@pytest.mark.parametrize(
    ("processor", "scores", "queries"),
    [
        ("DetrImageProcessorPil", "softmax", 40),
        ("YolosImageProcessorPil", "softmax", 40),
        ("ConditionalDetrImageProcessorPil", "sigmoid", 120),
        ("DeformableDetrImageProcessorPil", "sigmoid", 120),
        ("RTDetrImageProcessorPil", "sigmoid", 60),  # D-FINE's, too
    ],
)
def test_set_predictors_read_as_their_own_processor_reads_them(processor: str, scores: Any, queries: int) -> None:
    random = np.random.default_rng(1)
    classes = 5 + (scores == "softmax")
    logits = random.normal(-1, 2, (3, queries, classes)).astype(np.float32)
    # Inside the picture: processors let boxes stick out, we cut them at the edge.
    boxes = random.uniform([0.3, 0.3, 0.1, 0.1], [0.7, 0.7, 0.5, 0.5], (3, queries, 4)).astype(np.float32)
    ours = decode_queries([logits, boxes], scores=scores)
    for mine, theirs in zip(ours, _theirs(processor, logits, boxes), strict=True):
        order = np.argsort(-theirs["scores"].numpy(), kind="stable")
        assert len(mine) == len(order) > 10
        rows = np.array(mine)
        np.testing.assert_allclose(rows[:, 4], theirs["scores"].numpy()[order], atol=1e-5)
        np.testing.assert_array_equal(rows[:, 5], theirs["labels"].numpy()[order])
        np.testing.assert_allclose(rows[:, :4], theirs["boxes"].numpy()[order], atol=1e-5)


def test_extreme_logits_overflow_nowhere() -> None:
    logits = np.array([[[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]]], dtype=np.float32)
    boxes = np.full((1, 2, 4), 0.5, dtype=np.float32)
    for scores in ("softmax", "sigmoid"):
        (found,) = decode_queries([logits, boxes], scores=scores)  # type: ignore[arg-type]
        assert found[0][4] == 1.0
