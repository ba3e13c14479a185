"""How tensors, weights and parameters lie in DRAM, and the way there and back.

A granule is `rows` bytes. What a layout calls channels is what the array's rows sum over.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.fpga.ir import Image, Tensor


class View(enum.Enum):
    """Which dimension of a tensor is its channels.

    FIRST: images, the second dimension. LAST: matrices `[..., m, k]`, the last. BEFORE_LAST: right operands
    `[..., k, n]`, the last but one.
    """

    FIRST = "first"
    LAST = "last"
    BEFORE_LAST = "before last"

    def image(self, tensor: Tensor) -> Image:
        """Return channels, height and width of a tensor."""
        if self is View.FIRST:
            return tensor.image
        columns, batch, rows = tensor.matrix
        return (columns, batch, rows) if self is View.LAST else (rows, batch, columns)

    def take(self, array: NDArray[Any], image: Image) -> NDArray[Any]:
        """Return an array as `[channels, height, width]`."""
        channels, height, width = image
        if self is View.FIRST:
            return array.reshape(image)
        if self is View.LAST:
            return array.reshape(height, width, channels).transpose(2, 0, 1)
        return array.reshape(height, channels, width).transpose(1, 0, 2)

    def give(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return what `take` was given, but for the shape."""
        order = {View.FIRST: (0, 1, 2), View.LAST: (1, 2, 0), View.BEFORE_LAST: (1, 0, 2)}
        return image.transpose(order[self])


@dataclass(frozen=True, kw_only=True)
class Blocked:
    """Activations as `[ceil(channels / rows)][height][width][rows]`.

    Attributes:
        rows: Bytes of a granule.
        view: Which dimension is the channels.
        image: Channels, height, width.
    """

    rows: int
    view: View
    image: Image

    @property
    def blocks(self) -> int:
        """Return the number of channel blocks."""
        return -(-self.image[0] // self.rows)

    @property
    def granules(self) -> int:
        """Return the size in granules."""
        return self.blocks * self.image[1] * self.image[2]

    def pack(self, array: NDArray[Any], zero_point: int) -> bytes:
        """Return the bytes of a tensor; channels that do not exist hold its zero point."""
        image = self.view.take(array, self.image)
        lacking = self.blocks * self.rows - self.image[0]
        full = np.pad(image, ((0, lacking), (0, 0), (0, 0)), constant_values=zero_point)
        return full.reshape(self.blocks, self.rows, *self.image[1:]).transpose(0, 2, 3, 1).tobytes()

    def unpack(self, data: bytes, tensor: Tensor) -> NDArray[Any]:
        """Return the tensor that bytes hold."""
        channels, height, width = self.image
        blocks = np.frombuffer(data, dtype=tensor.dtype).reshape(self.blocks, height, width, self.rows)
        image = blocks.transpose(0, 3, 1, 2).reshape(-1, height, width)[:channels]
        return self.view.give(image).reshape(tensor.shape)


@dataclass(frozen=True, kw_only=True)
class RowPacked:
    """An image of few channels as rows of consecutive `(x, channel)` bytes, with padding to the left and right.

    Attributes:
        rows: Bytes of a granule.
        image: Channels, height, width.
        left: Columns of padding before each row.
        right: Columns of padding after it.
    """

    rows: int
    image: Image
    left: int
    right: int

    @property
    def row_granules(self) -> int:
        """Return the granules from row to row."""
        channels, _, width = self.image
        return -(-(self.left + width + self.right) * channels // self.rows)

    @property
    def granules(self) -> int:
        """Return the size in granules."""
        return self.image[1] * self.row_granules

    def pack(self, array: NDArray[Any], zero_point: int) -> bytes:
        """Return the bytes of an image; padding holds its zero point."""
        channels, height, width = self.image
        rows = np.full((height, self.row_granules * self.rows), zero_point, dtype=array.dtype)
        start = self.left * channels
        rows[:, start : start + width * channels] = array.reshape(self.image).transpose(1, 2, 0).reshape(height, -1)
        return rows.tobytes()

    def unpack(self, data: bytes, tensor: Tensor) -> NDArray[Any]:
        """Return the image that bytes hold."""
        channels, height, width = self.image
        rows = np.frombuffer(data, dtype=tensor.dtype).reshape(height, -1)
        start = self.left * channels
        pixels = rows[:, start : start + width * channels].reshape(height, width, channels)
        return pixels.transpose(2, 0, 1).reshape(tensor.shape)


Layout = Blocked | RowPacked


def weight_blocks(weights: NDArray[Any], *, rows: int, cols: int, w_zero: int) -> bytes:
    """Return the bytes of one block of output channels: `[taps][rows][cols]`, absent channels at the zero point.

    Args:
        weights: Codes `[outputs up to cols, taps, inputs up to rows]`, taps in the order of the walk.
        rows: Of the array.
        cols: Of the array.
        w_zero: Zero point of the weights.
    """
    outputs, taps, inputs = weights.shape
    blocks = np.full((taps, rows, cols), w_zero, dtype=weights.dtype)
    blocks[:, :inputs, :outputs] = weights.transpose(1, 2, 0)
    return blocks.tobytes()


def parameter_blocks(bias: NDArray[np.int32], scale: NDArray[np.float32], cols: int) -> bytes:
    """Return bias and scale of all output channels, `cols` int32 and `cols` float32 for each block of channels."""
    count = math.ceil(bias.size / cols)
    biases, scales = np.zeros(count * cols, np.int32), np.zeros(count * cols, np.float32)
    biases[: bias.size], scales[: scale.size] = bias, scale
    pairs = zip(biases.reshape(count, cols), scales.reshape(count, cols), strict=True)
    return b"".join(one.astype("<i4").tobytes() + other.astype("<f4").tobytes() for one, other in pairs)
