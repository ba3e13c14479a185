"""ONNX Runtime's GPU providers: what is refused, what is asked of them, and no silent fall to the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from leptonbench.backends import BACKENDS, Recipe, RuntimeOptions, onnxruntime_gpu
from leptonbench.errors import MeasurementError
from leptonbench.schema import EngineOptions
from tests.harness_factory import artifact

ADA, TURING = frozenset({"cuda-8.9"}), frozenset({"cuda-7.5"})
PROVIDERS = {"onnxruntime-cuda": "CUDAExecutionProvider", "onnxruntime-tensorrt": "TensorrtExecutionProvider"}


def recipe(precision: str = "fp32", *techniques: str, **options: Any) -> Recipe:
    return Recipe("huggingface", precision, techniques, EngineOptions(**options))


@pytest.mark.parametrize(
    ("name", "asked", "features", "words"),
    [
        ("onnxruntime-cuda", recipe(), ADA, ""),
        ("onnxruntime-cuda", recipe("fp16", "cast"), TURING, ""),
        ("onnxruntime-cuda", recipe("fp32", "quantize-weights"), ADA, ""),
        ("onnxruntime-cuda", recipe("int8", "quantize-static"), ADA, "between quantise and dequantise nodes"),
        ("onnxruntime-cuda", recipe("bf16", "cast"), TURING, "has no bf16"),
        ("onnxruntime-cuda", recipe(io_binding=True), ADA, "leave out the copies"),
        ("onnxruntime-tensorrt", recipe("int8", "quantize-static"), ADA, ""),
        ("onnxruntime-tensorrt", recipe("int8", "quantize-dynamic"), ADA, "scales of activations beforehand"),
        ("onnxruntime-tensorrt", recipe(), frozenset(), "no NVIDIA GPU"),
    ],
)
def test_what_runs_as_it_is_labelled(
    monkeypatch: pytest.MonkeyPatch, name: str, asked: Recipe, features: frozenset[str], words: str
) -> None:
    monkeypatch.setattr(onnxruntime_gpu, "installed", lambda distribution: "1.32.0")
    found = BACKENDS.get(name)().supports(asked, features)
    assert found.ok is (words == "")
    assert words in found.reason
    assert found.ok or found.hint


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_package_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(onnxruntime_gpu, "installed", lambda distribution: None)
    found = BACKENDS.get(name)().supports(recipe(), ADA)
    assert "`onnxruntime-gpu` is not installed" in found.reason
    assert "pip install onnxruntime-gpu" in found.hint


def _placed(name: str, kinds: dict[str, int]) -> SimpleNamespace:
    nodes = [SimpleNamespace(op_type=kind) for kind, count in kinds.items() for _ in range(count)]
    return SimpleNamespace(ep_name=name, get_nodes=lambda: nodes)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stand in for ONNX Runtime's own session, and keep what it was opened with."""
    found = SimpleNamespace(providers=[], asked=[], elsewhere={})

    def open_session(made: Any, options: Any, *, providers: list[Any], entries: Any) -> tuple[Any, dict[str, Any]]:
        found.asked = providers
        assert entries == {"session.record_ep_graph_assignment_info": "1"}
        shown = found.providers or [providers[0][0], "CPUExecutionProvider"]
        placed = [(shown[0], {"Conv": 3, "Relu": 2}), ("CPUExecutionProvider", found.elsewhere)]
        made = SimpleNamespace(
            get_providers=lambda: shown,
            get_provider_graph_assignment_info=lambda: [_placed(name, kinds) for name, kinds in placed],
        )
        return made, {"engine": "onnxruntime 1.32.0"}

    monkeypatch.setattr(onnxruntime_gpu, "open_session", open_session)
    monkeypatch.setattr(onnxruntime_gpu, "read_back", lambda session, *, io_binding: {})
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "before")
    return found


