"""Graph steps: what they quantise, what they leave out by measurement, what they refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from leptonbench.compression.base import Outputs
from leptonbench.compression.encoding import WeightCodes
from leptonbench.compression.facts import add_facts, read_file_facts
from leptonbench.compression.quantize_dynamic import QuantizeDynamic
from leptonbench.compression.quantize_static import QuantizeStatic
from leptonbench.compression.quantize_weights import QuantizeWeights
from leptonbench.errors import NotApplicable, UsageError
from leptonbench.stats.interval import Interval
from tests import graphs


def _static(tmp_path: Path, source: Path, inputs: Any = graphs.images, **options: Any) -> Path:
    return QuantizeStatic().apply(source, options, graphs.context(tmp_path, inputs))


def _kinds(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(str(path)).graph.node)


def _error(path: Path, source: Path, samples: Any) -> float:
    """Return the RMS error of the outputs over the spread of the source's."""
    wanted = np.concatenate([graphs.answer(source, sample).ravel() for sample in samples()])
    found = np.concatenate([graphs.answer(path, sample).ravel() for sample in samples()])
    return float(np.sqrt(np.mean((found - wanted) ** 2)) / wanted.std())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"calibration": "entropy"},
        {"calibration": "percentile", "percentile": 99.99},
        {"activations": "int8"},
        {"reduce_range": True},
        {"per_channel": False},
        {"operators": "products"},
    ],
    ids=str,
)
def test_a_quantised_graph_answers_much_the_same(tmp_path: Path, options: dict[str, Any]) -> None:
    source = graphs.convolutions(tmp_path / "model.onnx")
    made = _static(tmp_path, source, **options)
    assert _kinds(made)["QuantizeLinear"] >= 3
    assert 0 < _error(made, source, graphs.images) < 0.15


def test_products_over_any_length_are_quantised_and_nothing_else(tmp_path: Path) -> None:
    source = graphs.products(tmp_path / "model.onnx")
    made = _static(tmp_path, source, graphs.frames)
    assert read_file_facts(made)["quantize-static"]["operators"] == "products"
    assert 0 < _error(made, source, graphs.frames) < 0.15


def test_a_table_that_products_share_is_quantised_for_each_and_not_for_the_embedding(tmp_path: Path) -> None:
    source = graphs.tied(tmp_path / "model.onnx")
    made = _static(tmp_path, source, graphs.tokens, operators="products")
    graph = onnx.load(str(made)).graph
    codes = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8 and tensor.dims}
    readers = Counter(name for node in graph.node for name in node.input if name.endswith("_quantized"))
    assert [readers[name] for name in codes if name in readers] == [1, 1]
    table = next(node.input[0] for node in graph.node if node.op_type == "Gather")
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert kinds[table] == onnx.TensorProto.FLOAT
    assert 0 < _error(made, source, graphs.tokens) < 0.15


def test_seven_bit_weights_have_seven_bits(tmp_path: Path) -> None:
    made = _static(tmp_path, graphs.convolutions(tmp_path / "model.onnx"), reduce_range=True)
    weights = [t for t in onnx.load(str(made)).graph.initializer if t.name.endswith("_quantized") and len(t.dims) > 1]
    assert weights
    assert all(np.abs(onnx.numpy_helper.to_array(t).astype(int)).max() == 64 for t in weights)
    assert read_file_facts(made)["quantize-static"]["weight_bits"] == 7


def test_what_is_not_hurt_is_not_left_out(tmp_path: Path) -> None:
    made = _static(tmp_path, graphs.convolutions(tmp_path / "model.onnx"), exclude="measured")
    found = read_file_facts(made)["quantize-static"]["sensitivity"]
    assert found["excluded"] == []
    assert 0 < found["loss_all_quantised"] <= 0.1


def test_what_eight_bits_hurt_is_found_and_left_in_fp32(tmp_path: Path) -> None:
    source = graphs.convolutions(tmp_path / "model.onnx", fragile=True)
    plain = _error(_static(tmp_path, source), source, graphs.images)
    made = _static(tmp_path, source, exclude="measured", operators="products")
    facts = read_file_facts(made)["quantize-static"]
    found = facts["sensitivity"]
    assert found["excluded"][0] == max(found["most_sensitive"], key=found["most_sensitive"].get) == "second"
    assert found["loss_after_exclusion"][-1] < found["loss_all_quantised"]
    assert facts["products_quantised"] == 3 - len(found["excluded"])
    assert _error(made, source, graphs.images) < plain


