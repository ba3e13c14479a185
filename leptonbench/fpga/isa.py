"""The instruction words of the core: one table, from which the RTL's package and the documentation are written.

An instruction is 64 bytes, little-endian. The low 16 bits are the same for all: operation, `take` and `give`. The
classes below are the table: their attributes are the fields, with bit position, width, sign and meaning.

Units work in parallel, each through its own instructions in program order. What orders them are tokens: before an
instruction starts it takes one token from each unit named in `take`; when it has ended, with all its data written, it
gives one token to each unit named in `give`. A unit may take from and give to itself. There is a counter for each pair
(from, to); it holds 0 at reset and up to 63.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeAlias

from leptonbench.errors import UsageError

INSTRUCTION_BYTES = 64
MAX_TOKENS = 63


class Unit(enum.IntFlag):
    """The units, as bits of `take` and `give`."""

    NONE = 0
    LOAD = 1
    EXEC = 2
    DRAIN = 4
    STORE = 8


class Op(enum.IntEnum):
    """What an instruction is, which also says which unit carries it out."""

    HALT = 0
    LOAD = 1
    EXEC = 2
    DRAIN = 3
    STORE = 4


class Target(enum.IntEnum):
    """Where a LOAD writes."""

    INPUT = 0
    WEIGHT = 1
    PARAM = 2
    TABLE = 3


class ExecMode(enum.IntEnum):
    """What an EXEC does with each vector."""

    ARRAY = 0
    LANES = 1
    SUM = 2
    MAX = 3
    PAIR = 4


class DrainMode(enum.IntEnum):
    """What a DRAIN makes of each accumulator word."""

    REQUANT = 0
    ADD = 1
    MUL = 2


class Counter(enum.IntEnum):
    """What the core counts, by number of the counter register. Stalls are cycles in which the walker issues no vector.

    CYCLES from start to done. VECTORS issued, of them ARRAY_VECTORS in ARRAY mode, LANE_VECTORS in LANES mode, PADDED
    ones (zero, not read). STALL_WEIGHTS: the array waits for a block, or for a load that fills the weight, parameter or
    table memory. STALL_INPUTS: any other load. STALL_OUTPUTS: a drain or a store. STALL_TOKENS: its own tokens.
    STALL_PROGRAM: there is no instruction (fetch, or the end of the program). Beats and bursts are those of the bus.
    Buffer accesses are counted in granules, those of the accumulator in words.
    """

    CYCLES = 0
    VECTORS = 1
    ARRAY_VECTORS = 2
    LANE_VECTORS = 3
    PADDED = 4
    STALL_WEIGHTS = 5
    STALL_INPUTS = 6
    STALL_OUTPUTS = 7
    STALL_TOKENS = 8
    STALL_PROGRAM = 9
    READ_BEATS = 10
    WRITE_BEATS = 11
    READ_BURSTS = 12
    WRITE_BURSTS = 13
    INPUT_WRITES = 14
    WEIGHT_WRITES = 15
    WEIGHT_READS = 16
    ACC_WRITES = 17
    ACC_DRAINS = 18
    OUTPUT_WRITES = 19
    OUTPUT_READS = 20


@dataclass(frozen=True)
class Bits:
    """Where a field lies in the instruction, and what it means."""

    low: int
    width: int
    signed: bool
    doc: str

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and largest value that fits."""
        if self.signed:
            return -(1 << (self.width - 1)), (1 << (self.width - 1)) - 1
        return 0, (1 << self.width) - 1


def _bits(low: int, width: int, doc: str, *, signed: bool = False, default: Any = 0) -> Any:
    return field(default=default, metadata={"bits": Bits(low, width, signed, " ".join(doc.split()))})


@dataclass(frozen=True, kw_only=True)
class _Instruction:
    """What every instruction has."""

    OP: ClassVar[Op]

    take: Unit = _bits(4, 4, "units that this instruction takes a token from before it starts", default=Unit.NONE)
    give: Unit = _bits(8, 4, "units that it gives a token to when it has ended", default=Unit.NONE)


