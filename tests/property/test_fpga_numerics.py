"""Each operator of the accelerator's reference against ONNX Runtime's kernel, byte for byte.

Kernel path: CPU provider, x86 with AVX2 and FMA, `session.x64quantprecision` = "1" where a weight is signed.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from leptonbench.fpga import numerics
from tests.fpga_oracle import run_operator

BYTE_TYPES = st.sampled_from([np.uint8, np.int8])
SCALES = st.floats(2.0**-10, 2.0, width=32)
SEEDS = st.integers(0, 2**32 - 1)
FLOATS = st.builds(
    lambda mantissa, exponent, sign: sign * math.ldexp(mantissa, exponent),
    st.integers(2**23, 2**24 - 1),
    st.integers(-60, 10),
    st.sampled_from([-1, 1]),
)  # every float32 of a middling size
SMALL = st.integers(0, 3)
STEP = st.integers(1, 3)


def zeros_of(dtype: Any) -> st.SearchStrategy[int]:
    return st.one_of(st.sampled_from(numerics.limits(dtype)), st.integers(*numerics.limits(dtype)))


def codes(random: np.random.Generator, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Draw codes of the full range, extremes often, so that sums grow beyond what float32 holds exactly."""
    low, high = numerics.limits(dtype)
    drawn = random.integers(low, high, size=shape, endpoint=True)
    extreme = random.choice([low, high], size=shape)
    return np.where(random.random(shape) < random.random(), extreme, drawn).astype(dtype)


def scalar(value: Any, dtype: Any = np.float32) -> NDArray[Any]:
    return np.array(value, dtype=dtype)


@given(data=st.data(), seed=SEEDS, x_type=BYTE_TYPES, scales=st.tuples(SCALES, SCALES))
def test_a_convolution_equals_the_runtimes(data, seed, x_type, scales):
    random = np.random.default_rng(seed)
    groups, inside, outside = data.draw(STEP), data.draw(st.integers(1, 9)), data.draw(st.integers(1, 5))
    kernel, strides, dilations = ((data.draw(STEP), data.draw(STEP)) for _ in range(3))
    pads = (data.draw(SMALL), data.draw(SMALL), data.draw(SMALL), data.draw(SMALL))
    size = tuple(
        data.draw(st.integers(max(1, (k - 1) * d + 1 - before - after), 12))
        for k, d, before, after in zip(kernel, dilations, pads[:2], pads[2:], strict=True)
    )
    x_zero, y_zero = data.draw(zeros_of(x_type)), data.draw(zeros_of(x_type))
    x = codes(random, x_type, (1, groups * inside, *size))
    weights = codes(random, np.int8, (groups * outside, inside, *kernel))
    bias = random.integers(-(2**16), 2**16, groups * outside).astype(np.int32) if data.draw(st.booleans()) else None
    w_scale = (scales[1] * random.uniform(0.1, 1, groups * outside)).astype(np.float32)
    sums = numerics.convolve(
        x, weights, bias, strides=strides, pads=pads, dilations=dilations, groups=groups, x_zero=x_zero
    )
    # A scale of the result that leaves most codes inside the range, or the test would compare limits.
    y_scale = np.float32(scales[0] * w_scale.mean() * (np.abs(sums).mean() + 1) / 50)
    ours = numerics.requantise(
        sums,
        numerics.product_scale(scales[0], w_scale, y_scale).reshape(-1, 1, 1),
        zero_point=y_zero,
        dtype=x_type,
    )
    theirs = run_operator(
        "QLinearConv",
        [
            *(x, scalar(scales[0]), scalar(x_zero, x_type), weights, w_scale),
            *(np.zeros(groups * outside, np.int8), scalar(y_scale), scalar(y_zero, x_type), bias),
        ],
        constant=range(1, 9),
        exact=x_type is np.uint8,  # the option knows no kernel of signed activations; theirs does not saturate
        strides=strides,
        pads=pads,
        dilations=dilations,
        group=groups,
    )
    np.testing.assert_array_equal(ours, theirs)


