"""A layer's constants in the order in which the core reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.fpga import ir
from leptonbench.fpga.compiler.layout import weight_blocks
from leptonbench.fpga.core import CoreShape

_LARGEST_ACTIVATION = 255  # of a code less its zero point


def check_sums(layer: ir.Convolution | ir.Product) -> None:
    """Make sure that no sum of a layer can leave 32 bits.

    Raises:
        UsageError: If one could.
    """
    axes = (1, 2, 3) if isinstance(layer, ir.Convolution) else (0,)
    sizes = np.abs(layer.weights.astype(np.int64) - layer.w_zero).sum(axis=axes)
    largest = int((sizes * _LARGEST_ACTIVATION + np.abs(layer.bias.astype(np.int64))).max())
    if largest >= 1 << 31:
        raise UsageError(
            f"layer {layer.name} cannot be computed with sums of 32 bits",
            cause=f"a sum can reach {largest}",
            hint="split the layer's input channels in the model",
        )


def reaches(layer: ir.Convolution, core: CoreShape) -> tuple[tuple[int, int], ...]:
    """Return for each block of output channels the first channel block that it reads, and how many."""
    outputs, inputs = layer.weights.shape[:2]
    each = outputs // layer.groups
    found = []
    for first in range(0, outputs, core.cols):
        last = min(first + core.cols, outputs) - 1
        low = first // each * inputs // core.rows
        high = -(-(last // each + 1) * inputs // core.rows)
        found.append((low, high - low))
    return tuple(found)


def dense_blocks(layer: ir.Convolution, core: CoreShape) -> list[bytes]:
    """Return the weights of each block of output channels, `[channel block][kernel row][kernel column][rows][cols]`.

    Channels of other groups within reach have weights of zero.
    """
    outputs, inputs, *kernel = layer.weights.shape
    each = outputs // layer.groups
    blocks = []
    for number, (low, count) in enumerate(reaches(layer, core)):
        first = number * core.cols
        made = min(core.cols, outputs - first)
        full = np.full((made, count * core.rows, *kernel), layer.w_zero, dtype=layer.weights.dtype)
        for output in range(made):
            start = (first + output) // each * inputs - low * core.rows
            full[output, start : start + inputs] = layer.weights[first + output]
        split = full.reshape(made, count, core.rows, *kernel).transpose(0, 1, 3, 4, 2).reshape(made, -1, core.rows)
        blocks.append(weight_blocks(split, rows=core.rows, cols=core.cols, w_zero=layer.w_zero))
    return blocks


def packed_blocks(layer: ir.Convolution, core: CoreShape) -> list[bytes]:
    """Return the weights of each block of output channels for packed rows, `[kernel row][block of row][rows][cols]`."""
    outputs, inputs, height, width = layer.weights.shape
    length = -(-width * inputs // core.rows) * core.rows
    rows = np.full((outputs, height, length), layer.w_zero, dtype=layer.weights.dtype)
    rows[:, :, : width * inputs] = layer.weights.transpose(0, 2, 3, 1).reshape(outputs, height, -1)
    split = rows.reshape(outputs, -1, core.rows)
    return [
        weight_blocks(split[first : first + core.cols], rows=core.rows, cols=core.cols, w_zero=layer.w_zero)
        for first in range(0, outputs, core.cols)
    ]


def lane_weights(layer: ir.Convolution, core: CoreShape) -> bytes:
    """Return the taps of a depthwise convolution, a granule each, a channel block after the other."""
    channels = layer.weights.shape[0]
    taps = int(np.prod(layer.weights.shape[2:]))
    blocks, padded = -(-channels // core.rows), -(-taps // core.slices) * core.slices
    full = np.full((blocks * core.rows, padded), layer.w_zero, dtype=layer.weights.dtype)
    full[:channels, :taps] = layer.weights.reshape(channels, taps)
    return full.reshape(blocks, core.rows, padded).transpose(0, 2, 1).tobytes()


def lane_parameters(bias: NDArray[Any], scale: NDArray[Any], core: CoreShape) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return bias and scale with each channel block spread to a block of parameters, of which lanes use the first."""
    blocks = -(-bias.size // core.rows)
    spread = []
    for values in (bias, scale):
        full = np.zeros((blocks, core.cols), dtype=values.dtype)
        lanes = np.zeros(blocks * core.rows, dtype=values.dtype)
        lanes[: values.size] = values
        full[:, : core.rows] = lanes.reshape(blocks, core.rows)
        spread.append(full.reshape(-1))
    return spread[0], spread[1]
