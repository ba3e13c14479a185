"""Folders that others made: models of transformers saved from a configuration, on a user's own data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from leptonbench.schema import CellRecord, Status
from leptonbench.store import RunStore
from tests.e2e.conftest import Bench
from tests.tiny import CLASSES, SIZE, make_images
from tests.unit.tasks.detectors_factory import save_detector
from tests.unit.tasks.speech_factory import make_wav2vec2, make_whisper

pytestmark = pytest.mark.slow

NAMES = ("bolt", "nut")
RATE_HZ = 16_000


def _vit(folder: Path) -> Path:
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=SIZE,
        patch_size=8,
        id2label=dict(enumerate(CLASSES)),
        label2id={name: index for index, name in enumerate(CLASSES)},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    processing = {"size": {"height": SIZE, "width": SIZE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processing), encoding="utf-8")
    return folder


def _coco(folder: Path, count: int = 10) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(count):
        Image.fromarray(random.integers(0, 255, (48, 96, 3), dtype=np.uint8)).save(folder / f"p{index}.png")
    document = {
        "images": [{"id": i, "file_name": f"p{i}.png", "width": 96, "height": 48} for i in range(count)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [12, 12, 48, 24]} for i in range(count)
        ],
        "categories": [{"id": 1 + i, "name": name} for i, name in enumerate(NAMES)],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _recordings(folder: Path, count: int = 10) -> Path:
    """Write tones of different lengths, one at another rate, and a manifest of them."""
    folder.mkdir()
    lines = []
    for index in range(count):
        rate_hz = 22_050 if index == 0 else RATE_HZ
        seconds = np.arange(int(rate_hz * (0.3 + 0.05 * index))) / rate_hz
        soundfile.write(folder / f"{index}.wav", 0.3 * np.sin(2 * np.pi * (200 + 40 * index) * seconds), rate_hz)
        lines.append(json.dumps({"audio": f"{index}.wav", "text": "stop line four"}))
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _inspection(root: Path) -> tuple[Path, Path]:
    return _vit(root / "model"), make_images(root / "data", each=5)


def _yolos(root: Path) -> tuple[Path, Path]:
    return save_detector(root / "model", "yolos", NAMES), _coco(root / "data")


def _wav2vec2(root: Path) -> tuple[Path, Path]:
    return make_wav2vec2(root / "model", "Wav2Vec2", "group"), _recordings(root / "data")


def _whisper(root: Path) -> tuple[Path, Path]:
    return make_whisper(root / "model"), _recordings(root / "data")


def _measured(ended_code: int, out: Path, errors: str) -> list[CellRecord]:
    assert ended_code == 0, errors
    with RunStore.open(out) as store:
        records = list(store.records())
    assert {record.status for record in records} == {Status.OK}, errors
    for record in records:
        assert record.metrics["latency_p50"].value and record.metrics["latency_p50"].value > 0
        assert record.metrics["quality"].value is not None
    return records


@pytest.mark.parametrize(
    ("workload", "make", "variants"),
    [
        ("inspection", _inspection, ("fp32", "int8-dynamic", "prune30-channel+int8-static")),
        ("detection", _yolos, ("fp32", "int8-dynamic", "share16")),
        ("speech", _wav2vec2, ("fp32", "int8-dynamic", "sparse-2:4")),
        ("speech", _whisper, ("fp32", "int8-dynamic", "int8-static")),
    ],
    ids=["vit", "yolos", "wav2vec2", "whisper"],
)
def test_a_folder_that_others_made_runs(
    bench: Bench,
    tmp_path: Path,
    workload: str,
    make: Callable[[Path], tuple[Path, Path]],
    variants: tuple[str, ...],
) -> None:
    model, data = make(tmp_path)
    out = tmp_path / "run"
    chosen = [word for name in variants for word in ("--variant", name)]
    ended = bench.call(
        *("run", "--workload", workload, "--model", model, "--data", data, *chosen, "--backend", "onnxruntime"),
        *("--scenario", "single-stream", "--duration", "0.2s", "--threads", "1", "--budget", "4m", "--out", out),
        cwd=tmp_path,
    )
    records = _measured(ended.code, out, ended.err)
    assert {record.cell.variant for record in records} == set(variants)
    if workload == "speech":
        assert all(record.metrics["real_time_factor"].value for record in records)


def test_torch_runs_what_onnxruntime_runs(bench: Bench, tmp_path: Path) -> None:
    """Both load what one export made; they answer alike."""
    model, data = _yolos(tmp_path)
    out = tmp_path / "run"
    ended = bench.call(
        *("run", "--workload", "detection", "--model", model, "--data", data, "--variant", "fp32"),
        *("--backend", "torch", "--backend", "onnxruntime", "--scenario", "single-stream"),
        *("--duration", "0.2s", "--threads", "1", "--out", out),
        cwd=tmp_path,
    )
    qualities = [record.metrics["quality"].value for record in _measured(ended.code, out, ended.err)]
    assert len(qualities) == 2
    assert qualities[0] == pytest.approx(qualities[1], abs=1e-3)
