"""From a layer of the intermediate representation to work for the core: placements, constants, instructions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from leptonbench.errors import UsageError
from leptonbench.fpga import ir
from leptonbench.fpga.compiler import attention, lanes, weights
from leptonbench.fpga.compiler.array import Coding, Work
from leptonbench.fpga.compiler.emitter import Emitter, fastest
from leptonbench.fpga.compiler.geometry import BlockedSource, PackedSource, Source
from leptonbench.fpga.compiler.layout import Blocked, Layout, RowPacked, View, parameter_blocks
from leptonbench.fpga.compiler.program import DramMap, Placement
from leptonbench.fpga.compiler.schedule import Memory
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.isa import Drain, ExecMode
from leptonbench.fpga.numerics import limits


class Job(Protocol):
    """What the core has to do for a layer, and the ways to cut it."""

    def choices(self, core: CoreShape, memory: Memory) -> Sequence[Any]:
        """Return the ways that fit the core; the first is tried first."""

    def emit(self, emitter: Emitter, choice: Any) -> str:
        """Append the instructions, cut in one of those ways, and return it in words."""


Placed: TypeAlias = tuple[Job, list[Placement], Placement]
"""Work, where its inputs lie, and where its output does."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A layer whose constants and tensors have places.

    Attributes:
        reads: Tensors and where they are read.
        writes: The output and where it is written.
        constant_bytes: Of weights and parameters.
        work: What is to be done.
        shape: Equal for layers that take equally long: everything but names, places and values.
    """

    reads: tuple[tuple[str, Placement], ...]
    writes: tuple[str, Placement]
    constant_bytes: int
    work: Job
    shape: Hashable

    def emit(self, emitter: Emitter, memory: Memory, chosen: dict[Hashable, Any]) -> str:
        """Append the layer's instructions and return how it was cut.

        Args:
            emitter: Of the program.
            memory: Expected speed of the DRAM.
            chosen: The best cut of each shape that was looked at; this one's is added.
        """
        if self.shape not in chosen:
            choices = self.work.choices(emitter.core, memory)
            chosen[self.shape] = fastest(emitter.core, memory, choices, self.work.emit)
        return self.work.emit(emitter, chosen[self.shape])


class Preparation:
    """Gives the tensors and constants of a network's layers their places.

    Args:
        core: That the layers are for.
        tensors: Of the network, by name.
        produced: Names of the tensors that layers make, not the host.
        dram: Where there is room.
    """

    def __init__(
        self, core: CoreShape, tensors: Mapping[str, ir.Tensor], produced: frozenset[str], dram: DramMap
    ) -> None:
        self.core = core
        self.tensors = tensors
        self.produced = produced
        self.dram = dram
        self._kept = 0

    def prepare(self, layer: ir.Layer) -> Prepared:
        """Return the layer with places.

        Raises:
            UsageError: If it cannot run on this core; it says why.
        """
        self._kept = 0
        work, reads, writes = self._work(layer)
        return Prepared(
            reads=tuple(zip(layer.inputs, reads, strict=True)),
            writes=(layer.y, writes),
            constant_bytes=self._kept,
            work=work,
            shape=self.shape(layer),
        )

    def shape(self, layer: ir.Layer) -> Hashable:
        """Return what decides how long a layer takes; equal for layers that take equally long."""
        tensors = tuple((self.tensors[name].shape, self.tensors[name].dtype) for name in (*layer.inputs, layer.y))
        match layer:
            case ir.Convolution():
                rest: tuple[Hashable, ...] = (layer.weights.shape, layer.window, layer.groups, self._packs(layer))
            case ir.MaxPooling():
                rest = (layer.window,)
            case _:
                rest = ()
        return (type(layer).__name__, tensors, *rest)

    def _keep(self, data: bytes) -> int:
        self._kept += len(data)
        return self.dram.keep(data)

    def _place(self, name: str, view: View) -> Placement:
        image = view.image(self.tensors[name])
        if image[1:] == (1, 1):  # a single vector lies the same way whichever dimension its channels are
            view = View.FIRST
        layout: Layout = Blocked(rows=self.core.rows, view=view, image=image)
        return self.dram.place(name, layout, spare_granules=self.core.cols)

    def _coding(self, x: str, y: str, *, w_zero: int, w_signed: bool) -> Coding:
        one, other = self.tensors[x], self.tensors[y]
        return Coding(
            a_zero=one.zero_point,
            a_signed=one.dtype == "int8",
            w_zero=w_zero,
            w_signed=w_signed,
            y_zero=other.zero_point,
            y_dtype=other.dtype,
        )

    def _unit_params(self, scale: np.float32) -> int:
        """Return the address of one block of parameters: no bias, one scale."""
        block = np.full(self.core.cols, scale, dtype=np.float32)
        return self._keep(parameter_blocks(np.zeros(self.core.cols, np.int32), block, self.core.cols))

    def _work(self, layer: ir.Layer) -> Placed:
        match layer:
            case ir.Convolution():
                return self._depthwise(layer) if layer.depthwise else self._convolution(layer)
            case ir.Product():
                return self._product(layer)
            case ir.ActivationProduct():
                return self._activation_product(layer)
            case ir.Addition():
                return self._addition(layer)
            case ir.MaxPooling():
                return self._max_pooling(layer)
            case ir.GlobalAverage():
                return self._global_average(layer)
            case ir.Enlargement():
                return self._enlargement(layer)

    def _blocks(self, layer: ir.Convolution, *, packs: bool) -> list[bytes]:
        """Return the weights of each block of output channels."""
        weights.check_sums(layer)
        return weights.packed_blocks(layer, self.core) if packs else weights.dense_blocks(layer, self.core)

    def _taps(self, layer: ir.Convolution) -> bytes:
        """Return the weights of a depthwise convolution."""
        weights.check_sums(layer)
        return weights.lane_weights(layer, self.core)

    def _convolution(self, layer: ir.Convolution) -> Placed:
        coding = self._coding(layer.x, layer.y, w_zero=layer.w_zero, w_signed=layer.weights.dtype == np.int8)
        target = self._place(layer.y, View.FIRST)
        packs = self._packs(layer)
        place = self._packed(layer) if packs else self._place(layer.x, View.FIRST)
        blocks = self._blocks(layer, packs=packs)
        reader = PackedSource(place, layer.window) if packs else BlockedSource(place, layer.window)
        reach = ((0, 1),) * len(blocks) if packs else weights.reaches(layer, self.core)
        return self._array(layer, coding, reader, blocks, reach, target), [place], target

    def _product(self, layer: ir.Product) -> Placed:
        as_convolution = ir.Convolution(
            name=layer.name,
            x=layer.x,
            y=layer.y,
            weights=np.ascontiguousarray(layer.weights.T)[:, :, None, None],
            w_zero=layer.w_zero,
            bias=layer.bias,
            scale=layer.scale,
            window=ir.Window(),
        )
        coding = self._coding(layer.x, layer.y, w_zero=layer.w_zero, w_signed=layer.weights.dtype == np.int8)
        source, target = self._place(layer.x, View.LAST), self._place(layer.y, View.LAST)
        blocks = self._blocks(as_convolution, packs=False)
        reach = weights.reaches(as_convolution, self.core)
        reader = BlockedSource(source, as_convolution.window)
        return self._array(as_convolution, coding, reader, blocks, reach, target), [source], target

    def _array(
        self,
        layer: ir.Convolution,
        coding: Coding,
        source: Source,
        blocks: list[bytes],
        reach: tuple[tuple[int, int], ...],
        target: Placement,
    ) -> Work:
        return Work(
            name=layer.name,
            source=source,
            x=layer.x,
            y=layer.y,
            target=target,
            coding=coding,
            reach=reach,
            weights=tuple(self._keep(block) for block in blocks),
            params=self._keep(parameter_blocks(layer.bias, layer.scale, self.core.cols)),
        )

    def _packs(self, layer: ir.Convolution) -> bool:
        """Return whether packed rows take fewer blocks than channel blocks, and the host makes the image."""
        channels, width = self.tensors[layer.x].image[0], layer.window.kernel[1]
        fewer = -(-width * channels // self.core.rows) < width * -(-channels // self.core.rows)
        return fewer and layer.groups == 1 and layer.window.dilations[1] == 1 and layer.x not in self.produced

    def _packed(self, layer: ir.Convolution) -> Placement:
        _, left, _, right = layer.window.pads
        layout = RowPacked(rows=self.core.rows, image=self.tensors[layer.x].image, left=left, right=right)
        return self.dram.place(layer.x, layout, spare_granules=self.core.cols)

    def _depthwise(self, layer: ir.Convolution) -> Placed:
        coding = self._coding(layer.x, layer.y, w_zero=layer.w_zero, w_signed=layer.weights.dtype == np.int8)
        source, target = self._place(layer.x, View.FIRST), self._place(layer.y, View.FIRST)
        bias, scale = weights.lane_parameters(layer.bias, layer.scale, self.core)
        work = lanes.Windowed(
            name=layer.name,
            mode=ExecMode.LANES,
            source=BlockedSource(source, layer.window),
            x=layer.x,
            y=layer.y,
            target=target,
            fields=coding.exec_fields(),
            drain=coding.drain(0),
            weights=self._keep(self._taps(layer)),
            params=self._keep(parameter_blocks(bias, scale, self.core.cols)),
            shared_params=False,
        )
        return work, [source], target

    def _windowed(
        self,
        layer: ir.MaxPooling | ir.GlobalAverage,
        mode: ExecMode,
        window: ir.Window,
        drain: Drain,
        scale: np.float32,
    ) -> tuple[lanes.Windowed, list[Placement], Placement]:
        source, target = self._place(layer.x, View.FIRST), self._place(layer.y, View.FIRST)
        x = self.tensors[layer.x]
        work = lanes.Windowed(
            name=layer.name,
            mode=mode,
            source=BlockedSource(source, window),
            x=layer.x,
            y=layer.y,
            target=target,
            fields={
                "a_signed": x.dtype == "int8",
                # The largest code is the largest value whatever the zero point; a mean is of values.
                "a_zero": 0 if mode is ExecMode.MAX else x.zero_point,
            },
            drain=drain,
            weights=None,
            params=self._unit_params(scale),
            shared_params=True,
        )
        return work, [source], target

    def _max_pooling(self, layer: ir.MaxPooling) -> Placed:
        low, high = limits(self.tensors[layer.y].dtype)
        return self._windowed(layer, ExecMode.MAX, layer.window, Drain(low=low, high=high), np.float32(1))

    def _global_average(self, layer: ir.GlobalAverage) -> Placed:
        x, y = self.tensors[layer.x], self.tensors[layer.y]
        low, high = limits(y.dtype)
        if x.image[1] * x.image[2] * 255 >= 1 << 31:
            raise UsageError(f"layer {layer.name} sums too many pixels for 32 bits")
        window = ir.Window(kernel=(x.image[1], x.image[2]))
        drain = Drain(zero=y.zero_point, low=low, high=high)
        return self._windowed(layer, ExecMode.SUM, window, drain, layer.scale)

    def _addition(self, layer: ir.Addition) -> Placed:
        places = (
            self._place(layer.a, View.FIRST),
            self._place(layer.b, View.FIRST),
            self._place(layer.y, View.FIRST),
        )
        work = lanes.Pairwise(
            name=layer.name,
            a=layer.a,
            b=layer.b,
            y=layer.y,
            places=places,
            fields={
                "a_signed": self.tensors[layer.a].dtype == "int8",
                "w_signed": self.tensors[layer.b].dtype == "int8",
            },
            factors=layer.factors,
            limits=limits(self.tensors[layer.y].dtype),
        )
        return work, list(places[:2]), places[2]

    def _enlargement(self, layer: ir.Enlargement) -> Placed:
        source, target = self._place(layer.x, View.FIRST), self._place(layer.y, View.FIRST)
        low, high = limits(self.tensors[layer.y].dtype)
        work = lanes.Repeated(
            name=layer.name,
            x=layer.x,
            y=layer.y,
            source=source,
            target=target,
            factors=layer.factors,
            signed=self.tensors[layer.x].dtype == "int8",
            drain=Drain(low=low, high=high),
            params=self._unit_params(np.float32(1)),
        )
        return work, [source], target

    def _activation_product(self, layer: ir.ActivationProduct) -> Placed:
        a, b, y = (self.tensors[name] for name in (layer.a, layer.b, layer.y))
        if a.shape[-1] * 255 * 255 >= 1 << 31:
            raise UsageError(f"layer {layer.name} sums too many products for 32 bits")
        places = (
            self._place(layer.a, View.LAST),
            self._place(layer.b, View.BEFORE_LAST),
            self._place(layer.y, View.LAST),
        )
        work = attention.Batched(
            name=layer.name,
            a=layer.a,
            b=layer.b,
            y=layer.y,
            places=places,
            coding=self._coding(layer.a, layer.y, w_zero=b.zero_point, w_signed=b.dtype == "int8"),
            params=self._unit_params(layer.scale),
        )
        return work, list(places[:2]), places[2]
