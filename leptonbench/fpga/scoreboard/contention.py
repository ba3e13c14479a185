"""What several cores get of one DRAM.

A core waits for the DRAM only while others move data, too. With x cores moving at a time each moves at the x-th part of
the sustained bandwidth, or as fast as its port allows. How many there are follows from how long each needs the DRAM,
which in turn follows from x: a fixed point, known from the analysis of closed queueing networks as the mean value of an
arriving customer's queue (Bard 1979, Schweitzer 1979). No constant is fitted. An even share, as if all moved always, is
the worst case, and one core's speed the best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leptonbench.fpga import ir
from leptonbench.fpga.scoreboard.accelerators import Accelerator
from leptonbench.fpga.scoreboard.estimate import Estimate, Estimator, Supply

_STEPS = 40  # halvings of the interval: far below anything that is told


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What cores do together.

    Attributes:
        frames_per_s: Of all active cores.
        frame_s: Of one of them.
        sharing: Cores that move data at a time, seen by one that does, itself included.
        dram_bytes: Of one frame.
        macs: Of one frame.
    """

    frames_per_s: float
    frame_s: float
    sharing: float
    dram_bytes: int
    macs: int


def throughput(
    accelerator: Accelerator,
    estimator: Estimator,
    network: ir.Network,
    *,
    active: int,
    progress: Callable[[], None] | None = None,
) -> Throughput:
    """Return what so many cores do, each with images of its own."""

    def supply(sharing: float) -> float:
        return min(accelerator.port_bytes_per_s, accelerator.dram_bytes_per_s / sharing)

    def alone(sharing: int) -> Estimate:
        given = Supply(bytes_per_s=supply(sharing), latency_s=accelerator.dram_latency_s)
        return estimator.network(network, given, progress)

    def frame_s(sharing: float) -> float:
        """Return the seconds of a frame; between whole numbers in a straight line, as bytes over speed go."""
        low = int(sharing)
        part = sharing - low
        first = alone(low).seconds
        return first if part == 0 else first + part * (alone(low + 1).seconds - first)

    def busy(sharing: float) -> float:
        """Return the share of its time in which a core moves data."""
        return min(1.0, alone(int(sharing)).dram_bytes / supply(sharing) / frame_s(sharing))

    sharing = _fixed_point(lambda guess: 1 + (active - 1) * busy(guess), active)
    one = alone(int(sharing))
    seconds = frame_s(sharing)
    return Throughput(
        frames_per_s=active / seconds, frame_s=seconds, sharing=sharing, dram_bytes=one.dram_bytes, macs=one.macs
    )


def _fixed_point(answer: Callable[[float], float], most: int) -> float:
    """Return where a falling function meets its argument, between 1 and `most`; low whole numbers are tried first."""
    high = 1
    while high < most and answer(high) > high:
        high += 1
    if high == 1:
        return 1.0
    low, top = float(high - 1), float(high)
    for _ in range(_STEPS):
        middle = (low + top) / 2
        low, top = (middle, top) if answer(middle) > middle else (low, middle)
    return (low + top) / 2
