"""Pictures of machined parts: what a key decides, and what a box encloses."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from leptonbench.tasks import parts
from leptonbench.tasks.parts_marks import Mark
from leptonbench.tasks.parts_shapes import PARTS, STRAY
from leptonbench.tasks.surface_scene import Draws


def digest(picture: parts.Picture) -> str:
    return hashlib.sha256(picture[0].tobytes() + picture[1].tobytes()).hexdigest()[:16]


def test_a_picture_comes_with_boxes_inside_it() -> None:
    for index in range(12):
        image, boxes = parts.render(7, "evaluation", index)
        assert image.shape == (320, 320, 3)
        assert image.dtype == np.uint8
        assert boxes.dtype == np.float32
        assert boxes.shape[1:] == (5,)
        assert len(boxes) <= parts.MOST_OBJECTS
        assert (boxes[:, :4] >= 0).all()
        assert (boxes[:, :4] <= 320).all()
        assert (boxes[:, 2:4] - boxes[:, :2] >= 4).all()
        assert set(boxes[:, 4].astype(int)) <= set(range(len(parts.CLASSES)))


def test_every_class_is_common() -> None:
    kinds = np.concatenate([parts.render(3, "train", index)[1][:, 4] for index in range(60)]).astype(int)
    assert np.bincount(kinds, minlength=len(parts.CLASSES)).min() >= 15


def test_defects_are_smaller_than_parts_and_lie_on_one() -> None:
    for index in range(20):
        _, boxes = parts.render(5, "train", index)
        whole, harm = boxes[boxes[:, 4] < len(PARTS)], boxes[boxes[:, 4] >= len(PARTS)]
        for box in harm:
            inside = (whole[:, :2] <= box[:2]).all(axis=1) & (whole[:, 2:4] >= box[2:4]).all(axis=1)
            assert inside.any()


def test_a_picture_depends_on_its_key_alone() -> None:
    first = digest(parts.render(7, "evaluation", 11))
    parts.render(8, "train", 5)
    np.random.seed(1)
    assert digest(parts.render(7, "evaluation", 11)) == first


@pytest.mark.parametrize("key", [(8, "evaluation", 3), (7, "calibration", 3), (7, "evaluation", 4)])
def test_every_part_of_the_key_changes_the_picture(key: tuple[int, str, int]) -> None:
    reference, _ = parts.render(7, "evaluation", 3)
    other, _ = parts.render(*key)
    assert np.mean(reference != other) > 0.5


def test_splits_share_no_picture() -> None:
    digests = [
        digest(parts.render(7, split, index)) for split in ("train", "calibration", "evaluation") for index in range(10)
    ]
    assert len(set(digests)) == 30


def test_any_number_of_processes_gives_the_same_bytes() -> None:
    alone = parts.generate(7, "calibration", 20, processes=1)
    shared = parts.generate(7, "calibration", 20, processes=2)
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one, other)
    image, boxes = parts.render(7, "calibration", 19)
    np.testing.assert_array_equal(alone[0][19], image)
    np.testing.assert_array_equal(alone[1][19][: alone[2][19]], boxes)
    assert not alone[1][19][alone[2][19] :].any()


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1)])
def test_a_negative_key_is_refused(seed: int, index: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        parts.render(seed, "evaluation", index)


def test_a_part_that_is_partly_covered_is_boxed_by_what_shows() -> None:
    bench = parts._furnish(Draws(1, 2, 3))
    for kind, (row, column) in enumerate([(100, 100), (140, 140)], start=1):
        bench.owner[row : row + 60, column : column + 60] = kind
        bench.kinds.append(kind - 1)
    bench.owner[100:120, 90:200] = 2  # it covers the first one's upper third
    boxes = parts._boxes(bench)
    np.testing.assert_array_equal(boxes, [[100, 120, 160, 160, 0], [90, 100, 200, 200, 1]])


def test_a_piece_that_would_hide_another_is_not_laid() -> None:
    bench = parts._furnish(Draws(1, 2, 3))
    bench.owner[150:170, 150:170] = 1
    bench.kinds.append(0)
    bench.sizes.append(400)
    window = slice(140, 180)
    assert parts._hidden(bench, window, window, np.ones((40, 40), dtype=np.bool_))
    part = np.zeros((40, 40), dtype=np.bool_)
    part[:15] = True  # five of twenty rows: three quarters are left
    assert not parts._hidden(bench, window, window, part)


def test_a_mark_changes_the_light_of_its_owner_only() -> None:
    bench = parts._furnish(Draws(1, 2, 3))
    bench.owner[100:150] = 1
    before = bench.scene.planes.copy()
    window = slice(90, 110)
    mark = Mark(np.full((1, 20, 20), 0.5, dtype=np.float32), np.ones((20, 20), dtype=np.bool_))
    parts._apply(bench, mark, window, window, number=1)
    changed = (bench.scene.planes != before).any(axis=0)
    assert changed[100:110, 90:110].all()
    assert changed.sum() == 200


@pytest.mark.parametrize("shaper", [*PARTS.values(), *STRAY], ids=lambda shaper: shaper.__name__)
def test_a_shape_fits_its_radius_and_is_float32(shaper: parts.Shaper) -> None:
    axis = np.arange(-60, 61, dtype=np.float32)
    for seed in range(6):
        shape = shaper(Draws(seed), axis[None, :], axis[:, None], 40.0)
        assert shape.distance.dtype == shape.shade.dtype == np.float32
        rows, columns = np.nonzero(shape.distance < 0)
        assert 8 < max(np.abs(rows - 60).max(), np.abs(columns - 60).max()) <= 41


def test_the_generator_needs_no_heavy_library() -> None:
    heavy = "{'torch', 'scipy', 'sklearn', 'transformers'}"
    code = f"import sys, leptonbench.tasks.parts; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Raise GENERATOR_VERSION and train the model again when one of these has to change.
GOLDEN = {
    (0, "train", 0): "7d42698c5b716d46",
    (0, "calibration", 1): "6e65035256bb6232",
    (2025, "train", 4999): "43e29504b9ba862d",
    (2026, "evaluation", 0): "f627b687f2819210",
    (2026, "evaluation", 1): "85bb579940a191fd",
    (2026, "evaluation", 2): "473a5334bcbde0db",
    (2026, "evaluation", 3): "7cb72c52c9815b14",
    (2026, "evaluation", 499): "6c494fe3c1e7d87e",
}


@pytest.mark.parametrize("key", GOLDEN)
def test_the_bytes_are_those_of_this_version(key: tuple[int, str, int]) -> None:
    assert digest(parts.render(*key)) == GOLDEN[key]
