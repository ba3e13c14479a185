"""A machine's own power curve, from points that its user read from a meter.

With the ends and two points between (10 and 50 %), straight lines are within 3 % of the other loads of metered servers,
with the ends alone within 9 % (`benchmarks/cpu_power_model.py`). The band is wider: the points are of another program
than the one that is measured, and the process is charged by its share of the CPU time.
"""

from __future__ import annotations

from leptonbench.schema import Fact, PowerFile, PowerProfile

CALIBRATED_BAND = 0.15
"""Relative band with own points: other programs at the same load differ by some 12 % (RAPL sweeps on four CPUs)."""
_STEPS = 10


def power_of(given: PowerFile) -> PowerProfile:
    """Return metered points as a profile.

    Args:
        given: With points.

    Raises:
        ValueError: If it has none.
    """
    if not given.points or given.hardware_threads is None:
        raise ValueError("the file has no points")
    idle_w, full_w = given.points[0].watts, given.points[-1].watts
    watts = [_between(given, step / _STEPS) for step in range(_STEPS + 1)]
    metered = f"{len(given.points)} points metered by the user: {given.source}"
    return PowerProfile(
        idle_w=Fact(value=idle_w, unit="W", source=metered, date=given.date),
        full_w=Fact(value=full_w, unit="W", source=metered, date=given.date),
        hardware_threads=given.hardware_threads,
        shape=tuple(round((watt - idle_w) / (full_w - idle_w), 4) for watt in watts),
        shape_source=metered,
        band=CALIBRATED_BAND,
    )


def _between(given: PowerFile, load: float) -> float:
    """Return the watts at a load, on a straight line between the points around it."""
    below = max((point for point in given.points if point.load <= load), key=lambda point: point.load)
    above = min((point for point in given.points if point.load >= load), key=lambda point: point.load)
    if above.load == below.load:
        return below.watts
    return below.watts + (above.watts - below.watts) * (load - below.load) / (above.load - below.load)
