"""Other people's accelerators as they are configured, from `hardware_profiles/published/fpga_accelerators.yaml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from leptonbench.errors import UsageError
from leptonbench.fpga.scoreboard.estimate import ArrayShape
from leptonbench.paths import data_root
from leptonbench.schema.fact import Fact
from leptonbench.schema.quantity import Frozen

_BLOCK_RAM_BYTES, _ULTRA_RAM_BYTES = 4096, 32768


class Shape(Frozen):
    """An array of a family, with the memory of its core: block RAMs of 36 Kib and UltraRAMs."""

    macs_per_cycle: int
    pixels: float
    rows: int
    cols: int
    block_rams: float
    ultra_rams: float = 0


class Family(Frozen):
    """Accelerators of one design in several sizes.

    Attributes:
        name: Of the design.
        match: Pattern of a system's name, after the number of cores.
        lane_share: Pixels at once in what is not a matrix product, over those of the array.
        row_wise: 1 where pixels made at once are neighbours in one row, 0 where they may be anywhere.
        port_bytes_per_cycle: Most that one core can move; `None` if that is not published.
        dram_latency_cycles: Of the array's clock, to the first data.
        shapes_source: Where the shapes were read.
        shapes: By the multiply-accumulates a cycle of one core.
    """

    name: str
    match: str
    lane_share: Fact
    row_wise: Fact
    port_bytes_per_cycle: Fact | None
    dram_latency_cycles: Fact
    shapes_source: str
    shapes: tuple[Shape, ...]


class BoardMemory(Frozen):
    """A board's DRAM: the peak of all channels together."""

    peak_bytes_per_s: Fact


class Exclusion(Frozen):
    """Systems that the method does not speak of, and why."""

    match: str
    reason: str


class PublishedBandwidth(Frozen):
    """What one core moves on average at full speed."""

    network: str
    macs_per_cycle: int
    average_bytes_per_s: float


class PublishedBandwidths(Frozen):
    """Average traffic of whole networks, with its source."""

    source: str
    rows: tuple[PublishedBandwidth, ...]


class Catalogue(Frozen):
    """Everything that is known of the accelerators beside their figures.

    Attributes:
        boards: Memory by board, by the start of the board's name.
        dram_efficiency: Share of the peak that long bursts get.
        families: Designs whose arrays are published.
        excluded: The first that fits a system says why it is left out.
        gops: Operations of networks whose rows do not say, 1e9.
        bandwidths: Published traffic.
    """

    boards: dict[str, BoardMemory]
    dram_efficiency: Fact
    families: tuple[Family, ...]
    excluded: tuple[Exclusion, ...]
    gops: dict[str, Fact]
    bandwidths: PublishedBandwidths


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """A system as the prediction sees it.

    Attributes:
        family: Name of its design.
        cores: That share the DRAM.
        array: Of one core.
        clock_hz: Of the array.
        port_bytes_per_s: Most that one core can move; infinite if not known.
        dram_bytes_per_s: Sustained, of all cores together.
        dram_latency_s: To the first data.
    """

    family: str
    cores: int
    array: ArrayShape
    clock_hz: float
    port_bytes_per_s: float
    dram_bytes_per_s: float
    dram_latency_s: float

    @property
    def peak_macs_per_s(self) -> float:
        """Return the peak of all cores."""
        return self.cores * self.array.macs_per_cycle * self.clock_hz


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Read the catalogue of accelerators.

    Raises:
        UsageError: If the file cannot be read or is not as it has to be; it names the key.
    """
    import yaml

    path = path or data_root() / "hardware_profiles" / "published" / "fpga_accelerators.yaml"
    try:
        return Catalogue.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"`{path}` cannot be read", cause=str(error).splitlines()[0]) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"`{path}` is not a catalogue of accelerators", cause=f"{where}: {first['msg']}") from error


def configure(
    catalogue: Catalogue, system: str, board: str, *, macs_per_cycle: float | None, clock_hz: float | None
) -> Accelerator | str:
    """Return an accelerator as it is configured, or why it is left out.

    Args:
        catalogue: Of designs and boards.
        system: Name in the figure, with the number of cores before it: `3x DPUCZDX8G B4096`.
        board: Name in the figure.
        macs_per_cycle: Of all cores, if published.
        clock_hz: Of the array, if published.
    """
    cores, design = _parts(system)
    family = next((found for found in catalogue.families if re.fullmatch(found.match, design)), None)
    if family is None:
        return next((rule.reason for rule in catalogue.excluded if re.search(rule.match, system)), "unknown design")
    if macs_per_cycle is None or clock_hz is None:
        return "array or clock are not published"
    shape = next((found for found in family.shapes if found.macs_per_cycle * cores == macs_per_cycle), None)
    if shape is None:
        return f"no array of {macs_per_cycle / cores:g} multiply-accumulates a cycle is known of this design"
    memory = catalogue.boards.get(board) or catalogue.boards.get(board.split(" (")[0])
    if memory is None:
        return "the board's memory is not published"
    port = family.port_bytes_per_cycle
    return Accelerator(
        family=family.name,
        cores=cores,
        array=array_of(family, shape),
        clock_hz=clock_hz,
        port_bytes_per_s=port.value * clock_hz if port else float("inf"),
        dram_bytes_per_s=memory.peak_bytes_per_s.value * catalogue.dram_efficiency.value,
        dram_latency_s=family.dram_latency_cycles.value / clock_hz,
    )


def array_of(family: Family, shape: Shape) -> ArrayShape:
    """Return the array of one core."""
    return ArrayShape(
        pixels=shape.pixels,
        lane_pixels=shape.pixels * family.lane_share.value,
        rows=shape.rows,
        cols=shape.cols,
        on_chip_bytes=int(shape.block_rams * _BLOCK_RAM_BYTES + shape.ultra_rams * _ULTRA_RAM_BYTES),
        row_wise=bool(family.row_wise.value),
    )


def _parts(system: str) -> tuple[int, str]:
    """Return the number of cores and the design: `3x B4096` has three, a name without a number one."""
    match = re.fullmatch(r"(?:(\d+)x )?(.*)", system)
    count, design = (match[1], match[2]) if match else (None, system)
    return int(count or 1), design
