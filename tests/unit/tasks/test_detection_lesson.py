"""Lessons of the detection task: augmentation keeps boxes on their objects, losses fall where they should."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from leptonbench.tasks.base import Arrays
from leptonbench.tasks.detection_lesson import (
    DetectorLesson,
    centernet_distance,
    centernet_loss,
    centernet_targets,
    query_distance,
)
from tests.unit.tasks.detectors_factory import FAMILIES

SIDE = 64


class Squares:
    """Black pictures with one white rectangle each, and a crowd that teaches nothing."""

    identity = "squares"

    def __len__(self) -> int:
        return 6

    def raw(self, index: int) -> np.ndarray:
        picture = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        picture[8 : 24 + index, 20:60] = 255
        return picture

    def target(self, index: int) -> list[list[float]]:
        return [[20 / SIDE, 8 / SIDE, 60 / SIDE, (24 + index) / SIDE, 1, 0], [0, 0, 1, 1, 0, 1]]

    def duration_s(self, index: int) -> None:
        return None


def encode(raw: Any) -> Arrays:
    return {"pixel_values": (raw.transpose(2, 0, 1)[None] / 255).astype(np.float32)}


def lesson(*, centernet: bool = True, turn: bool = True) -> DetectorLesson:
    return DetectorLesson(Squares(), encode, classes=2, centernet=centernet, turn=turn)


@pytest.mark.parametrize("turn", [True, False])
def test_targets_stay_on_the_object_however_it_is_turned(turn: bool) -> None:
    seen = set()
    for batch in itertools.islice(lesson(turn=turn).batches(3), 6):
        for image, heat, size, offset in zip(
            batch.inputs["pixel_values"], *(batch.targets[name] for name in ("heat", "size", "offset")), strict=True
        ):
            rows, columns = torch.nonzero(image[0] > 0.5, as_tuple=True)
            middle = [(float(a.min()) + float(a.max()) + 1) / 2 for a in (columns, rows)]
            sides = [float(a.max() - a.min()) + 1 for a in (columns, rows)]
            assert heat[0].max() == 0  # the crowd
            row, column = divmod(int(heat[1].argmax()), SIDE // 4)
            assert heat[1, row, column] == 1
            found = [(column + float(offset[0, row, column])) * 4, (row + float(offset[1, row, column])) * 4]
            assert found == pytest.approx(middle, abs=1e-4)
            assert (torch.exp(size[:, row, column]) * 32).tolist() == pytest.approx(sides, rel=1e-4)
            seen.add((round(middle[0]), sides[0] > sides[1]))
    assert any(not wide for _, wide in seen) is turn
    assert len({middle for middle, _ in seen}) > 1


def test_batches_follow_the_seed_and_see_every_picture() -> None:
    first, again, other = (next(lesson().batches(seed)).inputs["pixel_values"] for seed in (1, 1, 2))
    torch.testing.assert_close(first, again)
    assert not torch.equal(first, other)
    heights = [float((image[0] > 0.5).sum()) for image in first[:6]]
    assert len(set(heights)) == 6


def exact(targets: dict[str, Tensor], *, sure: float = 9.0) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs that say what the targets say."""
    heat = targets["heat"].clamp(1e-6, 1 - 1e-6)
    return torch.logit(heat).clamp(-sure, sure), targets["size"].clone(), targets["offset"].clone()


def test_the_loss_falls_with_every_part_that_gets_better() -> None:
    targets = next(lesson().batches(0)).targets
    best = centernet_loss(exact(targets), targets)
    assert best < 0.2
    for part, wrong in ((0, 3.0), (1, 0.3), (2, 0.3)):
        outputs = list(exact(targets))
        outputs[part] = outputs[part] + wrong
        assert centernet_loss(tuple(outputs), targets) > best + 0.1


def test_no_objects_are_no_division_by_nothing() -> None:
    maps = centernet_targets(np.zeros((0, 5), dtype=np.float32), classes=2, side=SIDE)
    targets = {name: torch.from_numpy(value)[None] for name, value in maps.items()}
    outputs = tuple(torch.full_like(targets[name], -3.0) for name in ("heat", "size", "offset"))
    assert torch.isfinite(centernet_loss(outputs, targets))


def test_a_network_learns_a_few_pictures() -> None:
    torch.manual_seed(0)
    model = FAMILIES["centernet"](("a", "b")).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    taught, losses = lesson(turn=False), []
    for batch in itertools.islice(taught.batches(0), 40):
        loss = taught.loss(model(batch.inputs["pixel_values"]), batch)
        assert loss is not None
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])


def test_the_distance_is_nothing_to_itself_and_grows() -> None:
    targets = next(lesson().batches(0)).targets
    teacher = exact(targets)
    assert centernet_distance(teacher, teacher, temperature=2.0) == pytest.approx(0, abs=1e-5)
    for part in range(3):
        near, far = list(teacher), list(teacher)
        near[part], far[part] = teacher[part] + 0.1, teacher[part] + 0.5
        first, second = (centernet_distance(tuple(side), teacher, temperature=2.0) for side in (near, far))
        assert 0 < first < second


def test_empty_cells_boxes_do_not_count_in_the_distance() -> None:
    targets = next(lesson().batches(0)).targets
    teacher = exact(targets, sure=30.0)
    empty = targets["heat"].amax(1, keepdim=True) == 0
    moved = teacher[1] + 5.0 * empty
    assert centernet_distance((teacher[0], moved, teacher[2]), teacher, temperature=1.0) < 0.05


def test_other_networks_learn_from_a_teacher_only() -> None:
    taught = lesson(centernet=False)
    batch = next(taught.batches(0))
    assert batch.targets == {}
    torch.manual_seed(0)
    teacher = torch.randn(2, 7, 3), torch.rand(2, 7, 4)
    assert taught.loss(teacher, batch) is None
    assert taught.distance(teacher, teacher, temperature=3.0) == pytest.approx(0, abs=1e-6)
    for part in range(2):
        outputs = list(teacher)
        outputs[part] = outputs[part] * 0.5
        assert query_distance(tuple(outputs), teacher, temperature=3.0) > 1e-3
