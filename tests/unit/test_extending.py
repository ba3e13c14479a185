"""The examples of docs/extending.md work as they stand."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from leptonbench.backends.base import Recipe, RuntimeOptions
from leptonbench.catalog import load_suite, load_variant, load_yaml
from leptonbench.compression.base import Context
from leptonbench.registry import Registry
from leptonbench.schema import Artifact, DeviceProfile, TensorSpec

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
_BLOCK = re.compile(r"^```(\w+)\n(?:# ([\w.-]+)\n)?(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with the page's files in it, on the path for imports."""
    names = [name for _, name, _ in BLOCKS if name]
    for _, name, text in BLOCKS:
        if name:
            (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in names:
        sys.modules.pop(Path(name).stem, None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return an ONNX file that multiplies by a weight which fp16 cannot hold."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [2, 2], [1.0001, 0.0, 0.0, 1.0])
    node = helper.make_node("MatMul", ["pixels", "weight"], ["logits"])
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in ("pixels", "logits")]
    graph = helper.make_graph([node], "example", tensors[:1], tensors[1:], [weight])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    return path


def named_in_the_page(group: str) -> dict[str, str]:
    """Return the entry points that the page declares in a group."""
    tables = [tomllib.loads(text)["project"]["entry-points"] for kind, _, text in BLOCKS if kind == "toml"]
    return {name: target for table in tables for name, target in table.get(group, {}).items()}


def found(group: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what a registry finds in the group as if the example were installed."""
    points = [EntryPoint(name, target, group) for name, target in named_in_the_page(group).items()]
    monkeypatch.setattr("leptonbench.registry.entry_points", lambda *, group: points)
    registry: Registry[Any] = Registry("example", {}, group=group)
    (name,) = registry.names()
    return registry.get(name)


def test_the_backend_runs(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = found("leptonbench.backends", monkeypatch)()
    assert backend.supports(Recipe("onnx", "fp32", ()), frozenset()).ok
    refused = backend.supports(Recipe("onnx", "bf16", ()), frozenset())
    assert not refused.ok
    assert refused.reason
    spec = TensorSpec(name="pixels", shape=(None, 2), dtype="float32")
    artifact = Artifact(
        format="onnx",
        path=str(model),
        sha256="",
        recipe=(),
        precision="fp32",
        inputs=(spec,),
        outputs=(spec,),
        size_bytes=1,
        macs=4,
        parameters=4,
    )
    session = backend.open(artifact, RuntimeOptions(1, frozenset(), (1,), folder))
    (logits,) = session.run({"pixels": np.ones((1, 2), dtype=np.float32)})
    session.close()
    assert logits == pytest.approx(np.array([[1.0001, 1.0]]))
    assert session.effective()["engine"].startswith("onnx reference")


def unused(*arguments: object) -> Any:
    raise AssertionError("this technique neither trains nor loads")


def test_the_technique_compresses(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    technique = found("leptonbench.compression", monkeypatch)()
    workdir = folder / "work"
    workdir.mkdir()
    context = Context(
        calibration=lambda: iter(()),
        tuning=unused,
        load_network=unused,
        source=workdir,
        workdir=workdir,
        say=print,
    )
    made = technique.apply(model, {"dtype": "float16"}, context)
    (weight,) = onnx.load(str(made)).graph.initializer
    assert onnx.numpy_helper.to_array(weight)[0, 0] == np.float32(np.float16(1.0001))


def test_the_files_are_valid(folder: Path) -> None:
    assert load_variant(str(folder / "int8-percentile.yaml")).precision == "int8"
    assert load_suite(str(folder / "night-shift.yaml")).rounds == 5
    assert load_yaml(folder / "example-cpu.yaml", DeviceProfile).cloud[0].vcpus == 2


def test_every_example_is_used_here() -> None:
    names = {name for _, name, _ in BLOCKS if name}
    assert names == {
        "reference_engine.py",
        "round_weights.py",
        "int8-percentile.yaml",
        "night-shift.yaml",
        "example-cpu.yaml",
    }
    assert all(yaml.safe_load(text) for kind, _, text in BLOCKS if kind == "yaml")
