"""The arithmetic of every operator that the accelerator runs, in NumPy, bit for bit ONNX Runtime's on x86.

The reference is ONNX Runtime's CPU provider as it runs on an x86 CPU with AVX2 and FMA: its source, in
`core/mlas/lib/quantize.cpp`, `qladd.cpp`, `intrinsics/avx2/qladd_avx2.cpp`, `qlgavgpool.cpp` and
`core/providers/cpu/quantization/qlinearconv.cc` (microsoft/onnxruntime, read 2026-11), and its behaviour, to which the
tests hold each function. Other CPUs take other paths there: Arm adds with fixed-point multipliers, and x86 without AVX2
adds without fused multiply-add.

Byte tensors are uint8 or int8, images `[n, channels, height, width]`. Scales are float32 and stay so: each operation
below rounds once, half to even, where it says float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike, NDArray

Bytes = NDArray[Any]  # of uint8 or int8
Sums = NDArray[np.int32]
Scales = NDArray[np.float32]
Pair = tuple[int, int]
Quad = tuple[int, int, int, int]

REFERENCE = "ONNX Runtime CPU provider, x86 with AVX2 and FMA, exact 8-bit products"


def limits(dtype: DTypeLike) -> Pair:
    """Return the smallest and the largest code of a byte type."""
    info = np.iinfo(np.dtype(dtype))
    return int(info.min), int(info.max)


def product_scale(a_scale: Any, b_scale: Any, y_scale: Any) -> Scales:
    """Return `a_scale * b_scale / y_scale` in float32, left to right: the factor of each output channel.

    Args:
        a_scale: Of the activations, one value.
        b_scale: Of the weights, one value or one a channel.
        y_scale: Of the result, one value.
    """
    scale = np.float32(a_scale) * np.asarray(b_scale, dtype=np.float32) / np.float32(y_scale)
    return np.asarray(scale, dtype=np.float32)


def requantise(sums: Sums, scale: Any, *, zero_point: int, dtype: DTypeLike) -> Bytes:
    """Turn sums into codes: to float32, times the scale, clamp, round half to even, add the zero point.

    Args:
        sums: int32, bias included, of any shape.
        scale: float32, one value or an array that broadcasts against `sums`.
        zero_point: Of the result.
        dtype: uint8 or int8.
    """
    low, high = limits(dtype)
    scaled = sums.astype(np.float32) * np.asarray(scale, dtype=np.float32)
    clamped = np.clip(scaled, np.float32(low - zero_point), np.float32(high - zero_point))
    codes: Bytes = (np.rint(clamped).astype(np.int32) + zero_point).astype(dtype)
    return codes


def quantise(values: NDArray[np.float32], scale: Any, *, zero_point: int, dtype: DTypeLike) -> Bytes:
    """Return the codes of float32 values: divide by the scale, round half to even, add the zero point, clamp."""
    low, high = limits(dtype)
    whole = np.rint(values / np.float32(scale))
    codes: Bytes = np.clip(whole + np.float32(zero_point), low, high).astype(dtype)
    return codes


def dequantise(codes: Bytes, scale: Any, *, zero_point: int) -> NDArray[np.float32]:
    """Return the float32 values of codes."""
    return (codes.astype(np.int32) - np.int32(zero_point)).astype(np.float32) * np.float32(scale)


def convolve(
    x: Bytes,
    weights: Bytes,
    bias: Sums | None = None,
    *,
    strides: Pair = (1, 1),
    pads: Quad = (0, 0, 0, 0),
    dilations: Pair = (1, 1),
    groups: int = 1,
    x_zero: int = 0,
    w_zero: int = 0,
) -> Sums:
    """Return the int32 sums `[n, out, h, w]` of a convolution; padding has the zero point's value.

    Args:
        x: Codes `[n, in, h, w]`.
        weights: Codes `[out, in / groups, kernel h, kernel w]`.
        bias: int32 `[out]`.
        strides: Rows and columns.
        pads: Top, left, bottom, right.
        dilations: Rows and columns.
        groups: Of the channels.
        x_zero: Zero point of `x`.
        w_zero: Zero point of `weights`, the same for all channels.

    Raises:
        OverflowError: If a sum does not fit into int32.
    """
    top, left, bottom, right = pads
    n, channels = x.shape[:2]
    outputs, _, kernel_h, kernel_w = weights.shape
    # float64 holds every integer up to 2^53, so these products are exact, and they run on the CPU's fast path.
    padded = np.pad(x.astype(np.float64) - x_zero, ((0, 0), (0, 0), (top, bottom), (left, right)))
    signed = (weights.astype(np.float64) - w_zero).reshape(groups, outputs // groups, channels // groups, -1)
    taps = np.ascontiguousarray(signed.transpose(3, 0, 1, 2))
    span = ((kernel_h - 1) * dilations[0] + 1, (kernel_w - 1) * dilations[1] + 1)
    windows = sliding_window_view(padded, span, axis=(2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    height, width = windows.shape[2:4]
    sums = np.zeros((n, groups, outputs // groups, height * width))
    for tap, matrix in enumerate(taps):
        taken = windows[..., tap // kernel_w, tap % kernel_w]
        sums += matrix @ taken.reshape(n, groups, channels // groups, -1)
    result = sums.reshape(n, outputs, height, width)
    if bias is not None:
        result = result + bias.reshape(1, -1, 1, 1)
    return _int32(result)


def multiply_matrices(a: Bytes, b: Bytes, bias: Sums | None = None, *, a_zero: int = 0, b_zero: int = 0) -> Sums:
    """Return the int32 sums `[..., m, n]` of a product of codes `[..., m, k]` and `[..., k, n]`, plus bias `[n]`.

    Raises:
        OverflowError: If a sum does not fit into int32.
    """
    sums = (a.astype(np.float64) - a_zero) @ (b.astype(np.float64) - b_zero)
    return _int32(sums if bias is None else sums + bias)


class AddFactors(NamedTuple):
    """What an addition multiplies by and adds, float32.

    Attributes:
        a: Factor of the first operand's codes.
        b: Factor of the second operand's codes.
        fixed: What the zero points come to.
    """

    a: np.float32
    b: np.float32
    fixed: np.float32


def add_factors(a: tuple[Any, int], b: tuple[Any, int], y: tuple[Any, int]) -> AddFactors:
    """Return the factors of an addition of `(scale, zero point)` pairs."""
    factor_a = np.float32(a[0]) / np.float32(y[0])
    factor_b = np.float32(b[0]) / np.float32(y[0])
    # The runtime's source has no fused operation here; its compiler makes one, of this and not of the other product.
    zeros = fused_multiply_add(factor_a, np.float32(a[1]), factor_b * np.float32(b[1]))
    return AddFactors(factor_a, factor_b, np.float32(np.float32(y[1]) - zeros))


def add(a: Bytes, b: Bytes, factors: AddFactors, *, dtype: DTypeLike) -> Bytes:
    """Return `a + b` in codes: two fused multiply-adds, each rounded once, then round half to even and clamp.

    The zero point of the result is part of `factors.fixed`.
    """
    low, high = limits(dtype)
    inner = fused_multiply_add(b.astype(np.float32), factors.b, factors.fixed)
    total = fused_multiply_add(a.astype(np.float32), factors.a, inner)
    return np.clip(np.rint(total), low, high).astype(dtype)


def fused_multiply_add(a: Any, b: Any, c: Any) -> NDArray[np.float32]:
    """Return `a * b + c` of float32 numbers, rounded once to float32.

    The product is exact in float64. The sum may not be, and rounding it twice could go wrong at ties; so its last bit
    is made odd when something was lost (round to odd), after which rounding to float32 is as good as rounding once
    (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", IEEE Transactions on Computers, 2008).
    """
    product, addend = np.broadcast_arrays(
        np.asarray(a, dtype=np.float64) * np.asarray(b, dtype=np.float64), np.asarray(c, dtype=np.float64)
    )
    total = np.asarray(product + addend)
    part = total - product
    lost = (product - (total - part)) + (addend - part)
    code = total.view(np.int64)
    towards = np.where((lost > 0) == (total > 0), 1, -1)  # a larger code is a larger magnitude
    adjust = (lost != 0) & (code & 1 == 0)
    return (code + np.where(adjust, towards, 0)).view(np.float64).astype(np.float32)


def max_pool(x: Bytes, *, kernel: Pair, strides: Pair, pads: Quad, dilations: Pair = (1, 1)) -> Bytes:
    """Return the largest code of each window; what lies outside the image is no candidate."""
    top, left, bottom, right = pads
    low = limits(x.dtype)[0]
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=low)
    span = ((kernel[0] - 1) * dilations[0] + 1, (kernel[1] - 1) * dilations[1] + 1)
    windows = sliding_window_view(padded, span, axis=(2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    return np.asarray(windows.max(axis=(4, 5)))


def average_scale(x_scale: Any, y_scale: Any, pixels: int) -> np.float32:
    """Return the factor of a global average's sums."""
    return np.float32(np.float32(x_scale) / (np.float32(y_scale) * np.float32(pixels)))


def average_globally(x: Bytes, scale: np.float32, *, x_zero: int, y_zero: int) -> Bytes:
    """Return the mean of each channel `[n, c, 1, 1]`, with the zero point's share taken off the sum first.

    Args:
        x: Images.
        scale: `average_scale` of them.
        x_zero: Zero point of the images.
        y_zero: Zero point of the means.
    """
    pixels = x.shape[2] * x.shape[3]
    sums = _int32(x.sum(axis=(2, 3), keepdims=True, dtype=np.int64) - x_zero * pixels)
    return requantise(sums, scale, zero_point=y_zero, dtype=x.dtype)


def enlarge(x: Bytes, factors: Pair) -> Bytes:
    """Return each pixel repeated: nearest interpolation by whole factors."""
    return np.repeat(np.repeat(x, factors[0], axis=2), factors[1], axis=3)


def _int32(sums: NDArray[Any]) -> Sums:
    info = np.iinfo(np.int32)
    if sums.size and not (info.min <= sums.min() and sums.max() <= info.max):
        raise OverflowError("a sum of products does not fit into 32 bits")
    return sums.astype(np.int32)
