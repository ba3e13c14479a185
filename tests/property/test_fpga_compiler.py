"""Programs of layers of any shape, run by the instruction set's interpreter, against the reference in NumPy.

Cores are small, so that small layers need several tiles, parts of the channels and both halves of every buffer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from leptonbench.errors import UsageError
from leptonbench.fpga import ir, numerics
from leptonbench.fpga.compiler import compile_network
from leptonbench.fpga.compiler.deploy import Deployment
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.lowering.execute import run_layer
from tests.fpga_interpreter import Interpreter

SEEDS = st.integers(0, 2**32 - 1)
BYTE_TYPES = st.sampled_from(["uint8", "int8"])
CORES = st.builds(
    CoreShape,
    rows=st.sampled_from([4, 8]),
    cols=st.sampled_from([8, 16]),
    bus_bytes=st.just(16),
    input_granules=st.sampled_from([128, 256]),
    weight_granules=st.sampled_from([128, 512]),
    acc_words=st.sampled_from([16, 64]),
    output_granules=st.just(64),
    param_granules=st.just(64),
)
FEW = st.integers(1, 3)


def tensor(name: str, shape: tuple[int, ...], dtype: str, random: np.random.Generator) -> ir.Tensor:
    low, high = numerics.limits(dtype)
    return ir.Tensor(name=name, shape=shape, dtype=dtype, scale=0.05, zero_point=int(random.integers(low, high + 1)))


def codes(one: ir.Tensor, random: np.random.Generator) -> Any:
    low, high = numerics.limits(one.dtype)
    return random.integers(low, high + 1, one.shape).astype(one.dtype)


def check(layer: ir.Layer, tensors: list[ir.Tensor], core: CoreShape, random: np.random.Generator) -> None:
    """Compile one layer, run its program, and compare every byte."""
    known = {one.name: one for one in tensors}
    network = ir.Network(tensors=known, steps=(layer,), inputs=layer.inputs, outputs=(layer.y,))
    given_codes = {name: codes(known[name], random) for name in layer.inputs}
    try:
        compiled = compile_network(network, core)
    except UsageError as error:
        assert "has no tiling" in error.message
        assume(False)
        raise
    (program,) = compiled.programs
    _, made = Deployment(compiled, Interpreter(core, compiled.dram.size_bytes)).run(program, given_codes)
    np.testing.assert_array_equal(made[layer.y], run_layer(network, layer, given_codes))
    assert program.expected_cycles >= program.layers[0].bound.cycles  # the schedule does not beat what is possible


@st.composite
def windows(draw: st.DrawFn) -> tuple[ir.Window, tuple[int, int]]:
    """Draw a window and an image that it fits into."""
    kernel, strides, dilations = ((draw(FEW), draw(FEW)) for _ in range(3))
    pads = tuple(draw(st.integers(0, kernel[axis % 2] * dilations[axis % 2])) for axis in range(4))
    size = tuple(
        draw(st.integers(max(1, (kernel[axis] - 1) * dilations[axis] + 1 - pads[axis] - pads[axis + 2]), 11))
        for axis in range(2)
    )
    window = ir.Window(kernel=kernel, strides=strides, pads=pads, dilations=dilations)
    return window, (size[0], size[1])


def output_size(window: ir.Window, size: tuple[int, int]) -> tuple[int, int]:
    spans = [(window.kernel[axis] - 1) * window.dilations[axis] + 1 for axis in range(2)]
    rows, columns = (
        (size[axis] + window.pads[axis] + window.pads[axis + 2] - spans[axis]) // window.strides[axis] + 1
        for axis in range(2)
    )
    return rows, columns


# Of two tiles as wide, the one at the right edge reads less: its last window lies in the padding.
PADDED_RIGHT = ir.Window(kernel=(1, 3), strides=(1, 1), pads=(0, 0, 0, 1), dilations=(1, 3))
SMALL_INPUT = CoreShape(
    rows=4,
    cols=8,
    bus_bytes=16,
    input_granules=128,
    weight_granules=128,
    acc_words=16,
    output_granules=64,
    param_granules=64,
)


@settings(max_examples=150)
@given(windows(), CORES, FEW, st.integers(1, 20), st.integers(1, 9), BYTE_TYPES, BYTE_TYPES, BYTE_TYPES, SEEDS)
@example((PADDED_RIGHT, (5, 11)), SMALL_INPUT, 1, 9, 1, "uint8", "uint8", "uint8", 0)
def test_convolutions(window, core, groups, inside, outside, x_type, w_type, y_type, seed):
    """With few channels rows are packed; with as many groups as channels lanes do it; else the array."""
    random = np.random.default_rng(seed)
    shape, size = window
    x = tensor("x", (1, groups * inside, *size), x_type, random)
    y = tensor("y", (1, groups * outside, *output_size(shape, size)), y_type, random)
    low, high = numerics.limits(w_type)
    layer = ir.Convolution(
        name="convolution",
        x="x",
        y="y",
        weights=random.integers(low, high + 1, (groups * outside, inside, *shape.kernel)).astype(w_type),
        w_zero=int(random.integers(low, high + 1)),
        bias=random.integers(-(2**16), 2**16, groups * outside).astype(np.int32),
        scale=random.uniform(0.0002, 0.01, groups * outside).astype(np.float32),
        window=shape,
        groups=groups,
    )
    check(layer, [x, y], core, random)


@given(windows(), CORES, st.integers(1, 20), BYTE_TYPES, BYTE_TYPES, SEEDS)
def test_depthwise_convolutions(window, core, channels, x_type, y_type, seed):
    random = np.random.default_rng(seed)
    shape, size = window
    x = tensor("x", (1, channels, *size), x_type, random)
    y = tensor("y", (1, channels, *output_size(shape, size)), y_type, random)
    layer = ir.Convolution(
        name="depthwise",
        x="x",
        y="y",
        weights=random.integers(-128, 128, (channels, 1, *shape.kernel)).astype(np.int8),
        w_zero=0,
        bias=random.integers(-(2**12), 2**12, channels).astype(np.int32),
        scale=random.uniform(0.001, 0.02, channels).astype(np.float32),
        window=shape,
        groups=channels,
    )
    check(layer, [x, y], core, random)


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), CORES, SEEDS)
def test_products_with_constant_weights(batch, m, k, n, core, seed):
    random = np.random.default_rng(seed)
    x, y = (tensor(name, (batch, m, c), "uint8", random) for name, c in (("x", k), ("y", n)))
    layer = ir.Product(
        name="product",
        x="x",
        y="y",
        weights=random.integers(-128, 128, (k, n)).astype(np.int8),
        w_zero=0,
        bias=random.integers(-(2**12), 2**12, n).astype(np.int32),
        scale=random.uniform(0.001, 0.02, n).astype(np.float32),
    )
    check(layer, [x, y], core, random)


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), CORES, BYTE_TYPES, SEEDS)
def test_products_of_activations(batch, m, k, n, core, b_type, seed):
    random = np.random.default_rng(seed)
    a, b, y = (
        tensor(name, (1, batch, *shape), dtype, random)
        for name, shape, dtype in (("a", (m, k), "uint8"), ("b", (k, n), b_type), ("y", (m, n), "uint8"))
    )
    layer = ir.ActivationProduct(name="product", a="a", b="b", y="y", scale=np.float32(0.003))
    check(layer, [a, b, y], core, random)


@given(st.integers(1, 20), st.integers(1, 12), st.integers(1, 12), CORES, BYTE_TYPES, SEEDS)
def test_additions(channels, height, width, core, dtype, seed):
    random = np.random.default_rng(seed)
    tensors = [tensor(name, (1, channels, height, width), dtype, random) for name in ("a", "b", "y")]
    scales = random.uniform(0.01, 0.1, 3)
    factors = numerics.add_factors(*((scale, one.zero_point) for scale, one in zip(scales, tensors, strict=True)))
    check(ir.Addition(name="addition", a="a", b="b", y="y", factors=factors), tensors, core, random)


@given(windows(), CORES, st.integers(1, 20), BYTE_TYPES, SEEDS)
def test_max_pooling(window, core, channels, dtype, seed):
    random = np.random.default_rng(seed)
    shape, size = window
    # A window must hold a pixel, or its largest code is not defined.
    reach = [min(shape.pads[axis], (shape.kernel[axis % 2] - 1)) for axis in range(4)]
    shape = ir.Window(kernel=shape.kernel, strides=shape.strides, pads=tuple(reach))
    size = tuple(max(size[axis], shape.kernel[axis]) for axis in range(2))
    x = tensor("x", (1, channels, *size), dtype, random)
    y = ir.Tensor(
        name="y", shape=(1, channels, *output_size(shape, size)), dtype=dtype, scale=x.scale, zero_point=x.zero_point
    )
    check(ir.MaxPooling(name="pool", x="x", y="y", window=shape), [x, y], core, random)


@given(st.integers(1, 20), st.integers(1, 10), st.integers(1, 10), CORES, BYTE_TYPES, SEEDS)
def test_global_averages(channels, height, width, core, dtype, seed):
    random = np.random.default_rng(seed)
    x = tensor("x", (1, channels, height, width), dtype, random)
    y = tensor("y", (1, channels, 1, 1), dtype, random)
    scale = numerics.average_scale(0.05, random.uniform(0.02, 0.06), height * width)
    check(ir.GlobalAverage(name="mean", x="x", y="y", scale=scale), [x, y], core, random)


@given(st.integers(1, 20), st.integers(1, 10), st.integers(1, 10), FEW, FEW, CORES, BYTE_TYPES, SEEDS)
def test_enlargements(channels, height, width, down, across, core, dtype, seed):
    random = np.random.default_rng(seed)
    x = tensor("x", (1, channels, height, width), dtype, random)
    y = ir.Tensor(
        name="y",
        shape=(1, channels, height * down, width * across),
        dtype=dtype,
        scale=x.scale,
        zero_point=x.zero_point,
    )
    check(ir.Enlargement(name="enlarge", x="x", y="y", factors=(down, across)), [x, y], core, random)
