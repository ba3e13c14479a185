"""The modules of a core as pieces to synthesise: each with its parameters, how many there are, and what is left out.

The list says again what `rtl/core.sv` says; a test holds the two against each other. Two modules are rows of equal
lanes. The drain unit's arithmetic is synthesised with one lane, and counted `cols` times with the little that lanes
share. The lookup table shares more, so each lane after the first is what a table of two lanes takes beyond one of one.
"""

from __future__ import annotations

from dataclasses import dataclass

from leptonbench.fpga.core import CoreShape

_BELOW_CORE = (
    "fetch",
    "instruction_queue",
    "tokens",
    "reader",
    "exec_unit",
    "exec_path",
    "banked_ram",
    "accumulator",
    "lookup_table",
    "drain_unit",
    "store_unit",
)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One module of a core, synthesised by itself.

    Attributes:
        name: What a reader knows it by.
        module: Its name in the RTL.
        parameters: By name in the RTL.
        count: How many of it a core has; below zero, so many are taken off what others count twice.
        left_out: Modules inside it that are units of their own.
        shrink: The parameter of the core that its size follows most.
    """

    name: str
    module: str
    parameters: tuple[tuple[str, int], ...] = ()
    count: int = 1
    left_out: tuple[str, ...] = ()
    shrink: str = ""


def units(shape: CoreShape) -> tuple[Unit, ...]:
    """Return the pieces of a core, without repeats: equal ones are counted."""
    rows, cols = ("ROWS", shape.rows), ("COLS", shape.cols)
    bus = ("BUS_BYTES", shape.bus_bytes)
    everything = tuple((name.upper(), value) for name, value in shape.parameters().items())
    return (
        Unit(name="control and counters", module="core", parameters=everything, left_out=_BELOW_CORE),
        Unit(name="fetch", module="fetch", parameters=(bus,)),
        Unit(name="queues of load, drain and store", module="instruction_queue", parameters=(("BITS", 224),), count=3),
        Unit(name="queue of execute", module="instruction_queue", parameters=(("BITS", 512),)),
        Unit(name="tokens", module="tokens"),
        Unit(name="load unit", module="reader", parameters=(rows, bus)),
        Unit(name="execute unit", module="exec_unit", parameters=(rows, cols)),
        Unit(
            name="data path before the array",
            module="exec_path",
            parameters=(rows, cols),
            left_out=("mac_array",),
            shrink="rows",
        ),
        Unit(name="array", module="mac_array", parameters=(rows, cols), shrink="cols"),
        *_memories(shape),
        Unit(
            name="accumulator", module="accumulator", parameters=(cols, ("WORDS", shape.acc_words)), shrink="acc_words"
        ),
        Unit(
            name="lookup table of two lanes",
            module="lookup_table",
            parameters=(rows, ("COLS", 2), bus),
            count=shape.cols - 1,
        ),
        Unit(
            name="lookup table of one lane, taken off",
            module="lookup_table",
            parameters=(rows, ("COLS", 1), bus),
            count=2 - shape.cols,
        ),
        Unit(name="drain unit", module="drain_unit", parameters=(rows, cols), left_out=("drain_lanes",)),
        Unit(name="drain lane", module="drain_lanes", parameters=(("COLS", 1),), count=shape.cols, shrink="cols"),
        Unit(name="store unit", module="store_unit", parameters=(rows, ("SLICES", shape.slices), bus)),
    )


def _memories(shape: CoreShape) -> tuple[Unit, ...]:
    """Return the buffers, with the number of banks that `core.sv` gives each."""
    lanes = shape.bus_bytes // shape.rows

    def memory(name: str, shrink: str, *, banks: int, writes: int, reads: int, count: int = 1) -> Unit:
        return Unit(
            name=name,
            module="banked_ram",
            parameters=(
                ("GRANULE_BITS", 8 * shape.rows),
                ("GRANULES", getattr(shape, shrink)),
                ("BANKS", banks),
                ("WRITES", writes),
                ("READS", reads),
            ),
            count=count,
            shrink=shrink,
        )

    slices = shape.slices
    return (
        memory("input buffer", "input_granules", banks=max(lanes, 2), writes=lanes, reads=2),
        memory("weight buffer", "weight_granules", banks=max(lanes, slices), writes=lanes, reads=slices),
        memory("parameter memory", "param_granules", banks=lanes, writes=lanes, reads=1),
        memory("output buffer", "output_granules", banks=lanes, writes=1, reads=lanes, count=slices),
    )
