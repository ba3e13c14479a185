"""The inspection task: its samples, its networks, its metric and its lessons."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from leptonbench.errors import UsageError
from leptonbench.schema import DataSpec
from leptonbench.tasks import Split, TaskSetup, surface
from leptonbench.tasks.images import ImageFolder
from leptonbench.tasks.inspection import InspectionTask, SurfaceSamples
from leptonbench.tasks.top1 import Top1
from tests.tiny import CLASSES, SIZE, make_images

DATA = DataSpec(seed=4, calibration=6, evaluation=12)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTONBENCH_CACHE", str(tmp_path / "cache"))


def _save_network(folder: Path, classes: tuple[str, ...] = CLASSES, *, weights: bool = True) -> Path:
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    labels = dict(enumerate(classes))
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8],
        depths=[1],
        layer_type="basic",
        id2label=labels,
        label2id={name: index for index, name in labels.items()},
    )
    if weights:
        ResNetForImageClassification(config).save_pretrained(folder)
    else:
        config.save_pretrained(folder)
    processing = {"size": {"height": SIZE, "width": SIZE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processing))
    return folder


def _task(tmp_path: Path) -> InspectionTask:
    """Return the task on a user's small images and a model's pre-processing."""
    model = _save_network(tmp_path / "model")
    return InspectionTask(TaskSetup(model, DATA, own=make_images(tmp_path / "images")))


def test_splits_are_made_once_disjoint_and_named_by_what_they_are() -> None:
    task = InspectionTask(TaskSetup(None, DATA))
    calibration, evaluation = task.samples(Split.CALIBRATION), task.samples(Split.EVALUATION)
    assert (len(calibration), len(evaluation)) == (6, 12)
    assert task.samples(Split.CALIBRATION) is calibration
    first = {calibration.raw(index).tobytes() for index in range(6)}
    assert not first & {evaluation.raw(index).tobytes() for index in range(12)}
    others = [InspectionTask(TaskSetup(None, DATA.model_copy(update={"seed": 5}))), task]
    assert len({t.samples(Split.CALIBRATION).identity for t in others} | {evaluation.identity}) == 3
    assert evaluation.identity == SurfaceSamples(4, Split.EVALUATION, 12).identity
    assert evaluation.duration_s(0) is None


def test_a_users_files_are_named_by_their_bytes_and_classes(tmp_path: Path) -> None:
    images = make_images(tmp_path / "images")
    before = ImageFolder(images, Split.EVALUATION, limit=100)
    assert before.identity == ImageFolder(images, Split.EVALUATION, limit=100).identity
    assert before.identity != ImageFolder(images, Split.CALIBRATION, limit=100).identity
    path = before.files[0][0]
    path.write_bytes(path.read_bytes() + b"\0")
    assert ImageFolder(images, Split.EVALUATION, limit=100).identity != before.identity
    (images / "blue").rename(images / "yellow")
    renamed = ImageFolder(images, Split.EVALUATION, limit=100)
    assert renamed.classes != before.classes


def test_a_users_folder_has_no_training_split(tmp_path: Path) -> None:
    task = _task(tmp_path)
    with pytest.raises(ValueError, match="learn from its calibration split"):
        task.samples(Split.TRAIN)
    with pytest.raises(ValueError, match="teaches by its calibration split"):
        task.lesson(Split.TRAIN)


def test_a_network_answers_what_is_encoded(tmp_path: Path) -> None:
    task = _task(tmp_path)
    network = task.load_network(tmp_path / "model")
    sample = task.encode(task.samples(Split.EVALUATION).raw(0))
    assert sample["pixel_values"].shape == (1, 3, SIZE, SIZE)
    outputs = network(**{name: torch.from_numpy(array) for name, array in sample.items()})
    assert network.output_names == ("logits",)
    assert task.decode([output.numpy() for output in outputs]) == [int(outputs[0].argmax())]
    assert not network.training
    assert all(name.startswith("model.") for name in network.state_dict())


def test_a_network_is_built_from_its_configuration_alone(tmp_path: Path) -> None:
    task = _task(tmp_path)
    bare = _save_network(tmp_path / "bare", weights=False)
    built = task.load_network(bare, weights=False)
    assert {n: t.shape for n, t in built.state_dict().items()} == {
        n: t.shape for n, t in task.load_network(tmp_path / "model").state_dict().items()
    }
    with pytest.raises(UsageError, match="cannot load .* as an image classifier") as raised:
        task.load_network(bare)
    assert raised.value.cause and raised.value.hint


def test_a_model_of_other_classes_is_refused(tmp_path: Path) -> None:
    task = _task(tmp_path)
    other = _save_network(tmp_path / "other", ("blue", "green", "violet"))
    with pytest.raises(UsageError, match="classes are not those of the data") as raised:
        task.load_network(other)
    assert "violet" in raised.value.cause and "red" in raised.value.cause
    louder = _save_network(tmp_path / "louder", ("Blue", "GREEN", "red"))
    task.load_network(louder)


def test_a_model_without_names_of_classes_has_as_many_as_the_data(tmp_path: Path) -> None:
    """transformers writes `LABEL_0` and so on for classes without names, and nothing at all for two of them."""
    task = _task(tmp_path)
    nameless = _save_network(tmp_path / "nameless", ("LABEL_0", "LABEL_1", "LABEL_2"))
    task.load_network(nameless)
    for folder, classes in ((tmp_path / "two", 2), (tmp_path / "four", 4)):
        other = _save_network(folder, tuple(f"LABEL_{index}" for index in range(classes)))
        assert ("id2label" in json.loads((other / "config.json").read_text())) is (classes != 2)
        with pytest.raises(UsageError, match="classes are not those of the data") as raised:
            task.load_network(other)
        assert f"model: {classes} without names; data: 3" in raised.value.cause


def test_an_onnx_file_of_another_count_of_logits_is_refused(tmp_path: Path) -> None:
    task = _task(tmp_path)
    for shapes in ([(None, 3)], [(None, 3, 1, 1)], [(None, None)], [("n", 3), (None, 512)]):
        task.check_outputs(shapes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="classes are not those of the data") as raised:
        task.check_outputs([(None, 7)])
    assert "7 logits" in raised.value.cause and "3 classes" in raised.value.cause
    with pytest.raises(UsageError, match="no output"):
        task.check_outputs([])


def test_the_metric_counts_and_pairs() -> None:
    metric = Top1()
    quality = metric.quality([1, 1, 2, 0], [1, 1, 2, 3])
    assert (quality.value, quality.n, quality.name) == (0.75, 4, "top-1")
    assert quality.low is not None and quality.low < 0.75 < (quality.high or 0)
    change = metric.difference([1, 1, 2, 0], [1, 0, 0, 3], [1, 1, 2, 3])
    assert change.value == 0.25
    assert change.low is not None and change.low < 0.25
    assert metric.same(1, np.int64(1)) and not metric.same(1, 2)
    with pytest.raises(ValueError, match="3 answers to 2 samples"):
        metric.quality([1, 2, 3], [1, 2])


def test_a_lesson_sees_each_image_once_before_any_again(tmp_path: Path) -> None:
    task = InspectionTask(TaskSetup(None, DataSpec(seed=4, calibration=32, evaluation=1)))
    lesson = task.lesson(Split.CALIBRATION)
    batches = lesson.batches(0)
    first, second = next(batches), next(batches)
    samples = task.samples(Split.CALIBRATION)
    counts = np.bincount([samples.target(index) for index in range(32)], minlength=len(surface.CLASSES))
    labels = torch.cat([first.targets["labels"], second.targets["labels"]])
    assert torch.bincount(labels, minlength=len(surface.CLASSES)).tolist() == counts.tolist()
    assert first.inputs["pixel_values"].shape == (16, 3, 224, 224)
    again = next(lesson.batches(0))
    assert torch.equal(again.inputs["pixel_values"], first.inputs["pixel_values"])
    assert not torch.equal(next(lesson.batches(1)).inputs["pixel_values"], first.inputs["pixel_values"])


def test_a_users_images_are_mirrored_but_never_turned(tmp_path: Path) -> None:
    """An image whose top is bright keeps its bright top."""
    from PIL import Image

    picture = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    picture[: SIZE // 2] = 200
    for name in CLASSES:
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(30):
            picture[0, 0, 0] = index
            Image.fromarray(picture).save(tmp_path / "images" / name / f"{index}.png")
    task = InspectionTask(TaskSetup(_save_network(tmp_path / "model"), DATA, own=tmp_path / "images"))
    images = next(task.lesson(Split.CALIBRATION).batches(0)).inputs["pixel_values"]
    tops, bottoms = images[:, :, : SIZE // 2].mean(dim=(1, 2, 3)), images[:, :, SIZE // 2 :].mean(dim=(1, 2, 3))
    assert bool((tops > bottoms).all())


def test_the_distance_is_nothing_to_oneself_and_grows_with_disagreement(tmp_path: Path) -> None:
    lesson = _task(tmp_path).lesson(Split.CALIBRATION)
    sure, unsure, wrong = (torch.tensor([row]) for row in ([4.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 4.0, 0.0]))
    assert float(lesson.distance((sure,), (sure,), temperature=2.0)) == pytest.approx(0, abs=1e-6)
    near, far = (float(lesson.distance((other,), (sure,), temperature=2.0)) for other in (unsure, wrong))
    assert 0 < near < far
    soft = [float(lesson.distance((wrong,), (sure,), temperature=t)) / t**2 for t in (1.0, 4.0)]
    assert soft[1] < soft[0], "a temperature softens both"


def test_a_task_is_built_without_torch() -> None:
    code = (
        "import sys; from leptonbench.tasks import TASKS, TaskSetup; from leptonbench.schema import DataSpec; "
        "TASKS.get('inspection')(TaskSetup(None, DataSpec(seed=1, calibration=1, evaluation=1))); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)
