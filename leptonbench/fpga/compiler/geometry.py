"""Which input a tile of outputs reads, where it lies in DRAM and in the buffer, and how the core walks over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from leptonbench.fpga.compiler.emitter import Fetch
from leptonbench.fpga.compiler.layout import Blocked, RowPacked
from leptonbench.fpga.compiler.program import Placement
from leptonbench.fpga.ir import Pair, Window


@dataclass(frozen=True, kw_only=True)
class Area:
    """A rectangle of outputs: first row and column, rows and columns."""

    y: int
    x: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Return how many outputs it has in a channel."""
        return self.height * self.width


@dataclass(frozen=True)
class Span:
    """Inputs along one dimension that a stretch of outputs reads.

    Attributes:
        first: That exists.
        count: That exist, at least 1.
        offset: Of the first output's first input from `first`; negative in the padding.
    """

    first: int
    count: int
    offset: int


def span(first: int, count: int, window: Window, axis: int, size: int) -> Span:
    """Return the inputs of outputs `first` and on, along rows (axis 0) or columns (axis 1)."""
    stride, dilation, kernel = window.strides[axis], window.dilations[axis], window.kernel[axis]
    low = first * stride - window.pads[axis]
    high = low + (count - 1) * stride + (kernel - 1) * dilation
    start = min(max(low, 0), size - 1)
    return Span(start, max(min(high, size - 1) - start + 1, 1), low - start)


class Source(Protocol):
    """An input image as a walk reads it."""

    @property
    def blocks(self) -> int:
        """Return how many channel blocks there are to walk over."""

    @property
    def taps(self) -> Pair:
        """Return how many blocks a channel block has in rows and columns of the kernel."""

    def fetches(self, area: Area, first: int, count: int) -> list[Fetch]:
        """Return what channel blocks `first` and on of an area's input are in DRAM."""

    def walk(self, area: Area, start: int, count: int) -> dict[str, Any]:
        """Return the fields of an EXEC over `count` channel blocks of an area, whose input lies from `start` on."""


@dataclass(frozen=True)
class BlockedSource:
    """Channels in blocks of a granule.

    Attributes:
        placement: Of the tensor.
        window: Of the kernel.
    """

    placement: Placement
    window: Window

    @property
    def layout(self) -> Blocked:
        """Return the tensor's layout.

        Raises:
            TypeError: If the tensor lies in another layout.
        """
        if not isinstance(self.placement.layout, Blocked):
            raise TypeError("the tensor does not lie in blocks of channels")
        return self.placement.layout

    @property
    def blocks(self) -> int:
        """Return the number of channel blocks."""
        return self.layout.blocks

    @property
    def taps(self) -> Pair:
        """Return the kernel's size."""
        return self.window.kernel

    def _spans(self, area: Area) -> tuple[Span, Span, int]:
        """Return rows, columns, and every how many rows one is read."""
        _, height, width = self.layout.image
        columns = span(area.x, area.width, self.window, 1, width)
        if self.window.kernel[0] == 1 and self.window.pads[0] == self.window.pads[2] == 0:
            step = self.window.strides[0]  # rows between those are never read
            return Span(area.y * step, area.height, 0), columns, step
        return span(area.y, area.height, self.window, 0, height), columns, 1

    def fetches(self, area: Area, first: int, count: int) -> list[Fetch]:
        """Return one copy, in as few and as long rows as there are."""
        rows, columns, step = self._spans(area)
        _, height, width = self.layout.image
        granule = self.layout.rows
        at = self.placement.address + ((first * height + rows.first) * width + columns.first) * granule
        plane = height * width * granule
        if columns.count < width or step > 1:
            line = width * step * granule
            return [Fetch(at, columns.count, rows.count, count, line, plane)]
        if rows.count < height:
            return [Fetch(at, rows.count * width, 1, count, 0, plane)]
        return [Fetch(at, count * height * width)]

    def walk(self, area: Area, start: int, count: int) -> dict[str, Any]:
        """Return the walk over kernel rows and columns of each block."""
        rows, columns, step = self._spans(area)
        granule = self.layout.rows
        line = columns.count * granule
        stride_y = self.window.strides[0] // step
        return {
            "base": start * granule + rows.offset * line + columns.offset * granule,
            "c_count": count,
            "ky_count": self.window.kernel[0],
            "kx_count": self.window.kernel[1],
            "oy_count": area.height,
            "ox_count": area.width,
            "x0": columns.offset,
            "y0": rows.offset,
            "in_w": columns.count,
            "in_h": rows.count,
            "ox_dx": self.window.strides[1],
            "oy_dy": stride_y,
            "kx_dx": self.window.dilations[1],
            "ky_dy": self.window.dilations[0],
            "ox_step": self.window.strides[1] * granule,
            "oy_step": stride_y * line,
            "kx_step": self.window.dilations[1] * granule,
            "ky_step": self.window.dilations[0] * line,
            "c_step": rows.count * line,
        }


