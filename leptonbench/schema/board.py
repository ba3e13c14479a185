"""An FPGA board as an accelerator's home: the part, the cores built for it, the memory and the host beside them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from leptonbench.schema.fact import Fact
from leptonbench.schema.quantity import Frozen

#: What a design takes of a part, in the order in which it is shown.
RESOURCES = ("lut", "ff", "dsp", "bram", "uram")


def _figure(unit: str, *, most: float | None = None) -> AfterValidator:
    """Return the check of a figure that is positive, in one unit, and inside its own range."""

    def check(fact: Fact) -> Fact:
        low = fact.value if fact.low is None else fact.low
        high = fact.value if fact.high is None else fact.high
        if fact.unit != unit:
            raise ValueError(f"the unit is `{unit}`, not `{fact.unit}`")
        if not 0 < low <= fact.value <= high < float("inf"):
            raise ValueError(f"wants 0 < low <= value <= high, got {low:g}, {fact.value:g}, {high:g}")
        if most is not None and high > most:
            raise ValueError(f"at most {most:g}, got {high:g}")
        return fact

    return AfterValidator(check)


Hertz = Annotated[Fact, _figure("Hz", most=2e9)]
Seconds = Annotated[Fact, _figure("s", most=1e-3)]
Bytes = Annotated[Fact, _figure("B")]
BytesPerSecond = Annotated[Fact, _figure("B/s", most=1e13)]
Share = Annotated[Fact, _figure("1", most=1.0)]
Ratio = Annotated[Fact, _figure("1")]
Joules = Annotated[Fact, _figure("J", most=1e-3)]
Pieces = Annotated[Fact, _figure("1")]


class BoardPart(Frozen):
    """The FPGA.

    Attributes:
        name: Of the part, as its maker writes it.
        family: Yosys's name of the architecture that it is synthesised for.
        lut: Lookup tables: of six inputs (`xc7`, `xcup`) or four (`ecp5`).
        ff: Flip-flops.
        dsp: Multipliers: DSP48 blocks, or MULT18X18D (`ecp5`).
        bram: Block RAMs: of 36 Kib, or of 18 Kib (`ecp5`).
        uram: UltraRAMs, of 288 Kib, where it has any.
    """

    name: str
    family: Literal["xc7", "xcup", "ecp5"]
    lut: Pieces
    ff: Pieces
    dsp: Pieces
    bram: Pieces
    uram: Pieces | None = None

    def available(self) -> dict[str, int]:
        """Return how many of each resource there are; 0 of what it has none."""
        facts = {name: getattr(self, name) for name in RESOURCES}
        return {name: int(fact.value) if fact else 0 for name, fact in facts.items()}


class CoreSpec(Frozen):
    """The parameters of one core; what they mean is said by `leptonbench.fpga.core.CoreShape`, which checks them."""

    rows: int
    cols: int
    bus_bytes: int
    input_granules: int
    weight_granules: int
    acc_words: int
    output_granules: int
    param_granules: int


class BoardDram(Frozen):
    """The memory that cores read and write.

    Attributes:
        kind: What energy a byte takes is looked up by it.
        title: As a reader knows it, with its width.
        capacity_bytes: That tensors, weights and programs may take.
        peak_bytes_per_s: Of all channels together.
        efficiency: Share of the peak that long bursts get: refresh, row misses and turnaround are taken off it.
        latency_s: From a request at the core's port to its first data.
        channels: Of all cores together.
        channels_per_core: That one core reaches. Cores are spread over the channels evenly.
        interleave_bytes: Consecutive bytes on one channel, where a core reaches several.
    """

    kind: Literal["sdr", "ddr3", "ddr4"]
    title: str
    capacity_bytes: Bytes
    peak_bytes_per_s: BytesPerSecond
    efficiency: Share
    latency_s: Seconds
    channels: int = Field(default=1, ge=1)
    channels_per_core: int = Field(default=1, ge=1)
    interleave_bytes: int = Field(default=4096, ge=64)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.channels % self.channels_per_core:
            raise ValueError(
                f"cores cannot be spread evenly: `channels` ({self.channels}) is no multiple of `channels_per_core` "
                f"({self.channels_per_core})"
            )
        return self


class BoardHost(Frozen):
    """The processor that carries out what the accelerator cannot.

    Attributes:
        title: Name of the processor.
        cores: It has.
        clock_hz: Of one.
        relative_speed: Its speed, all cores, over that of two hardware threads of a server, such as operator times
            are measured on.
    """

    title: str
    cores: int = Field(ge=1)
    clock_hz: Annotated[Fact, _figure("Hz", most=1e10)]
    relative_speed: Ratio


class Board(Frozen):
    """An accelerator on a board.

    Attributes:
        part: The FPGA.
        core: One of the cores built for it, all alike.
        cores: How many.
        clock_hz: Of the cores.
        dram: Memory at the cores' bus.
        host: `None` where the board has no processor: a network with operators for a host cannot run on it.
    """

    part: BoardPart
    core: CoreSpec
    cores: int = Field(ge=1, le=64)
    clock_hz: Hertz
    dram: BoardDram
    host: BoardHost | None = None


class EventEnergies(Frozen):
    """What events in an accelerator cost, joules each: of a published process, and the way from there to an FPGA.

    Attributes:
        mac_j: A multiplication of int8 and an addition of int32.
        buffer_byte_j: A byte read from or written into a memory of some kilobytes.
        drain_value_j: A sum turned into a byte by float32 arithmetic.
        fabric_ratio: Dynamic energy of an FPGA over that of the published process's standard cells.
        process: Energy of a family's process and voltage over the published one's.
        dram_byte_j: A byte read from or written to DRAM, by its kind.
    """

    mac_j: Joules
    buffer_byte_j: Joules
    drain_value_j: Joules
    fabric_ratio: Ratio
    process: dict[str, Ratio] = Field(min_length=1)
    dram_byte_j: dict[str, Joules] = Field(min_length=1)