@given(data=st.data(), seed=SEEDS, scales=st.tuples(SCALES, SCALES), weights=st.booleans())
def test_a_matrix_product_equals_the_runtimes(data, seed, scales, weights):
    """With constant signed weights and a scale a column, or of two activations in batches."""
    random = np.random.default_rng(seed)
    m, k, n, batch = (data.draw(st.integers(1, 40)) for _ in range(4))
    b_type = np.int8 if weights else np.uint8
    a_zero, y_zero = data.draw(zeros_of(np.uint8)), data.draw(zeros_of(np.uint8))
    b_zero = 0 if weights else data.draw(zeros_of(np.uint8))
    a = codes(random, np.uint8, (m, k) if weights else (batch % 4 + 1, m, k))
    b = codes(random, b_type, (*a.shape[:-2], k, n))
    b_scale = np.float32(scales[1]) * random.uniform(0.1, 1, n if weights else ()).astype(np.float32)
    sums = numerics.multiply_matrices(a, b, a_zero=a_zero, b_zero=b_zero)
    y_scale = np.float32(scales[0] * b_scale.mean() * (np.abs(sums).mean() + 1) / 50)
    ours = numerics.requantise(
        sums, numerics.product_scale(scales[0], b_scale, y_scale), zero_point=y_zero, dtype=np.uint8
    )
    theirs = run_operator(
        "QLinearMatMul",
        [
            *(a, scalar(scales[0]), scalar(a_zero, np.uint8)),
            *(b, b_scale, np.full(b_scale.shape, b_zero, b_type), scalar(y_scale), scalar(y_zero, np.uint8)),
        ],
        constant=range(1, 8) if weights else (1, 2, 4, 5, 6, 7),
    )
    np.testing.assert_array_equal(ours, theirs)


@given(data=st.data(), seed=SEEDS, scales=st.tuples(SCALES, SCALES))
def test_a_fully_connected_layer_equals_the_runtimes(data, seed, scales):
    random = np.random.default_rng(seed)
    m, k, n = (data.draw(st.integers(1, 40)) for _ in range(3))
    a_zero, y_zero = data.draw(zeros_of(np.uint8)), data.draw(zeros_of(np.uint8))
    a, b = codes(random, np.uint8, (m, k)), codes(random, np.int8, (n, k))
    bias = random.integers(-(2**20), 2**20, n).astype(np.int32)
    b_scale = (scales[1] * random.uniform(0.1, 1, n)).astype(np.float32)
    sums = numerics.multiply_matrices(a, b.T, bias, a_zero=a_zero)
    y_scale = np.float32(scales[0] * b_scale.mean() * (np.abs(sums).mean() + 1) / 50)
    ours = numerics.requantise(
        sums, numerics.product_scale(scales[0], b_scale, y_scale), zero_point=y_zero, dtype=np.uint8
    )
    theirs = run_operator(
        "QGemm",
        [
            *(a, scalar(scales[0]), scalar(a_zero, np.uint8), b, b_scale, np.zeros(n, np.int8)),
            *(bias, scalar(y_scale), scalar(y_zero, np.uint8)),
        ],
        constant=range(1, 9),
        domain="com.microsoft",
        transB=1,
    )
    np.testing.assert_array_equal(ours, theirs)


@given(data=st.data(), seed=SEEDS, dtype=BYTE_TYPES, scales=st.tuples(SCALES, SCALES, SCALES))
def test_an_addition_equals_the_runtimes(data, seed, dtype, scales):
    zeros = [data.draw(zeros_of(dtype)) for _ in range(3)]
    everything = np.arange(*(limit + end for limit, end in zip(numerics.limits(dtype), (0, 1), strict=True)))
    a, b = (grid.astype(dtype) for grid in np.meshgrid(everything, everything))
    factors = numerics.add_factors(*zip(scales, zeros, strict=True))
    theirs = run_operator(
        "QLinearAdd",
        [
            value
            for codes, scale, zero in zip((a, b), scales, zeros, strict=False)
            for value in (codes, scalar(scale), scalar(zero, dtype))
        ]
        + [scalar(scales[2]), scalar(zeros[2], dtype)],
        domain="com.microsoft",
        constant=(1, 2, 4, 5, 6, 7),
    )
    np.testing.assert_array_equal(numerics.add(a, b, factors, dtype=dtype), theirs)