@dataclass(frozen=True, kw_only=True)
class Halt(_Instruction):
    """End the program: the core is done when every unit is idle and every write is acknowledged."""

    OP: ClassVar[Op] = Op.HALT


@dataclass(frozen=True, kw_only=True)
class Load(_Instruction):
    """Copy granules from DRAM into a buffer: for z, for y: a row of `granules` consecutive granules.

    Granule i of row (z, y) comes from `dram + z * dram_z + y * dram_y + i * rows` and goes to granule
    `dst + z * dst_z + y * dst_y + i` of the target (modulo its size). DRAM addresses are multiples of `rows`.
    """

    OP: ClassVar[Op] = Op.LOAD

    target: Target = _bits(12, 4, "buffer: 0 INPUT, 1 WEIGHT, 2 PARAM, 3 TABLE", default=Target.INPUT)
    granules: int = _bits(16, 16, "granules of a row, at least 1", default=1)
    dram: int = _bits(32, 32, "DRAM address, bytes")
    dst: int = _bits(64, 16, "first granule in the target")
    y_count: int = _bits(80, 16, "rows, at least 1", default=1)
    z_count: int = _bits(96, 16, "planes, at least 1", default=1)
    dst_y: int = _bits(112, 16, "granules from row to row in the target")
    dst_z: int = _bits(128, 16, "granules from plane to plane in the target")
    dram_y: int = _bits(160, 32, "bytes from row to row in DRAM")
    dram_z: int = _bits(192, 32, "bytes from plane to plane in DRAM")


@dataclass(frozen=True, kw_only=True)
class Exec(_Instruction):
    """Walk a window over the input buffer and accumulate.

    For c, for ky, for kx (a block), for oy, for ox (a vector): with
    `x = x0 + kx * kx_dx + ox * ox_dx` and `y = y0 + ky * ky_dy + oy * oy_dy`, the vector is the `rows` bytes of the
    input buffer from byte `base + c * c_step + ky * ky_step + kx * kx_step + oy * oy_step + ox * ox_step` (any
    alignment), each less `a_zero`, if `0 <= x < in_w` and `0 <= y < in_h`; otherwise it is zero (padding). It goes to
    accumulator word `acc + oy * ox_count + ox` of half `half`. The first block overwrites that word unless
    `accumulate`; later blocks accumulate on it. Sums are int32.

    - ARRAY: each block has its own `rows` x `cols` weights, in the order of the walk from granule `weights` on, row
      after row of `cols` bytes. Column n gains the sum over rows r of `vector[r] * (weight[r][n] - w_zero)`.
      With `transposed`, a block is `cols` granules, and granule n holds column n (`rows` bytes).
    - LANES: each block has one granule of weights; lane r gains `vector[r] * (weight[r] - w_zero)`.
    - SUM: lane r gains `vector[r]`.
    - MAX: lane r becomes the larger of itself and `vector[r]`; a padded vector counts as -32768.
    - PAIR: there are two blocks (for example `c_count` is 2). The first, operand a, uses `a_zero` and `a_signed`; the
      second, operand b, uses `w_zero` and `w_signed`. The word becomes `(a & 0xffff) | b << 16`.

    In the modes other than ARRAY, lanes from `rows` on are not meaningful.
    """

    OP: ClassVar[Op] = Op.EXEC

    mode: ExecMode = _bits(12, 4, "0 ARRAY, 1 LANES, 2 SUM, 3 MAX, 4 PAIR", default=ExecMode.ARRAY)
    half: int = _bits(16, 1, "half of the accumulator")
    accumulate: bool = _bits(17, 1, "the first block accumulates, too", default=False)
    a_signed: bool = _bits(18, 1, "input bytes are int8, not uint8", default=False)
    w_signed: bool = _bits(19, 1, "weight bytes are int8, not uint8", default=True)
    transposed: bool = _bits(20, 1, "ARRAY: a weight granule is a column", default=False)
    a_zero: int = _bits(32, 16, "zero point of the input", signed=True)
    w_zero: int = _bits(48, 16, "zero point of the weights", signed=True)
    base: int = _bits(
        64, 32, "byte address of vector 0; may be outside the buffer if that vector is padding", signed=True
    )
    acc: int = _bits(96, 16, "first accumulator word")
    weights: int = _bits(112, 16, "first granule of weights, in ARRAY a multiple of `cols / rows`")
    c_count: int = _bits(128, 16, "channel blocks, at least 1", default=1)
    ky_count: int = _bits(144, 16, "kernel rows, at least 1", default=1)
    kx_count: int = _bits(160, 16, "kernel columns, at least 1", default=1)
    oy_count: int = _bits(176, 16, "output rows, at least 1", default=1)
    ox_count: int = _bits(192, 16, "output columns, at least 1", default=1)
    x0: int = _bits(208, 16, "input column of vector 0", signed=True)
    y0: int = _bits(224, 16, "input row of vector 0", signed=True)
    in_w: int = _bits(240, 16, "input columns; 1 if nothing steps in x", default=1)
    in_h: int = _bits(256, 16, "input rows; 1 if nothing steps in y", default=1)
    ox_dx: int = _bits(272, 16, "input columns an output column (stride)")
    oy_dy: int = _bits(288, 16, "input rows an output row (stride)")
    kx_dx: int = _bits(304, 16, "input columns a kernel column (dilation)")
    ky_dy: int = _bits(320, 16, "input rows a kernel row (dilation)")
    ox_step: int = _bits(352, 32, "bytes an output column", signed=True)
    oy_step: int = _bits(384, 32, "bytes an output row", signed=True)
    kx_step: int = _bits(416, 32, "bytes a kernel column", signed=True)
    ky_step: int = _bits(448, 32, "bytes a kernel row", signed=True)
    c_step: int = _bits(480, 32, "bytes a channel block", signed=True)