@pytest.mark.parametrize("certain", [True, False])
def test_a_loss_of_the_metric_counts_only_beyond_chance(tmp_path: Path, certain: bool) -> None:
    """The last product goes first: nothing after it evens out its rounding."""

    def difference(found: Outputs, plain: Outputs) -> Interval:
        values = np.concatenate([outputs[0].ravel() for outputs in found])
        loss = 1 - np.unique(values).size / values.size  # codes of 8 bits coincide, real values do not
        return Interval(-loss, -1.5 * loss, -0.5 * loss if certain else 0.1, len(plain), 0.95, "a double")

    source = graphs.convolutions(tmp_path / "model.onnx")
    context = replace(graphs.context(tmp_path, graphs.images), difference=difference)
    made = QuantizeStatic().apply(source, {"exclude": "measured"}, context)
    facts = read_file_facts(made)["quantize-static"]
    found = facts["sensitivity"]
    assert found["judged_by"] == "answers"
    assert found["loss_all_quantised"] > 0.005
    assert found["excluded"] == (["head"] if certain else [])
    assert found["loss_after_exclusion"] == ([0.0] if certain else [])


@pytest.mark.parametrize(
    "options", [{}, {"reduce_range": True}, {"weights": "uint8"}, {"weights": "uint8", "per_channel": False}], ids=str
)
def test_the_measured_error_is_that_of_the_graph(tmp_path: Path, options: dict[str, Any]) -> None:
    """Switched rounding and the quantised graph run by an engine are two ways to the same number."""
    source = graphs.convolutions(tmp_path / "model.onnx")
    made = _static(tmp_path, source, exclude="measured", exclude_bound=1.0, samples=8, **options)
    told = read_file_facts(made)["quantize-static"]["sensitivity"]["loss_all_quantised"]
    assert told == pytest.approx(_error(made, source, lambda: graphs.images(8)), rel=0.25)


def test_seven_bits_are_measured_to_lose_more_than_eight(tmp_path: Path) -> None:
    source = graphs.convolutions(tmp_path / "model.onnx")
    losses = [
        read_file_facts(_static(tmp_path, source, exclude="measured", exclude_bound=1.0, reduce_range=reduced))[
            "quantize-static"
        ]["sensitivity"]["loss_all_quantised"]
        for reduced in (False, True)
    ]
    assert losses[1] > 1.2 * losses[0]


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("reduced", [True, False])
def test_a_weights_codes_are_those_that_the_file_holds(
    tmp_path: Path, kind: str, per_channel: bool, reduced: bool
) -> None:
    source = graphs.convolutions(tmp_path / "model.onnx")
    made = _static(tmp_path, source, weights=kind, per_channel=per_channel, reduce_range=reduced)
    plain, held = (
        {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer}
        for path in (source, made)
    )
    for name, axis in (("first", 0), ("second", 0), ("head", 1)):
        shape = [-1 if per_channel and i == axis else 1 for i in range(plain[name].ndim)]
        scale, zero = (held[f"{name}_{part}"].reshape(shape) for part in ("scale", "zero_point"))
        decoded = (held[f"{name}_quantized"].astype(int) - zero.astype(int)) * scale
        found = WeightCodes(kind, per_channel, reduced).rounded(plain[name], axis)
        np.testing.assert_allclose(found, decoded, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "options",
    [
        {"percentile": 99.9},
        {"calibration": "percentile", "percentile": 30},
        {"samples": 0},
        {"samples": True},
        {"exclude_bound": "low"},
        {"activations": "int4"},
        {"no_such_option": 1},
    ],
    ids=str,
)
def test_a_wrong_option_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    source = graphs.convolutions(tmp_path / "model.onnx")
    with pytest.raises(UsageError) as caught:
        _static(tmp_path, source, **options)
    assert caught.value.hint


def test_weights_that_were_cast_before_are_not_called_quantised(tmp_path: Path) -> None:
    """Behind their casts they would be quantised anew at every run, and stay in the file as they are."""
    source = graphs.convolutions(tmp_path / "model.onnx")
    model = onnx.load(str(source))
    for tensor in model.graph.initializer:
        half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(model, str(source))

    def halves() -> Iterator[dict[str, Any]]:
        yield from ({"image": sample["image"].astype(np.float16)} for sample in graphs.images())

    with pytest.raises(UsageError, match="weights cannot be quantised") as caught:
        _static(tmp_path, source, halves)
    assert "give the model in fp32" in caught.value.hint


