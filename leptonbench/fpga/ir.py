"""What a lowered network is: byte tensors, layers that run on the accelerator, and segments that run on the host.

Layers name their tensors; the network knows what each is. Nothing here depends on the shape of a core.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leptonbench.fpga.numerics import AddFactors

Image = tuple[int, int, int]
Pair = tuple[int, int]
Quad = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor between two steps.

    Attributes:
        name: As in the ONNX graph.
        shape: Logical, batch first; images are `[1, channels, height, width]` or `[1, channels, length]`.
        dtype: NumPy name; `uint8` and `int8` tensors are codes.
        scale: Of codes; `None` for other tensors.
        zero_point: Of codes; 0 for other tensors.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int = 0

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the elements, without padding."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def image(self) -> Image:
        """Return channels, height and width, with the channels in the second dimension."""
        _, channels, *rest = self.shape
        height, width = ([1] * (2 - len(rest)) + list(rest))[-2:]
        return channels, height, width

    @property
    def matrix(self) -> Image:
        """Return columns, matrices and rows: a `[..., m, k]` tensor as an image with the channels last."""
        *batch, rows, columns = self.shape
        return columns, math.prod(batch), rows


@dataclass(frozen=True, kw_only=True)
class Window:
    """How a kernel walks over an image; pairs are rows and columns.

    Attributes:
        kernel: Its size.
        strides: Of the outputs.
        pads: Top, left, bottom, right.
        dilations: Of the kernel.
    """

    kernel: Pair = (1, 1)
    strides: Pair = (1, 1)
    pads: Quad = (0, 0, 0, 0)
    dilations: Pair = (1, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution:
    """A convolution and its requantisation.

    Attributes:
        name: Of the node.
        x: Input `[1, in, h, w]` or `[1, in, l]`.
        y: Output.
        weights: Codes `[out, in / groups, kernel h, kernel w]`.
        w_zero: Zero point of the weights.
        bias: int32 `[out]`.
        scale: float32 `[out]`, of the sums.
        window: Kernel, strides, padding, dilation.
        groups: Of the channels.
    """

    name: str
    x: str
    y: str
    weights: NDArray[Any]
    w_zero: int
    bias: NDArray[np.int32]
    scale: NDArray[np.float32]
    window: Window
    groups: int = 1

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the tensors that it reads."""
        return (self.x,)

    @property
    def depthwise(self) -> bool:
        """Whether each channel is a group of its own and makes one output."""
        return self.groups > 1 and self.weights.shape[1] == 1 and self.weights.shape[0] == self.groups


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """A matrix product with constant weights: `[..., m, k]` times `[k, n]`, and its requantisation.

    Attributes:
        name: Of the node.
        x: Input `[..., m, k]`.
        y: Output `[..., m, n]`.
        weights: Codes `[k, n]`.
        w_zero: Zero point of the weights.
        bias: int32 `[n]`.
        scale: float32 `[n]`, of the sums.
    """

    name: str
    x: str
    y: str
    weights: NDArray[Any]
    w_zero: int
    bias: NDArray[np.int32]
    scale: NDArray[np.float32]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the tensors that it reads."""
        return (self.x,)


@dataclass(frozen=True, kw_only=True)
class ActivationProduct:
    """A matrix product of two activations `[..., m, k]` and `[..., k, n]` with equal batches.

    Attributes:
        name: Of the node.
        a: Left operand.
        b: Right operand.
        y: Output `[..., m, n]`.
        scale: float32, of the sums.
    """

    name: str
    a: str
    b: str
    y: str
    scale: np.float32

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the tensors that it reads."""
        return (self.a, self.b)


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A sum of two tensors of one shape.

    Attributes:
        name: Of the node.
        a: Left operand.
        b: Right operand.
        y: Output.
        factors: float32 factors of the codes, and the addend.
    """

    name: str
    a: str
    b: str
    y: str
    factors: AddFactors

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the tensors that it reads."""
        return (self.a, self.b)


@dataclass(frozen=True, kw_only=True)
class MaxPooling:
    """The largest code of each window; codes keep scale and zero point.

    Attributes:
        name: Of the node.
        x: Input image.
        y: Output image.
        window: Kernel, strides, padding, dilation.
    """

    name: str
    x: str
    y: str
    window: Window

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the tensors that it reads."""
        return (self.x,)


@dataclass(frozen=True, kw_only=True)
class GlobalAverage:
    """The mean of each channel.

    Attributes:
        name: Of the node.
        x: Input image.
        y: Output `[1, channels, 1, 1]`.
        scale: float32, of the sums.
    """

    name: str
    x: str
    y: str
    scale: np.float32

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the tensors that it reads."""
        return (self.x,)


@dataclass(frozen=True, kw_only=True)
class Enlargement:
    """Each pixel repeated: nearest interpolation by whole factors; codes keep scale and zero point.

    Attributes:
        name: Of the node.
        x: Input image.
        y: Output image.
        factors: Of rows and columns.
    """

    name: str
    x: str
    y: str
    factors: Pair

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the tensors that it reads."""
        return (self.x,)


@dataclass(frozen=True, kw_only=True)
class HostOperator:
    """An operator that the accelerator does not run.

    Attributes:
        op_type: As ONNX names it.
        name: Of the node.
    """

    op_type: str
    name: str


@dataclass(frozen=True, kw_only=True)
class HostSegment:
    """Operators that run on the host's CPU between two stretches of accelerated layers.

    Attributes:
        name: Of the segment.
        operators: What runs, in order.
        inputs: Tensors that it reads.
        outputs: Tensors that others read, or the network returns.
        model: The operators as an ONNX model of their own, serialised.
    """

    name: str
    operators: tuple[HostOperator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    model: bytes = field(repr=False)


Layer: TypeAlias = Convolution | Product | ActivationProduct | Addition | MaxPooling | GlobalAverage | Enlargement
Step: TypeAlias = Layer | HostSegment


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network, in the order in which it runs.

    Attributes:
        tensors: Every tensor that crosses a step, by name.
        steps: Layers and host segments.
        inputs: Names of the tensors that the network takes.
        outputs: Names of those that it returns.
    """

    tensors: dict[str, Tensor]
    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Return what runs on the accelerator."""
        return tuple(step for step in self.steps if not isinstance(step, HostSegment))

    @property
    def segments(self) -> tuple[HostSegment, ...]:
        """Return what runs on the host."""
        return tuple(step for step in self.steps if isinstance(step, HostSegment))

    def macs(self, layer: Layer) -> int:
        """Return the multiply-accumulates of a layer; 0 for one that multiplies nothing."""
        pixels = math.prod(self.tensors[layer.y].shape)
        match layer:
            case Convolution():
                return pixels * math.prod(layer.weights.shape[1:])
            case Product():
                return pixels * int(layer.weights.shape[0])
            case ActivationProduct():
                return pixels * self.tensors[layer.a].shape[-1]
            case _:
                return 0
