"""The gate as a user has it: real processes on the tiny model. What it says of times is left open: machines differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from leptonbench.gate.model import GATE_FILE
from tests.e2e.conftest import Bench, Finished
from tests.tiny import make_model

pytestmark = pytest.mark.slow

_CONFIG = """\
[gate]
suite = "{suite}"
data = "{data}"
threads = 1
window_s = 0.1
quality_samples = 36

[gate.rules]
pairs = [5, 5]
"""


def _gate(bench: Bench, folder: Path, *arguments: str | Path) -> tuple[Finished, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    suite = bench.suite(folder, ["onnxruntime"])
    config = folder / "gate.toml"
    config.write_text(_CONFIG.format(suite=suite, data=bench.images), encoding="utf-8")
    done = bench.call("gate", "--config", config, "--out", folder / "out", *arguments)
    file = folder / "out" / GATE_FILE
    return done, json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _layers(result: dict[str, Any]) -> dict[str, str]:
    return {
        f"{item['layer']} {item['metric']}": item["verdict"] for cell in result["cells"] for item in cell["findings"]
    }


def _blind(bench: Bench, path: Path) -> Path:
    """Return the tiny model with its head turned round: as fast, and wrong."""
    model = onnx.load(str(bench.model))
    (heads,) = [tensor for tensor in model.graph.initializer if tensor.name == "heads"]
    heads.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(heads)[::-1].copy(), "heads"))
    make_model(path)  # its pre-processing
    onnx.save(model, str(path))
    return path


def test_equal_models_are_equal_in_all_that_is_exact(bench: Bench, tmp_path: Path) -> None:
    done, result = _gate(bench, tmp_path, "--base", bench.model, "--head", bench.model, "--json")
    assert done.code in (0, 3), done.err
    layers = _layers(result)
    assert {layers[name] for name in layers if name.startswith("exact ")} == {"pass"}
    assert layers["quality quality"] == "pass"
    (cell,) = result["cells"]
    assert [len(cell["passes"][0][side]) for side in ("base_s", "head_s", "control_s")] == [5, 5, 5]
    assert json.loads(done.out)["verdict"] == result["verdict"]
    assert (tmp_path / "out" / "summary.md").read_text(encoding="utf-8").startswith("## leptonbench gate")
    assert {item["metric"] for item in cell["shown"]} >= {"latency_p50", "energy_per_inference", "cost_per_million"}


def test_a_model_that_answers_wrong_is_red(bench: Bench, tmp_path: Path) -> None:
    head = _blind(bench, tmp_path / "blind" / "tiny.onnx")
    done, result = _gate(bench, tmp_path, "--base", bench.model, "--head", head)
    assert done.code == 1
    assert _layers(result)["quality quality"] == "regressed"
    assert "verdict: regressed" in done.out


def test_another_output_is_incomparable_and_nothing_is_timed(bench: Bench, tmp_path: Path) -> None:
    head = make_model(tmp_path / "other" / "tiny.onnx", shape=(1, 3, 16, 16), inputs=("one", "two"))
    done, result = _gate(bench, tmp_path, "--base", bench.model, "--head", head)
    assert done.code in (2, 3)
    assert not result or all(not cell["passes"] for cell in result["cells"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--base", "no.onnx", "--head", "no.onnx"), "there is no file"),
        (("--base", "no-such-ref"), "no side of a gate"),
        (("--base", "a", "--scenario", "server"), "does not measure the scenario"),
        (("--base", "a", "--window", "soon"), "not a duration"),
    ],
)
def test_bad_input_has_three_parts_and_exits_with_2(
    bench: Bench, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = bench.call("gate", *arguments, cwd=tmp_path)
    assert done.code == 2
    assert words in done.err and "hint:" in done.err and "Traceback" not in done.err