def test_products_are_counted_in_the_finished_graph(tmp_path: Path) -> None:
    chain = _static(tmp_path, graphs.convolutions(tmp_path / "model.onnx"))
    assert read_file_facts(chain)["quantize-static"]["products_quantised"] == 3
    over_time = _static(tmp_path, graphs.products(tmp_path / "products.onnx"), graphs.frames)
    assert read_file_facts(over_time)["quantize-static"]["products_quantised"] == 2


def test_facts_of_earlier_steps_stay(tmp_path: Path) -> None:
    source = graphs.convolutions(tmp_path / "model.onnx")
    model = onnx.load(str(source))
    add_facts(model, "earlier", {"kept": 3})
    onnx.save(model, str(source))
    facts = read_file_facts(_static(tmp_path, source))
    assert facts["earlier"] == {"kept": 3}
    assert set(facts) == {"earlier", "quantize-static"}


def test_dynamic_quantisation_takes_what_has_an_integer_kernel(tmp_path: Path) -> None:
    source = graphs.products(tmp_path / "model.onnx")
    made = QuantizeDynamic().apply(source, {}, graphs.context(tmp_path, graphs.frames))
    assert read_file_facts(made)["quantize-dynamic"]["operators"] == {"ConvInteger": 0, "MatMulInteger": 2}
    assert _kinds(made)["MatMulInteger"] == 2
    assert 0 < _error(made, source, graphs.frames) < 0.15


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("level", [1, 4])
def test_four_bit_weights_are_smaller_and_much_the_same(tmp_path: Path, symmetric: bool, level: int) -> None:
    source = graphs.products(tmp_path / "model.onnx")
    options = {"block": 32, "symmetric": symmetric, "accuracy_level": level}
    made = QuantizeWeights().apply(source, options, graphs.context(tmp_path, graphs.frames))
    assert _kinds(made)["MatMulNBits"] == 2
    assert read_file_facts(made)["quantize-weights"]["share_of_weights"] == 1.0
    assert 0 < _error(made, source, graphs.frames) < 0.3
    assert _bytes(made) < 0.25 * _bytes(source)


def _bytes(path: Path) -> int:
    return sum(len(tensor.raw_data) for tensor in onnx.load(str(path)).graph.initializer)


def test_four_bit_weights_do_not_apply_to_convolutions(tmp_path: Path) -> None:
    source = graphs.convolutions(tmp_path / "model.onnx")
    with pytest.raises(NotApplicable) as caught:
        QuantizeWeights().apply(source, {}, graphs.context(tmp_path, graphs.images))
    convolutions, head = 8 * 3 * 9 + 8 * 8 * 9, 8 * 4
    assert caught.value.cause.startswith(f"{100 * convolutions / (convolutions + head):.3g} % of its weights")
    assert "0 %" in caught.value.cause
    assert caught.value.hint


@pytest.mark.parametrize(("axes", "keepdims", "pooled"), [((2, 3), 1, True), ((-1, -2), 1, True), ((3,), 1, False)])
def test_a_mean_over_all_pixels_becomes_a_pool_with_codes(
    tmp_path: Path, axes: tuple[int, ...], keepdims: int, pooled: bool
) -> None:
    """Exporters write it as ReduceMean, for which no engine has an 8-bit kernel."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["made"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["made", "axes"], ["mean"], keepdims=keepdims),
    ]
    tensors = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array(axes, np.int64), "axes")]
    given = helper.make_tensor_value_info("mean", TensorProto.FLOAT, None)
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 16, 16])
    graph = helper.make_graph(nodes, "mean", [taken], [given], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    source = tmp_path / "fp32.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), str(source))
    random = np.random.default_rng(2)
    samples = [{"image": random.normal(size=(1, 3, 16, 16)).astype(np.float32)} for _ in range(4)]
    made = _static(tmp_path, source, lambda: iter(samples), operators="chain")
    assert ("GlobalAveragePool" in _kinds(made)) is pooled
    assert _error(made, source, lambda: samples) < 0.1
