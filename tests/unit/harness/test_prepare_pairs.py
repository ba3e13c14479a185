"""Models of two graphs, an encoder and a decoder driven in a loop: both become artifacts, neither alone has answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from leptonbench import catalog
from leptonbench.harness.jobs import PrepareJob, PrepareTarget, TaskRef
from leptonbench.harness.prepare import prepare
from leptonbench.schema import DataSpec
from tests.unit.tasks.speech_factory import make_whisper

pytestmark = pytest.mark.slow


def _recordings(folder: Path) -> Path:
    folder.mkdir()
    lines = []
    for index in range(5):
        soundfile.write(folder / f"{index}.wav", 0.1 * np.sin(np.arange(4800) * (index + 1) / 20), 16_000)
        lines.append(json.dumps({"audio": f"{index}.wav", "text": "stop line four"}))
    (folder / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_both_graphs_are_judged_by_their_outputs(tmp_path: Path) -> None:
    model = make_whisper(tmp_path / "model")
    reference = TaskRef(
        name="speech",
        model_dir=str(model),
        data=DataSpec(seed=1, calibration=4, evaluation=4),
        own=str(_recordings(tmp_path / "data")),
    )
    target = PrepareTarget(variant=catalog.load_variant("int8-static"), format="onnx")
    job = PrepareJob(model=str(model), base=None, task=reference, targets=(target,), cache=str(tmp_path / "cache"))
    result = prepare(job, lambda _: None)
    assert result.failures == {}
    made = result.artifacts["int8-static|onnx"]
    assert made.follower is not None
    for graph in (made, made.follower):
        facts = graph.facts["steps"]["quantize-static"]
        assert facts["products_quantised"] > 0
        assert facts["sensitivity"]["judged_by"] == "outputs"
