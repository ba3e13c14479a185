"""Distillation: half the widths, the network's own channels to start from, and a control without the teacher."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from leptonbench.compression.distill import Distill
from leptonbench.compression.finetune import Course, train
from leptonbench.compression.student import halved, select_weights
from leptonbench.errors import NotApplicable, UsageError
from tests.unit.compression.conftest import SIDE, ColourLesson, Kit, accuracy, save_classifier


def test_every_width_is_halved_and_nothing_else() -> None:
    config = {
        "model_type": "parakeet_ctc",
        "vocab_size": 64,
        "encoder_config": {"hidden_size": 144, "num_attention_heads": 4, "num_hidden_layers": 8, "num_mel_bins": 80},
        "id2label": {"0": "channels"},
        "hidden_sizes": [64, 128],
        "depths": [2, 2],
        "width_coefficient": 1.0,
    }
    student = halved(config)
    assert student["encoder_config"] == {
        "hidden_size": 72,
        "num_attention_heads": 2,
        "num_hidden_layers": 8,
        "num_mel_bins": 80,
    }
    assert student["hidden_sizes"] == [32, 64]
    assert student["width_coefficient"] == 0.5
    unchanged = ("model_type", "vocab_size", "id2label", "depths")
    assert all(student[key] == config[key] for key in unchanged)


def test_a_configuration_without_widths_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="`odd` network cannot be built at half its width"):
        halved({"model_type": "odd", "layers": 3})


def test_a_student_starts_with_every_other_channel() -> None:
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 12, 1))
    student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 12, 1))
    teacher[1].running_mean.normal_()
    select_weights(student, teacher)
    assert torch.equal(student[0].weight, teacher[0].weight[::2])
    assert torch.equal(student[1].running_mean, teacher[1].running_mean[::2])
    assert torch.equal(student[2].weight, teacher[2].weight[:, ::2])
    assert torch.equal(student[2].bias, teacher[2].bias)


def test_a_student_is_narrower_and_learns(kit: Kit, tmp_path: Path) -> None:
    teacher = kit.network()
    train(teacher, kit.tuning(), Course("teacher", 40), say=lambda line: None)
    teacher.model.save_pretrained(tmp_path / "teacher")
    kit.folder = tmp_path / "teacher"
    (kit.folder / "preprocessor_config.json").write_text("{}")
    kit.score = accuracy
    student = Distill().apply(kit.network(), {"steps": 40}, kit.context())
    assert kit.notes["parameters_after"] < 0.35 * kit.notes["parameters_before"]
    assert student.model.config.hidden_sizes == [8, 16]
    assert kit.notes["config"]["hidden_sizes"] == [8, 16]
    assert kit.notes["quality_after_tuning"] == accuracy(student) > 0.7
    assert 0 <= kit.notes["quality_without_teacher"] <= 1
    assert kit.notes["start"] == "every other channel of the network's own weights"


def test_without_a_loss_of_the_task_there_is_no_control(kit: Kit) -> None:
    kit.lesson = ColourLesson(hard=False)
    kit.score = accuracy
    Distill().apply(kit.network(), {"steps": 2}, kit.context())
    assert "quality_without_teacher" not in kit.notes
    assert kit.notes["tuning"]["steps"] == 2


def test_another_teacher_is_used_and_told(kit: Kit, tmp_path: Path) -> None:
    larger = save_classifier(tmp_path / "larger", widths=(32, 64))
    Distill().apply(kit.network(), {"steps": 2, "teacher": str(larger)}, kit.context())
    assert kit.notes["teacher"] == str(larger)


def test_a_teacher_of_other_outputs_is_refused(kit: Kit, tmp_path: Path) -> None:
    other = save_classifier(tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    config["id2label"] = {str(index): f"c{index}" for index in range(5)}
    config["label2id"] = {name: int(index) for index, name in config["id2label"].items()}
    from transformers import ResNetConfig, ResNetForImageClassification

    ResNetForImageClassification(ResNetConfig(**config)).save_pretrained(other)
    with pytest.raises(UsageError, match="cannot teach this network") as raised:
        Distill().apply(kit.network(), {"steps": 2, "teacher": str(other)}, kit.context())
    assert "(2, 5)" in raised.value.cause and "(2, 3)" in raised.value.cause


def test_a_width_that_cannot_be_halved_is_not_applicable(kit: Kit) -> None:
    config = json.loads((kit.folder / "config.json").read_text())
    context = kit.context()
    broken = kit.root / "broken"
    broken.mkdir()
    (broken / "config.json").write_text(json.dumps({**config, "layer_type": "no such layer"}))
    from dataclasses import replace

    with pytest.raises(NotApplicable, match="cannot be built at half its width"):
        student = replace(context, source=broken, load_network=lambda f, w: context.load_network(_source(kit, f, w), w))
        Distill().apply(kit.network(), {"steps": 2}, student)


def _source(kit: Kit, folder: Path, weights: bool) -> Path:
    """Load the sound network where weights are asked for, and the broken student's folder else."""
    return kit.folder if weights else folder


def test_the_example_is_of_the_lesson(kit: Kit) -> None:
    student = Distill().apply(kit.network(), {"steps": 1}, kit.context())
    assert student(pixel_values=torch.zeros(1, 3, SIDE, SIDE))[0].shape == (1, 3)
