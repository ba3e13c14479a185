"""Networks drawn by hand, for their shapes alone: layers without values, which take no memory."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from leptonbench.fpga import ir
from leptonbench.fpga.numerics import AddFactors

Padding = Literal["same", "valid"] | int | tuple[int, int]
_FACTORS = AddFactors(np.float32(1), np.float32(1), np.float32(0))


class Drawing:
    """A network in the making; every method that adds a layer takes the names of its inputs and returns its output's.

    Attributes:
        layers: In order.
        tensors: By name.
        source: Name of the input image.

    Args:
        image: Channels, height and width of the input.
    """

    def __init__(self, image: ir.Image) -> None:
        self.layers: list[ir.Layer] = []
        self.tensors: dict[str, ir.Tensor] = {}
        self._numbers = itertools.count()
        self.source = self._tensor(image)

    def image(self, name: str) -> ir.Image:
        """Return channels, height and width of a tensor."""
        return self.tensors[name].image

    def convolve(
        self,
        x: str,
        outputs: int,
        kernel: int | ir.Pair = 1,
        *,
        stride: int = 1,
        pad: Padding = "same",
        groups: int = 1,
        dilation: int = 1,
    ) -> str:
        """Add a convolution with its activation."""
        channels = self.image(x)[0]
        window = self._window(x, kernel, stride, pad, dilation)
        y = self._tensor((outputs, *self._walked(x, window)))
        self.layers.append(
            ir.Convolution(
                name=y,
                x=x,
                y=y,
                weights=_shaped(np.int8(1), (outputs, channels // groups, *window.kernel)),
                w_zero=0,
                bias=_shaped(np.int32(0), (outputs,)),
                scale=_shaped(np.float32(1), (outputs,)),
                window=window,
                groups=groups,
            )
        )
        return y

    def depthwise(self, x: str, kernel: int = 3, *, stride: int = 1, pad: Padding = "same") -> str:
        """Add a depthwise convolution."""
        channels = self.image(x)[0]
        return self.convolve(x, channels, kernel, stride=stride, pad=pad, groups=channels)

    def dense(self, x: str, outputs: int) -> str:
        """Add a fully connected layer, over all pixels."""
        return self.convolve(x, outputs, self.image(x)[1:], pad="valid")

    def pool(self, x: str, kernel: int, *, stride: int = 1, pad: Padding = "same", ceil: bool = False) -> str:
        """Add a pooling over windows: of the largest or of the mean, which take the same walk.

        With `ceil`, a last window may begin inside and end outside, as Caffe has it.
        """
        window = self._window(x, kernel, stride, pad, 1)
        if ceil:
            extra = tuple(
                -(size + window.pads[axis] + window.pads[axis + 2] - kernel) % stride
                for axis, size in enumerate(self.image(x)[1:])
            )
            top, left, bottom, right = window.pads
            pads = (top, left, bottom + extra[0], right + extra[1])
            window = ir.Window(kernel=window.kernel, strides=window.strides, pads=pads)
        y = self._tensor((self.image(x)[0], *self._walked(x, window)))
        self.layers.append(ir.MaxPooling(name=y, x=x, y=y, window=window))
        return y

    def mean(self, x: str) -> str:
        """Add a mean over all pixels."""
        y = self._tensor((self.image(x)[0], 1, 1))
        self.layers.append(ir.GlobalAverage(name=y, x=x, y=y, scale=np.float32(1)))
        return y

    def add(self, a: str, b: str) -> str:
        """Add the sum of two tensors of one shape.

        Raises:
            ValueError: If their shapes differ.
        """
        if self.image(a) != self.image(b):
            raise ValueError(f"{self.image(a)} and {self.image(b)} cannot be added")
        y = self._tensor(self.image(a))
        self.layers.append(ir.Addition(name=y, a=a, b=b, y=y, factors=_FACTORS))
        return y

    def join(self, *parts: str) -> str:
        """Return the parts' channels one after the other: a matter of addresses, not a layer.

        Raises:
            ValueError: If their sizes differ.
        """
        if len({self.image(part)[1:] for part in parts}) != 1:
            raise ValueError(f"{[self.image(part) for part in parts]} cannot be joined")
        return self._tensor((sum(self.image(part)[0] for part in parts), *self.image(parts[0])[1:]))

    def rearrange(self, x: str, image: ir.Image) -> str:
        """Return the same bytes in another shape: a matter of addresses, not a layer.

        Raises:
            ValueError: If it has another number of elements.
        """
        if math.prod(image) != math.prod(self.image(x)):
            raise ValueError(f"{self.image(x)} cannot be rearranged to {image}")
        return self._tensor(image)

    def enlarge(self, x: str, factor: int = 2) -> str:
        """Add a repetition of each pixel."""
        channels, height, width = self.image(x)
        y = self._tensor((channels, height * factor, width * factor))
        self.layers.append(ir.Enlargement(name=y, x=x, y=y, factors=(factor, factor)))
        return y

    def network(self) -> ir.Network:
        """Return what was drawn."""
        return ir.Network(
            tensors=self.tensors,
            steps=tuple(self.layers),
            inputs=(self.source,),
            outputs=(self.layers[-1].y,),
        )

    def _tensor(self, image: ir.Image) -> str:
        name = f"t{next(self._numbers)}"
        self.tensors[name] = ir.Tensor(name=name, shape=(1, *image), dtype="uint8", scale=1.0)
        return name

    def _window(self, x: str, kernel: int | ir.Pair, stride: int, pad: Padding, dilation: int) -> ir.Window:
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        ends = [
            _pads(length, reach, stride, pad if not isinstance(pad, tuple) else pad[axis], dilation)
            for axis, (length, reach) in enumerate(zip(self.image(x)[1:], size, strict=True))
        ]
        return ir.Window(
            kernel=size,
            strides=(stride, stride),
            pads=(ends[0][0], ends[1][0], ends[0][1], ends[1][1]),
            dilations=(dilation, dilation),
        )

    def _walked(self, x: str, window: ir.Window) -> ir.Pair:
        _, height, width = self.image(x)
        sizes = []
        for axis, length in enumerate((height, width)):
            reach = window.dilations[axis] * (window.kernel[axis] - 1) + 1
            padded = length + window.pads[axis] + window.pads[axis + 2]
            sizes.append((padded - reach) // window.strides[axis] + 1)
        return sizes[0], sizes[1]


def _pads(length: int, kernel: int, stride: int, pad: Literal["same", "valid"] | int, dilation: int) -> ir.Pair:
    """Return padding before and after; `same` makes one output every `stride` inputs, the odd one after."""
    if isinstance(pad, int):
        return pad, pad
    if pad == "valid":
        return 0, 0
    total = max((-(-length // stride) - 1) * stride + dilation * (kernel - 1) + 1 - length, 0)
    return total // 2, total - total // 2


def _shaped(value: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return an array of one value that takes the memory of one value."""
    return np.broadcast_to(value, shape)
