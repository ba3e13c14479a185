"""How rates go with the array's size and with the number of cores: what is predicted, and what was published of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leptonbench.fpga import ir
from leptonbench.fpga.scoreboard.accelerators import Accelerator, Catalogue, configure
from leptonbench.fpga.scoreboard.contention import throughput
from leptonbench.fpga.scoreboard.networks import draw
from leptonbench.fpga.scoreboard.score import Estimators

_DESIGN, _BOARD, _CLOCK_HZ = "DPUCZDX8G", "ZCU102", 300e6
_SIZES = (256, 576, 1152, 2048)
_MOST_CORES = 4  # that the design allows


@dataclass(frozen=True, kw_only=True)
class SizePoint:
    """One core of one size.

    Attributes:
        network: Name.
        macs_per_cycle: Of the array.
        frames_per_s: Predicted.
        utilisation: Of the array's peak, predicted.
        bytes_per_s: Average traffic, predicted.
        published_bytes_per_s: Average traffic at full speed, where it is published.
    """

    network: str
    macs_per_cycle: int
    frames_per_s: float
    utilisation: float
    bytes_per_s: float
    published_bytes_per_s: float | None


@dataclass(frozen=True, kw_only=True)
class CorePoint:
    """Several cores on one DRAM.

    Attributes:
        network: Name.
        cores: All active.
        frames_per_s: Predicted, of all.
        efficiency: Rate of all over as many times the rate of one.
        bytes_per_s: Average traffic of all.
        sharing: Cores that move data at a time, seen by one that does.
    """

    network: str
    cores: int
    frames_per_s: float
    efficiency: float
    bytes_per_s: float
    sharing: float


def by_size(catalogue: Catalogue, estimators: Estimators, names: Sequence[str]) -> list[SizePoint]:
    """Return what one core of each published size does on networks."""
    published = {(row.network, row.macs_per_cycle): row.average_bytes_per_s for row in catalogue.bandwidths.rows}
    points = []
    for name in names:
        network = _drawn(name)
        for size in _SIZES:
            accelerator = _accelerator(catalogue, 1, size)
            found = throughput(accelerator, estimators.of(accelerator), network, active=1)
            points.append(
                SizePoint(
                    network=name,
                    macs_per_cycle=size,
                    frames_per_s=found.frames_per_s,
                    utilisation=found.frames_per_s * found.macs / accelerator.peak_macs_per_s,
                    bytes_per_s=found.frames_per_s * found.dram_bytes,
                    published_bytes_per_s=published.get((name, size)),
                )
            )
    return points


def by_cores(catalogue: Catalogue, estimators: Estimators, names: Sequence[str]) -> list[CorePoint]:
    """Return what one and more of the largest cores do together on networks."""
    points = []
    for name in names:
        network, one = _drawn(name), 0.0
        for cores in range(1, _MOST_CORES + 1):
            accelerator = _accelerator(catalogue, cores, _SIZES[-1])
            found = throughput(accelerator, estimators.of(accelerator), network, active=cores)
            one = one or found.frames_per_s
            points.append(
                CorePoint(
                    network=name,
                    cores=cores,
                    frames_per_s=found.frames_per_s,
                    efficiency=found.frames_per_s / (cores * one),
                    bytes_per_s=found.frames_per_s * found.dram_bytes,
                    sharing=found.sharing,
                )
            )
    return points


def _accelerator(catalogue: Catalogue, cores: int, macs_per_cycle: int) -> Accelerator:
    found = configure(
        catalogue,
        f"{cores}x {_DESIGN} B{2 * macs_per_cycle}",
        _BOARD,
        macs_per_cycle=cores * macs_per_cycle,
        clock_hz=_CLOCK_HZ,
    )
    if isinstance(found, str):
        raise ValueError(found)
    return found


def _drawn(name: str) -> ir.Network:
    network = draw(name)
    if network is None:
        raise ValueError(f"{name} is not drawn")
    return network
