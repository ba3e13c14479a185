"""What is asked of a Hugging Face folder: every weight of the network that its configuration describes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from leptonbench.errors import UsageError
from leptonbench.schema import DataSpec
from leptonbench.tasks import TaskSetup
from leptonbench.tasks.inspection import InspectionTask
from leptonbench.tasks.speech import SpeechTask
from tests.unit.tasks.speech_factory import make_wav2vec2, make_whisper

DATA = DataSpec(seed=1, calibration=1, evaluation=1)


def _drop(folder: Path, name: str) -> Path:
    """Take one tensor out of a folder's weights."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _backbone(folder: Path) -> Path:
    """Save a ResNet without its head."""
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")
    ResNetModel(config).save_pretrained(folder)
    return folder


def _encoder(folder: Path) -> Path:
    """Save a Wav2Vec2 without its head."""
    from transformers import Wav2Vec2ForCTC

    make_wav2vec2(folder, "Wav2Vec2", "group")
    Wav2Vec2ForCTC.from_pretrained(folder).wav2vec2.save_pretrained(folder)
    return folder


def _half_a_whisper(folder: Path) -> Path:
    return _drop(make_whisper(folder), "model.decoder.layers.0.fc1.weight")


@pytest.mark.parametrize(
    ("make", "task", "missing"),
    [
        (_backbone, InspectionTask, "classifier.1.bias"),
        (_encoder, SpeechTask, "lm_head.bias"),
        (_half_a_whisper, SpeechTask, "model.decoder.layers.0.fc1.weight"),
    ],
)
def test_what_is_missing_is_not_drawn_at_random(
    make: Callable[[Path], Path],
    task: type[InspectionTask] | type[SpeechTask],
    missing: str,
    tmp_path: Path,
) -> None:
    folder = make(tmp_path / "model")
    with pytest.raises(UsageError, match="not those of the network in its config.json") as raised:
        task(TaskSetup(folder, DATA)).load_network(folder)
    assert f"tensors are missing, `{missing}` first" in raised.value.cause
    assert "with its head" in raised.value.hint


def test_what_only_training_reads_may_be_missing(tmp_path: Path) -> None:
    folder = _drop(make_wav2vec2(tmp_path / "model", "Wav2Vec2", "layer"), "wav2vec2.masked_spec_embed")
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["Wav2Vec2ForCTC"]
    SpeechTask(TaskSetup(folder, DATA)).load_network(folder)