@dataclass(frozen=True, kw_only=True)
class Drain(_Instruction):
    """Turn accumulator words into bytes of the output buffer.

    Word `acc + i` of half `half` becomes granule `dst + i` of each slice: slice j holds columns `j * rows` and on.
    All float32 operations round half to even, once each; `rne` rounds half to even to an integer.

    - REQUANT: `rne(float32(acc + bias) * scale) + zero`, with int32 `bias` and float32 `scale` of each column from the
      parameter memory: at granule `params`, `cols` int32 and then `cols` float32.
    - ADD: on a word made by PAIR, `rne(fma(a, scale_a, fma(b, scale_b, fixed))) + zero`, each fma with one rounding.
    - MUL: on a word made by PAIR, `rne(float32(a * b) * scale) + zero`, parameters as in REQUANT (`bias` is added too).

    The result is clamped to `low .. high` and written as a byte; with `lookup`, that byte is an index (0..255) into the
    table, whose entry is written.
    """

    OP: ClassVar[Op] = Op.DRAIN

    mode: DrainMode = _bits(12, 2, "0 REQUANT, 1 ADD, 2 MUL", default=DrainMode.REQUANT)
    half: int = _bits(14, 1, "half of the accumulator")
    lookup: bool = _bits(15, 1, "look the byte up in the table", default=False)
    count: int = _bits(16, 16, "words, at least 1", default=1)
    acc: int = _bits(32, 16, "first accumulator word")
    dst: int = _bits(48, 16, "first granule in the output buffer, the same in each slice")
    params: int = _bits(64, 16, "first granule of parameters")
    zero: int = _bits(80, 16, "zero point of the output", signed=True)
    low: int = _bits(96, 16, "smallest result", signed=True)
    high: int = _bits(112, 16, "largest result", signed=True, default=255)
    scale_a: int = _bits(128, 32, "ADD: float32 bits of the factor of a")
    scale_b: int = _bits(160, 32, "ADD: float32 bits of the factor of b")
    fixed: int = _bits(192, 32, "ADD: float32 bits of the addend")


