"""The detection task: its samples, its networks, what it refuses and how it teaches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from leptonbench.errors import UsageError
from leptonbench.schema import DataSpec
from leptonbench.tasks import Split
from leptonbench.tasks.base import TaskSetup
from leptonbench.tasks.detection import DetectionTask
from leptonbench.tasks.parts import CLASSES
from tests.unit.tasks.detectors_factory import FAMILIES, SIDE, save_detector

DATA = DataSpec(seed=1, calibration=3, evaluation=4)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTONBENCH_CACHE", str(tmp_path / "cache"))


def own(folder: Path, *, names: tuple[str, ...] = ("nut", "bolt"), count: int = 10) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(count):
        pixels = random.integers(0, 255, (48, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"p{index}.png")
    document = {
        "images": [{"id": i, "file_name": f"p{i}.png", "width": 96, "height": 48} for i in range(count)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1 + i % len(names), "bbox": [12, 12, 48, 24]} for i in range(count)
        ],
        "categories": [{"id": 1 + i, "name": name} for i, name in enumerate(names)],
    }
    (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_its_own_samples_are_cached_pictures_with_relative_boxes() -> None:
    task = DetectionTask(TaskSetup(None, DATA))
    samples = task.samples(Split.EVALUATION)
    assert len(samples) == 4
    assert samples.raw(0).shape == (320, 320, 3)
    assert samples.duration_s(0) is None
    for index in range(4):
        rows = samples.target(index)
        assert json.loads(json.dumps(rows)) == rows
        assert all(0 <= value <= 1 for row in rows for value in row[:4])
    identities = {task.samples(split).identity for split in (Split.CALIBRATION, Split.EVALUATION)}
    assert len(identities) == 2
    again = DetectionTask(TaskSetup(None, DATA)).samples(Split.EVALUATION)
    assert again.target(3) == samples.target(3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON object"),
        ("[1, 2]", "is no JSON object"),
        ('{"image_size": "wide"}', "cannot read the size"),
        ('{"image_size": {"width": 3}}', "cannot read the size"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said) as caught:
        DetectionTask(TaskSetup(tmp_path, DATA))
    assert "config.json" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_of_any_family_answers(tmp_path: Path, family: str) -> None:
    folder = save_detector(tmp_path / "model", family, CLASSES)
    task = DetectionTask(TaskSetup(folder, DATA))
    network = task.load_network(folder)
    inputs = task.encode(np.full((50, 70, 3), 90, dtype=np.uint8))
    assert inputs["pixel_values"].shape == (1, 3, SIDE, SIDE)
    both = torch.from_numpy(np.concatenate([inputs["pixel_values"]] * 2))
    with torch.no_grad():
        outputs = network(pixel_values=both)
    assert len(outputs) == len(network.output_names)
    task.check_outputs([tuple(output.shape) for output in outputs])
    task.check_outputs([(None, *output.shape[1:]) for output in outputs])
    answers = task.decode([output.numpy() for output in outputs])
    assert len(answers) == 2
    assert answers[0] == answers[1]
    assert json.loads(json.dumps(answers)) == answers
    assert all(0 <= row[5] < len(CLASSES) for row in answers[0])
    assert len(list(task.load_network(folder, weights=False).parameters())) == len(list(network.parameters()))


def test_weights_survive_being_saved(tmp_path: Path) -> None:
    folder = save_detector(tmp_path / "model", "centernet", CLASSES)
    task = DetectionTask(TaskSetup(folder, DATA))
    torch.manual_seed(0)
    fresh = FAMILIES["centernet"](CLASSES).eval()
    pixels = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        for one, other in zip(task.load_network(folder)(pixel_values=pixels), fresh(pixels), strict=True):
            torch.testing.assert_close(one, other)


def test_boxes_given_before_logits_are_understood() -> None:
    task = DetectionTask(TaskSetup(None, DATA))
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (2, 20, len(CLASSES) + 1)).astype(np.float32)
    boxes = random.uniform(0.2, 0.6, (2, 20, 4)).astype(np.float32)
    assert task.decode([boxes, logits]) == task.decode([logits, boxes])
    task.check_outputs([boxes.shape, logits.shape])


@pytest.mark.parametrize(
    "shapes",
    [
        [],
        [(None, 8)],
        [(1, 100, 8)],
        [(1, 100, 91), (1, 100, 4)],
        [(1, 100, 8), (1, 100, 5)],
        [(None, 7, 80, 80), (None, 2, 80, 80), (None, 2, 80, 80)],
        [(None, 8, 80, 80), (None, 2, 80, 80)],
    ],
)
def test_other_outputs_are_refused_with_what_was_found(shapes: list[tuple[int | None, ...]]) -> None:
    with pytest.raises(UsageError, match="cannot be read as detections") as caught:
        DetectionTask(TaskSetup(None, DATA)).check_outputs(shapes)
    assert "washer" in caught.value.cause
    assert "logits" in caught.value.hint


def test_other_classes_are_refused_with_both(tmp_path: Path) -> None:
    folder = save_detector(tmp_path / "model", "centernet", ("cat", "dog"))
    with pytest.raises(UsageError, match="(?s)not those of the data.*cat, dog.*washer, nut"):
        DetectionTask(TaskSetup(folder, DATA)).load_network(folder)


def test_classes_without_names_are_the_datas_when_as_many(tmp_path: Path) -> None:
    unnamed = tuple(f"LABEL_{index}" for index in range(len(CLASSES)))
    folder = save_detector(tmp_path / "model", "centernet", unnamed)
    assert DetectionTask(TaskSetup(folder, DATA)).load_network(folder).output_names == ("heat", "size", "offset")
    fewer = save_detector(tmp_path / "fewer", "centernet", unnamed[:3])
    with pytest.raises(UsageError, match="3 without names"):
        DetectionTask(TaskSetup(fewer, DATA)).load_network(fewer)


def test_a_folder_without_weights_or_sense_is_refused(tmp_path: Path) -> None:
    folder = save_detector(tmp_path / "model", "centernet", CLASSES)
    task = DetectionTask(TaskSetup(folder, DATA))
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="cannot load"):
        task.load_network(folder)
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(UsageError, match="cannot load"):
        DetectionTask(TaskSetup(folder, DATA)).load_network(folder)


def test_missing_weights_are_not_drawn_at_random(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_detector(tmp_path / "model", "centernet", CLASSES)
    weights = load_file(folder / "model.safetensors")
    del weights["heat.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match="(?s)1 tensors are missing, `heat.weight`"):
        DetectionTask(TaskSetup(folder, DATA)).load_network(folder)


def test_a_users_pictures_are_scored_in_the_models_classes(tmp_path: Path) -> None:
    folder = save_detector(tmp_path / "model", "yolos", ("Bolt", "gear", "Nut"))
    task = DetectionTask(TaskSetup(folder, DATA, own=own(tmp_path / "own")))
    assert task.classes == ("Bolt", "gear", "Nut")
    task.load_network(folder)
    samples = task.samples(Split.EVALUATION)
    assert len(samples) == 4
    targets = [samples.target(index) for index in range(4)]
    assert {row[4] for rows in targets for row in rows} == {0, 2}
    perfect = [[[*row[:4], 0.9, row[4]] for row in rows] for rows in targets]
    assert task.metric.quality(perfect, targets).value == pytest.approx(1)
    with pytest.raises(ValueError, match="calibration split"):
        task.samples(Split.TRAIN)
    with pytest.raises(ValueError, match="calibration split only"):
        task.lesson(Split.TRAIN)


def test_pre_processing_follows_the_folder(tmp_path: Path) -> None:
    picture = np.full((30, 60, 3), 255, dtype=np.uint8)

    def encoded(**config: Any) -> np.ndarray:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(config), encoding="utf-8")
        result: np.ndarray = DetectionTask(TaskSetup(tmp_path, DATA)).encode(picture)["pixel_values"]
        return result

    assert encoded(size={"height": 40, "width": 80}, do_normalize=False).shape == (1, 3, 40, 80)
    np.testing.assert_array_equal(encoded(size=32, do_normalize=False), 1.0)
    np.testing.assert_allclose(encoded(size=32, image_mean=[0.5] * 3, image_std=[0.25] * 3), 2.0)
    np.testing.assert_array_equal(encoded(size=32, do_normalize=False, do_rescale=False), 255.0)
    assert encoded(size={"shortest_edge": 800, "longest_edge": 1333}).shape == (1, 3, 800, 800)
    with pytest.raises(UsageError, match="cannot read the pre-processing"):
        encoded(size={"diagonal": 3})


def test_without_pre_processing_the_configuration_states_the_size(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"image_size": [64, 96]}', encoding="utf-8")
    picture = np.zeros((30, 60, 3), dtype=np.uint8)
    assert DetectionTask(TaskSetup(tmp_path, DATA)).encode(picture)["pixel_values"].shape == (1, 3, 64, 96)
    assert DetectionTask(TaskSetup(None, DATA)).encode(picture)["pixel_values"].shape == (1, 3, 640, 640)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_an_export_holds_for_any_batch(tmp_path: Path, family: str) -> None:
    from leptonbench.compression.export import export_program

    folder = save_detector(tmp_path / "model", family, CLASSES)
    task = DetectionTask(TaskSetup(folder, DATA))
    network = task.load_network(folder)
    export_program(network, task.encode(np.zeros((SIDE, SIDE, 3), dtype=np.uint8)), path=tmp_path / "model.pt2")
    exported = torch.export.load(tmp_path / "model.pt2").module()
    torch.manual_seed(0)
    for batch in (1, 3):
        pixels = torch.rand(batch, 3, SIDE, SIDE)
        with torch.no_grad():
            for one, other in zip(exported(pixel_values=pixels), network(pixel_values=pixels), strict=True):
                assert one.shape[0] == batch
                torch.testing.assert_close(one, other)
