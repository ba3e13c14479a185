"""Exact figures: counted on the graph, compared for equality, changed only with a reason."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from leptonbench.errors import UsageError
from leptonbench.gate.exact import Accepted, count, entry_text, judge_exact, peak_activation_bytes, read_accepted
from leptonbench.gate.model import Verdict
from leptonbench.schema import Artifact
from tests.gate_factory import side_cell, write
from tests.harness_factory import cell
from tests.tiny import make_model


def _artifact(path: Path) -> Artifact:
    return Artifact(
        format="onnx",
        path=str(path),
        sha256="0" * 64,
        recipe=(),
        precision="fp32",
        inputs=(),
        outputs=(),
        size_bytes=path.stat().st_size,
        macs=7,
        parameters=3,
    )


def _diamond() -> onnx.ModelProto:
    """Return x -> (a, b) -> sum, each of 4 floats: x, a and b are alive together, then a, b and the sum."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Neg", ["x"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "diamond", tensors[:1], tensors[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_graph_is_counted(tmp_path: Path) -> None:
    found = count(_artifact(make_model(tmp_path / "tiny.onnx")))
    assert found.values["nodes"] == 4
    assert found.values["operators"] == "Conv:1 Flatten:1 Gemm:1 GlobalAveragePool:1"
    assert found.values["macs"] == 7
    # The image and the convolution's output, 3 x 16 x 16 floats each.
    assert found.values["peak_activation_bytes"] == 2 * 3 * 16 * 16 * np.dtype(np.float32).itemsize
    assert "allocator" in found.absent["peak_allocator_bytes"] and "cycles" in found.absent


def test_cycles_are_exact_where_a_backend_has_them(tmp_path: Path) -> None:
    assert count(_artifact(make_model(tmp_path / "tiny.onnx")), cycles=1234).values["cycles"] == 1234


def test_the_peak_of_activations_is_what_is_alive_at_once() -> None:
    assert peak_activation_bytes(_diamond()) == 3 * 4 * 4


def test_a_peak_of_unknown_shapes_is_absent() -> None:
    model = _diamond()
    model.graph.node[0].op_type = "NoSuchOperator"
    assert peak_activation_bytes(model) is None


def test_equal_figures_pass() -> None:
    findings = judge_exact(side_cell(), side_cell(), ())
    assert {finding.verdict for finding in findings} == {Verdict.PASS}
    assert {finding.metric for finding in findings} == {"macs", "parameters", "model_bytes", "nodes", "operators"}


@pytest.mark.parametrize("macs", [900_000, 1_100_000])
def test_a_change_for_better_or_worse_wants_an_entry(macs: int) -> None:
    base = side_cell()
    head = side_cell(exact={**base.exact, "macs": macs})
    (found,) = [one for one in judge_exact(base, head, ()) if one.metric == "macs"]
    assert found.verdict is Verdict.CHANGED and found.verdict.exit_code == 1
    assert f"1,000,000 became {macs:,}" in found.reason
    entry = Accepted(metric="macs", base=1_000_000, head=macs, reason="a wider stem")
    (found,) = [one for one in judge_exact(base, head, (entry,)) if one.metric == "macs"]
    assert found.verdict is Verdict.PASS and "a wider stem" in found.reason
    other = entry.model_copy(update={"head": macs + 1})
    (found,) = [one for one in judge_exact(base, head, (other,)) if one.metric == "macs"]
    assert found.verdict is Verdict.CHANGED


def test_the_printed_entry_can_be_pasted(tmp_path: Path) -> None:
    base = side_cell()
    head = side_cell(exact={**base.exact, "operators": "Conv:2 Gemm:1"})
    (found,) = [one for one in judge_exact(base, head, ()) if one.metric == "operators"]
    assert found.stated == ("Conv:1 Gemm:1", "Conv:2 Gemm:1")
    text = found.hint.split(":\n", 1)[1].replace('reason = ""', 'reason = "two convolutions"')
    path = write(tmp_path / "accepted.toml", text)
    assert judge_exact(base, head, read_accepted(path))[-1].verdict is Verdict.PASS
    assert tomllib.loads(entry_text("cell", "macs", 1, 2))["accept"][0]["head"] == 2


def test_an_entry_made_on_one_machine_holds_on_another_with_other_cores() -> None:
    base, many = side_cell(cell()), side_cell(cell(threads=16))
    head = many.model_copy(update={"exact": {**base.exact, "macs": 7}})
    text = entry_text(base.cell.key, "macs", int(base.exact["macs"]), 7)
    (entry,) = tomllib.loads(text)["accept"]
    assert entry["cell"] == "inspection--fp32--onnxruntime--host-cpu--single-stream"
    accepted = Accepted.model_validate({**entry, "reason": "meant"})
    judged = {one.metric: one.verdict for one in judge_exact(many, head, [accepted])}
    assert judged["macs"] is Verdict.PASS
    other = accepted.model_copy(update={"cell": "inspection--fp32--onnx"})
    judged = {one.metric: one.verdict for one in judge_exact(many, head, [other])}
    assert judged["macs"] is Verdict.CHANGED


def test_a_metric_that_one_side_does_not_know_is_incomparable() -> None:
    base = side_cell()
    head = side_cell(exact={**base.exact, "cycles": 5})
    (found,) = [one for one in judge_exact(base, head, ()) if one.metric == "cycles"]
    assert found.verdict is Verdict.INCOMPARABLE
    assert "the base has no `cycles`" in found.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[accept", "not TOML"),
        ('[[accept]]\nmetric = "macs"', "malformed"),
        ('[[accept]]\nmetric = "macs"\nbase = 1\nhead = 2\nreason = " "', "without a reason"),
        ("[[agree]]\nx = 1", "malformed"),
    ],
)
def test_a_broken_file_of_accepted_changes_is_told(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        read_accepted(write(tmp_path / "accepted.toml", text))
    assert "[[accept]]" in caught.value.hint
