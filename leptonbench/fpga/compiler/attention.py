"""Products of two activations on the array: the right operand streams through the weight buffer."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from leptonbench.errors import UsageError
from leptonbench.fpga.compiler.array import Coding, most_words, params_of, store_block
from leptonbench.fpga.compiler.emitter import Emitter, Fetch
from leptonbench.fpga.compiler.geometry import Area
from leptonbench.fpga.compiler.layout import Blocked
from leptonbench.fpga.compiler.program import Placement
from leptonbench.fpga.compiler.schedule import Memory
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.isa import Exec, ExecMode, Target


@dataclass(frozen=True, kw_only=True)
class Batched:
    """Products `[m, k]` times `[k, n]`, one for each row of their images.

    Attributes:
        name: Of the layer.
        a: Name of the left operand.
        b: Name of the right operand.
        y: Name of the output.
        places: Where they lie: the operands with `k` as channels, the output with `n`.
        coding: Zero points and signs; the right operand's are the weights'.
        params: Address of a bias of zero and the scale, the same in all columns.
    """

    name: str
    a: str
    b: str
    y: str
    places: tuple[Placement, Placement, Placement]
    coding: Coding
    params: int

    def choices(self, core: CoreShape, memory: Memory) -> list[int]:
        """Return numbers of rows."""
        return [batched_rows(core, self)]

    def emit(self, emitter: Emitter, choice: int) -> str:
        """Append the instructions and return how the layer was cut."""
        return emit_batched(emitter, self, choice)


def batched_rows(core: CoreShape, work: Batched) -> int:
    """Return how many rows of the left operand are taken together.

    Raises:
        UsageError: If a column of the right operand does not fit into the weight buffer, or a row of the left one not
            into the input buffer.
    """
    left = _blocked(work.places[0])
    rows = min(left.image[2], most_words(core), core.input_granules // left.blocks)
    if rows < 1 or left.blocks * core.cols > core.weight_granules:
        name = "input buffer (`input_granules`)" if rows < 1 else "weight buffer (`weight_granules`)"
        raise UsageError(
            f"layer {work.name} has no tiling on this core",
            cause=f"its {left.blocks} channel blocks do not fit into the {name}",
            hint="take a board with larger buffers, or enlarge that buffer",
        )
    return rows


def emit_batched(emitter: Emitter, work: Batched, height: int) -> str:
    """Append a product's instructions and return how it was cut."""
    core = emitter.core
    left, right, _ = (_blocked(place) for place in work.places)
    _, batch, rows = left.image
    columns, blocks = right.image[2], left.blocks
    params = params_of(emitter, work.y, work.params, 0, 1, 1)
    starts = itertools.product(range(batch), range(0, rows, height), range(-(-columns // core.cols)))
    for index, first, block in starts:
        count = min(height, rows - first)
        tile = emitter.open(count)
        a = Fetch(_granule(work.places[0], index, first), count, 1, blocks, 0, _plane(left))
        b = Fetch(_granule(work.places[1], index, block * core.cols), core.cols, 1, blocks, 0, _plane(right))
        inputs = emitter.fill(Target.INPUT, (work.y, index, first), [a], source=[work.a])
        weights = emitter.fill(Target.WEIGHT, (work.y, index, block), [b], source=[work.b], align=core.slices)
        instruction = Exec(
            mode=ExecMode.ARRAY,
            half=tile.half,
            transposed=True,
            weights=weights.start,
            base=inputs.start * core.rows,
            c_count=blocks,
            ox_count=count,
            ox_step=core.rows,
            c_step=count * core.rows,
            **work.coding.exec_fields(),
        )
        emitter.execute(tile, instruction, (inputs, weights))
        region = emitter.drain(tile, work.coding.drain(params.start), params)
        area = Area(y=index, x=first, height=1, width=count)
        store_block(emitter, region, work.places[2], work.y, area, block)
    return f"{height} rows, {core.cols} columns"


def _blocked(place: Placement) -> Blocked:
    if not isinstance(place.layout, Blocked):
        raise TypeError("operands lie in blocks of channels")
    return place.layout


def _granule(place: Placement, row: int, column: int) -> int:
    """Return the address of a pixel's first granule."""
    return place.address + (row * place.layout.image[2] + column) * place.layout.rows


def _plane(layout: Blocked) -> int:
    """Return the bytes from channel block to channel block."""
    return layout.image[1] * layout.image[2] * layout.rows