def options(tmp_path: Path) -> RuntimeOptions:
    return RuntimeOptions(threads=1, features=ADA, batches=(1,), cache=tmp_path)


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("shown", [["CPUExecutionProvider"], ["CPUExecutionProvider", "CUDAExecutionProvider"]])
def test_a_session_that_fell_to_the_cpu_is_refused(
    session: SimpleNamespace, tmp_path: Path, name: str, shown: list[str]
) -> None:
    session.providers = shown
    with pytest.raises(MeasurementError, match=f"does not run this model by {PROVIDERS[name]}") as caught:
        BACKENDS.get(name)().open(artifact(), options(tmp_path))
    assert "CPUExecutionProvider" in caught.value.cause


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(("precision", "tf32"), [("fp32", "0"), ("fp16", "0"), ("tf32", "1")])
def test_fp32_is_fp32_unless_tf32_is_asked_for(
    session: SimpleNamespace, tmp_path: Path, name: str, precision: str, tf32: str
) -> None:
    BACKENDS.get(name)().open(artifact(precision), options(tmp_path))
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == tf32
    ((_, chosen),) = session.asked
    assert chosen.get("use_tf32", tf32) == tf32


@pytest.mark.parametrize(
    ("precision", "on"), [("fp32", set()), ("fp16", {"trt_fp16_enable"}), ("int8", {"trt_int8_enable"})]
)
def test_tensorrt_is_allowed_the_labels_precision_and_no_other(
    session: SimpleNamespace, tmp_path: Path, precision: str, on: set[str]
) -> None:
    opened = BACKENDS.get("onnxruntime-tensorrt")().open(artifact(precision), options(tmp_path))
    ((name, chosen),) = session.asked
    assert name == "TensorrtExecutionProvider"
    assert {key for key in chosen if key.endswith(("16_enable", "int8_enable")) and chosen[key] == "1"} == on
    assert Path(chosen["trt_engine_cache_path"]).is_dir(), "the next round need not build the engine again"
    told = opened.effective()
    assert told["provider"] == name
    assert told["provider_options"] == chosen


@pytest.mark.parametrize("name", PROVIDERS)
def test_products_that_fell_to_the_cpu_are_refused_and_other_nodes_are_told(
    session: SimpleNamespace, tmp_path: Path, name: str
) -> None:
    session.elsewhere = {"Shape": 2, "Gather": 1}
    told = BACKENDS.get(name)().open(artifact(), options(tmp_path)).effective()
    assert told["nodes_by_provider"] == {PROVIDERS[name]: 5, "CPUExecutionProvider": 3}
    session.elsewhere = {"Shape": 2, "MatMulNBits": 4}
    with pytest.raises(MeasurementError, match="does not run all products") as caught:
        BACKENDS.get(name)().open(artifact(), options(tmp_path))
    assert caught.value.cause == "CPUExecutionProvider got 4 MatMulNBits"


def test_onnx_runtime_itself_tells_where_nodes_went() -> None:
    """The names that are asked for are the installed version's own; what it says of a GPU needs one."""
    import onnx
    import onnxruntime

    kind, tensor = onnx.TensorProto.FLOAT, onnx.helper.make_tensor_value_info
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["y"]), onnx.helper.make_node("Relu", ["y"], ["z"])]
    weight = onnx.helper.make_tensor("w", kind, [2, 2], [1.0, 0.0, 0.0, 1.0])
    graph = onnx.helper.make_graph(nodes, "g", [tensor("x", kind, [1, 2])], [tensor("z", kind, [1, 2])], [weight])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10)
    settings = onnxruntime.SessionOptions()
    for entry in onnxruntime_gpu._RECORD.items():
        settings.add_session_config_entry(*entry)
    opened = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    onnxruntime_gpu.load_libraries()
    assert onnxruntime_gpu.nodes_by_provider(opened) == {"CPUExecutionProvider": {"MatMul": 1, "Relu": 1}}