@given(a=FLOATS, b=FLOATS, c=FLOATS)
@example(a=1 + 2.0**-23, b=1 + 2.0**-23, c=2.0**-60)
@example(a=255.0, b=2.0**-20, c=1 + 2.0**-23)
@example(a=1 + 2.0**-12, b=1 + 2.0**-12, c=-(2.0**-80))
def test_a_fused_multiply_add_is_rounded_once(a, b, c):
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    assume(exact != 0)
    ours = numerics.fused_multiply_add(np.float32(a), np.float32(b), np.float32(c))
    found = Fraction(float(ours))
    for direction in (-np.inf, np.inf):
        neighbour = Fraction(float(np.nextafter(ours, np.float32(direction))))
        assert abs(found - exact) <= abs(neighbour - exact)
        if abs(found - exact) == abs(neighbour - exact):
            assert ours.view(np.uint32) & 1 == 0


@given(data=st.data(), seed=SEEDS, dtype=BYTE_TYPES)
def test_max_pooling_equals_the_runtimes(data, seed, dtype):
    kernel, strides = (data.draw(STEP), data.draw(STEP)), (data.draw(STEP), data.draw(STEP))
    pads = tuple(data.draw(st.integers(0, kernel[index % 2] - 1)) for index in range(4))
    x = codes(np.random.default_rng(seed), dtype, (1, 3, data.draw(st.integers(3, 12)), data.draw(st.integers(3, 12))))
    theirs = run_operator("MaxPool", [x], kernel_shape=kernel, strides=strides, pads=pads)
    np.testing.assert_array_equal(numerics.max_pool(x, kernel=kernel, strides=strides, pads=pads), theirs)


@given(data=st.data(), seed=SEEDS, dtype=BYTE_TYPES, scales=st.tuples(SCALES, SCALES))
def test_a_global_average_equals_the_runtimes(data, seed, dtype, scales):
    zeros = data.draw(zeros_of(dtype)), data.draw(zeros_of(dtype))
    x = codes(np.random.default_rng(seed), dtype, (1, 5, data.draw(st.integers(1, 15)), data.draw(st.integers(1, 15))))
    theirs = run_operator(
        "QLinearGlobalAveragePool",
        [x, scalar(scales[0]), scalar(zeros[0], dtype), scalar(scales[1]), scalar(zeros[1], dtype)],
        domain="com.microsoft",
        constant=range(1, 5),
        channels_last=0,
    )
    scale = numerics.average_scale(scales[0], scales[1], x.shape[2] * x.shape[3])
    ours = numerics.average_globally(x, scale, x_zero=zeros[0], y_zero=zeros[1])
    np.testing.assert_array_equal(ours, theirs)


@given(seed=SEEDS, dtype=BYTE_TYPES, scale=SCALES, data=st.data())
def test_quantising_and_back_equals_the_runtimes(seed, dtype, scale, data):
    zero = data.draw(zeros_of(dtype))
    halves = np.arange(-600, 600, dtype=np.float32) * np.float32(scale / 2)  # every tie, and what lies between
    noise = np.random.default_rng(seed).normal(0, 200 * scale, 500).astype(np.float32)
    values = np.concatenate([halves, noise])
    theirs = run_operator("QuantizeLinear", [values, scalar(scale), scalar(zero, dtype)])
    ours = numerics.quantise(values, scale, zero_point=zero, dtype=dtype)
    np.testing.assert_array_equal(ours, theirs)
    back = run_operator("DequantizeLinear", [theirs, scalar(scale), scalar(zero, dtype)])
    np.testing.assert_array_equal(numerics.dequantise(ours, scale, zero_point=zero), back)


@given(seed=SEEDS, dtype=BYTE_TYPES)
def test_enlarging_equals_the_runtimes(seed, dtype):
    x = codes(np.random.default_rng(seed), dtype, (1, 3, 4, 5))
    theirs = run_operator(
        "Resize",
        [x, None, np.array([1, 1, 2, 3], np.float32)],
        constant=(2,),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    np.testing.assert_array_equal(numerics.enlarge(x, (2, 3)), theirs)


def test_sums_beyond_32_bits_are_refused():
    a, b = np.full((1, 66_052), 255, np.uint8), np.full((66_052, 1), -128, np.int8)
    with pytest.raises(OverflowError, match="32 bits"):
        numerics.multiply_matrices(a, b)