@dataclass(frozen=True, kw_only=True)
class Store(_Instruction):
    """Copy granules from a slice of the output buffer to DRAM: for z, for y: a row of consecutive granules.

    Granule `src + z * src_z + y * src_y + i` (modulo its size) goes to `dram + z * dram_z + y * dram_y + i * rows`. It
    has ended when DRAM has acknowledged the last write.
    """

    OP: ClassVar[Op] = Op.STORE

    slice: int = _bits(12, 4, "slice of the output buffer")
    granules: int = _bits(16, 16, "granules of a row, at least 1", default=1)
    dram: int = _bits(32, 32, "DRAM address, bytes")
    src: int = _bits(64, 16, "first granule in the slice")
    y_count: int = _bits(80, 16, "rows, at least 1", default=1)
    z_count: int = _bits(96, 16, "planes, at least 1", default=1)
    src_y: int = _bits(112, 16, "granules from row to row in the slice")
    src_z: int = _bits(128, 16, "granules from plane to plane in the slice")
    stamp: int = _bits(144, 16, "if not 0, the simulator notes this number and the cycle when this has ended")
    dram_y: int = _bits(160, 32, "bytes from row to row in DRAM")
    dram_z: int = _bits(192, 32, "bytes from plane to plane in DRAM")


Instruction: TypeAlias = Halt | Load | Exec | Drain | Store
INSTRUCTIONS: tuple[type[Instruction], ...] = (Halt, Load, Exec, Drain, Store)
_BY_OP: dict[int, type[Instruction]] = {kind.OP: kind for kind in INSTRUCTIONS}


def layout(kind: type[Instruction]) -> tuple[tuple[str, Bits], ...]:
    """Return the fields of a kind of instruction and their bits, from the lowest bit on."""
    named = ((item.name, item.metadata["bits"]) for item in fields(kind))
    return tuple(sorted(named, key=lambda pair: pair[1].low))


# Name, smallest and largest value, mask and lowest bit of each field: a network has ten thousands of words to encode.
_PLACES = {
    kind: [(name, *bits.range, (1 << bits.width) - 1, bits.low) for name, bits in layout(kind)] for kind in INSTRUCTIONS
}


def encode(instruction: Instruction) -> bytes:
    """Return the 64 bytes of an instruction.

    Raises:
        UsageError: If a value does not fit into its field.
    """
    word = int(instruction.OP)
    for name, low, high, mask, at in _PLACES[type(instruction)]:
        value = int(getattr(instruction, name))
        if value == 0:  # most are, and it fits everywhere
            continue
        if not low <= value <= high:
            raise UsageError(
                f"instruction {instruction.OP.name} cannot be encoded",
                cause=f"`{name}` is {value}, which is not in {low}..{high}",
                hint="the compiler must split this tile",
            )
        word |= (value & mask) << at
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def encode_program(instructions: Iterable[Instruction]) -> bytes:
    """Return the bytes of a program, as they lie in DRAM from a multiple of 64 on. The last instruction is a Halt."""
    return b"".join(encode(instruction) for instruction in instructions)


def decode(data: bytes) -> Instruction:
    """Return the instruction that 64 bytes encode.

    Raises:
        UsageError: If they encode none.
    """
    if len(data) != INSTRUCTION_BYTES:
        raise UsageError("not an instruction", cause=f"{len(data)} bytes, not {INSTRUCTION_BYTES}")
    word = int.from_bytes(data, "little")
    kind = _BY_OP.get(word & 0xF)
    if kind is None:
        raise UsageError("not an instruction", cause=f"operation {word & 0xF} does not exist")
    types: dict[str, Any] = {item.name: type(item.default) for item in fields(kind)}
    values: dict[str, Any] = {}
    for name, bits in layout(kind):
        value = word >> bits.low & ((1 << bits.width) - 1)
        if bits.signed and value >> (bits.width - 1):
            value -= 1 << bits.width
        values[name] = types[name](value)
    build: Callable[..., Instruction] = kind
    return build(**values)


if __name__ == "__main__":
    from leptonbench.fpga.isa_text import main

    main()