@dataclass(frozen=True)
class PackedSource:
    """A few channels in rows of consecutive bytes; a block is so many bytes of a kernel row as the array has rows.

    Attributes:
        placement: Of the image.
        window: Of the kernel; its columns are not dilated.
    """

    placement: Placement
    window: Window

    @property
    def layout(self) -> RowPacked:
        """Return the image's layout.

        Raises:
            TypeError: If the image lies in another layout.
        """
        if not isinstance(self.placement.layout, RowPacked):
            raise TypeError("the image does not lie in packed rows")
        return self.placement.layout

    @property
    def blocks(self) -> int:
        """Return 1: channels are part of a row."""
        return 1

    @property
    def taps(self) -> Pair:
        """Return the kernel's rows, and the blocks of each."""
        return self.window.kernel[0], -(-self.window.kernel[1] * self.layout.image[0] // self.layout.rows)

    def fetches(self, area: Area, first: int, count: int) -> list[Fetch]:
        """Return one copy of whole rows."""
        rows = span(area.y, area.height, self.window, 0, self.layout.image[1])
        pitch = self.layout.row_granules
        return [Fetch(self.placement.address + rows.first * pitch * self.layout.rows, rows.count * pitch)]

    def walk(self, area: Area, start: int, count: int) -> dict[str, Any]:
        """Return the walk over kernel rows; only rows can be padding."""
        rows = span(area.y, area.height, self.window, 0, self.layout.image[1])
        granule, channels = self.layout.rows, self.layout.image[0]
        line = self.layout.row_granules * granule
        step = self.window.strides[1] * channels
        return {
            "base": start * granule + rows.offset * line + area.x * step,
            "ky_count": self.taps[0],
            "kx_count": self.taps[1],
            "oy_count": area.height,
            "ox_count": area.width,
            "y0": rows.offset,
            "in_h": rows.count,
            "oy_dy": self.window.strides[0],
            "ky_dy": self.window.dilations[0],
            "ox_step": step,
            "oy_step": self.window.strides[0] * line,
            "kx_step": granule,
            "ky_step": self.window.dilations[0] * line,
        }


def areas(height: int, width: int, tile: Pair) -> list[Area]:
    """Return the tiles of an output image, of at most this many rows and columns."""
    return [
        Area(y=y, x=x, height=min(tile[0], height - y), width=min(tile[1], width - x))
        for y in range(0, height, tile[0])
        for x in range(0, width, tile[1])
    ]


def store_to(placement: Placement, area: Area, block: int) -> Fetch:
    """Return where an area of one channel block of an output lies.

    Raises:
        TypeError: If the tensor does not lie in blocks of channels.
    """
    layout = placement.layout
    if not isinstance(layout, Blocked):
        raise TypeError("outputs are written in blocks of channels")
    _, height, width = layout.image
    at = placement.address + ((block * height + area.y) * width + area.x) * layout.rows
    if area.width == width:
        return Fetch(at, area.pixels)
    return Fetch(at, area.width, area.height, 1, width * layout.rows)
