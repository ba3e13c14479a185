"""What engines say of themselves: the precision that they computed in, and where their time went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnxruntime.transformers.float16 import convert_float_to_float16

from leptonbench.backends import BACKENDS, Recipe, RuntimeOptions
from leptonbench.backends.profile import WARM_RUNS, Profiled, summarise
from leptonbench.compression.facts import read_file_facts
from leptonbench.compression.quantize_static import QuantizeStatic
from leptonbench.compression.quantize_weights import QuantizeWeights
from leptonbench.schema import Artifact
from tests import graphs

ENGINES = ("onnxruntime", "openvino")


def _artifact(path: Path, precision: str, **facts: Any) -> Artifact:
    return Artifact(
        format="onnx",
        path=str(path),
        sha256="0",
        recipe=(),
        precision=precision,
        inputs=(),
        outputs=(),
        size_bytes=1,
        macs=1,
        parameters=1,
        facts=facts,
    )


def _open(backend: str, artifact: Artifact, cache: Path, **options: Any) -> Any:
    wanted = RuntimeOptions(threads=1, features=frozenset({"avx2"}), batches=(1,), cache=cache, **options)
    return BACKENDS.get(backend)().open(artifact, wanted)


@pytest.mark.parametrize("backend", ENGINES)
def test_int8_products_are_counted_as_int8(tmp_path: Path, backend: str) -> None:
    source = graphs.convolutions(tmp_path / "model.onnx")
    made = QuantizeStatic().apply(source, {}, graphs.context(tmp_path, graphs.images))
    plain = _open(backend, _artifact(source, "fp32"), tmp_path, inspect=True).effective()
    quantised = _open(backend, _artifact(made, "int8"), tmp_path, inspect=True).effective()
    assert (plain["executed_precision"], quantised["executed_precision"]) == ("fp32", "int8")
    assert plain["product_precisions"] == {"fp32": 3}
    assert quantised["product_precisions"]["int8"] >= 2


@pytest.mark.parametrize("backend", ENGINES)
def test_fp16_says_what_it_ran_in(tmp_path: Path, backend: str) -> None:
    """On CPUs without fp16 arithmetic that is fp32; on those with it, an engine may say fp16."""
    half = convert_float_to_float16(onnx.load(str(graphs.convolutions(tmp_path / "model.onnx"))), keep_io_types=True)
    onnx.save(half, str(tmp_path / "half.onnx"))
    session = _open(backend, _artifact(tmp_path / "half.onnx", "fp16"), tmp_path, inspect=True)
    assert sum(session.effective()["product_precisions"].values()) == 3
    assert session.effective()["executed_precision"] in ("fp16", "fp32")
    assert len(session.run(next(graphs.images()))) == 1


@pytest.mark.parametrize("backend", ENGINES)
def test_four_bit_weights_are_multiplied_in_fp32(tmp_path: Path, backend: str) -> None:
    source = graphs.products(tmp_path / "model.onnx")
    made = QuantizeWeights().apply(source, {}, graphs.context(tmp_path, graphs.frames))
    session = _open(backend, _artifact(made, "fp32"), tmp_path, inspect=True)
    assert session.effective()["product_precisions"] == {"fp32": 2}
    assert session.run(next(graphs.frames()))[0].shape == (1, 5, graphs.WIDTH)


@pytest.mark.parametrize("backend", ENGINES)
def test_a_profile_names_the_operators_and_leaves_nothing_behind(tmp_path: Path, backend: str) -> None:
    source = graphs.convolutions(tmp_path / "model.onnx")
    cache = tmp_path / "cache"
    cache.mkdir()
    session = _open(backend, _artifact(source, "fp32"), cache, profile=True)
    assert isinstance(session, Profiled)
    found = session.profile(list(graphs.images(4)))
    assert found.runs == 4
    convolutions = {name: count for name, count in found.counts.items() if "Conv" in name}
    assert sum(convolutions.values()) == 2
    assert all(found.seconds[name] > 0 for name in convolutions)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("backend", ENGINES)
def test_a_session_opened_for_timing_has_no_profile(tmp_path: Path, backend: str) -> None:
    session = _open(backend, _artifact(graphs.convolutions(tmp_path / "model.onnx"), "fp32"), tmp_path)
    with pytest.raises(ValueError, match="for timing"):
        session.profile(list(graphs.images(1)))


@pytest.mark.parametrize(("bits", "kernels"), [(8, "exact u8 x u8 kernels (no VNNI)"), (7, "native")])
def test_seven_bit_weights_need_no_exact_kernels(tmp_path: Path, bits: int, kernels: str) -> None:
    made = QuantizeStatic().apply(
        graphs.convolutions(tmp_path / "model.onnx"),
        {"reduce_range": bits == 7},
        graphs.context(tmp_path, graphs.images),
    )
    facts = {"steps": read_file_facts(made)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("platform.machine", lambda: "x86_64")
        session = _open("onnxruntime", _artifact(made, "int8", **facts), tmp_path)
    assert session.effective()["int8_accumulation"] == kernels


def test_a_profile_leaves_out_warm_up_and_takes_the_least() -> None:
    runs = [[("Conv", 9.0)]] * WARM_RUNS + [[("Conv", 1.0), ("Conv", 2.0), ("Add", 0.5)], [("Conv", 7.0), ("Add", 0.1)]]
    found = summarise(runs)
    assert found.seconds == {"Add": 0.1, "Conv": 3.0}
    assert found.runs == 2


@pytest.mark.parametrize("backend", ["torch", "torch-compile"])
def test_torch_refuses_fp16_where_it_would_loop_and_graphs_it_cannot_load(backend: str) -> None:
    engine = BACKENDS.get(backend)()
    half = Recipe("huggingface", "fp16", ("cast",))
    assert not engine.supports(half, frozenset({"avx2"})).ok
    assert engine.supports(half, frozenset({"avx512_fp16"})).ok
    refused = engine.supports(Recipe("huggingface", "fp32", ("quantize-weights",)), frozenset())
    assert not refused.ok
    assert refused.hint
