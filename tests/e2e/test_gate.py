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


def test_a_model_that_answers_wrong_is_red_whatever_its_speed(bench: Bench, tmp_path: Path) -> None:
    head = _blind(bench, tmp_path / "blind" / "tiny.onnx")
    done, result = _gate(bench, tmp_path, "--base", bench.model, "--head", head, "--json")
    assert done.code == 1, done.err
    layers = _layers(result)
    assert layers["quality quality"] == "regressed"
    assert {layers[name] for name in layers if name.startswith("exact ")} == {"pass"}
    (cell,) = result["cells"]
    assert [len(cell["passes"][0][side]) for side in ("base_s", "head_s", "control_s")] == [5, 5, 5]
    assert {item["metric"] for item in cell["shown"]} >= {"latency_p50", "energy_per_inference", "cost_per_million"}
    assert json.loads(done.out)["verdict"] == "regressed"
    assert (tmp_path / "out" / "summary.md").read_text(encoding="utf-8").startswith("## leptonbench gate: regressed")


def test_another_output_is_incomparable_and_nothing_is_timed(bench: Bench, tmp_path: Path) -> None:
    head = make_model(tmp_path / "other" / "tiny.onnx")
    model = onnx.load(str(head))
    (head_node,) = [node for node in model.graph.node if node.op_type == "Gemm"]
    head_node.output[0] = "plain"
    model.graph.node.append(onnx.helper.make_node("Cast", ["plain"], ["logits"], to=onnx.TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    onnx.save(model, str(head))
    done, result = _gate(bench, tmp_path, "--base", bench.model, "--head", head)
    assert done.code == 3, done.err
    (cell,) = result["cells"]
    assert cell["verdict"] == "incomparable" and "the outputs differ" in cell["findings"][0]["reason"]
    assert cell["passes"] == []


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
