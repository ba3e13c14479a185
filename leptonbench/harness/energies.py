"""Joules an inference from the rounds' readings: as read, without what an idle machine draws, at the wall. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from leptonbench.meters.wall import supply_of_board
from leptonbench.schema import (
    METRICS,
    Boundary,
    EnergyReading,
    PowerProfile,
    Provenance,
    Quantity,
    RoundRecord,
    weakest,
)
from leptonbench.stats.summary import round_interval

_BAND = "interval of the rounds times the meter's band"
_NONE = "no round has an energy reading"


class _Share(NamedTuple):
    """One round's joules an inference, with the ends of the meter's band."""

    value: float
    low: float
    high: float
    provenance: Provenance


def energies(rounds: Sequence[RoundRecord]) -> dict[str, Quantity]:
    """Return what one inference takes, by the device's own meter, its dynamic part, and at the wall.

    Args:
        rounds: Those that count.
    """
    readings = [(r.energy, r.values["inferences"]) for r in rounds if r.energy and r.values.get("inferences")]
    if not readings:
        return {tag: Quantity.null(METRICS[tag].unit, _NONE) for tag in _TAGS}
    first = readings[0][0]
    boundary = Boundary(first.boundary)
    read = [_Share(e.energy_j / n, e.low_j / n, e.high_j / n, e.provenance) for e, n in readings]
    found = {"energy_per_inference": _over_rounds(read, method=f"{first.method}; {_BAND}", boundary=boundary)}
    found["dynamic_energy_per_inference"] = _dynamic(readings, boundary)
    found["wall_energy_per_inference"] = _at_the_wall(readings)
    return found


_TAGS = ("energy_per_inference", "dynamic_energy_per_inference", "wall_energy_per_inference")


def _dynamic(readings: Sequence[tuple[EnergyReading, float]], boundary: Boundary) -> Quantity:
    """Return what work added to an idle machine: comparable across machines of different size."""
    shares = [
        _Share((e.energy_j - e.idle_j) / n, (e.low_j - e.idle_j) / n, (e.high_j - e.idle_j) / n, e.provenance)
        for e, n in readings
        if e.idle_j is not None
    ]
    if len(shares) < len(readings):
        return Quantity.null("J", "the meter cannot tell what an idle machine would have drawn")
    if min(share.value for share in shares) <= 0:
        return Quantity.null("J", "in some round the device drew no more than idle: its work is too little to tell")
    positive = [share._replace(low=max(0.0, share.low)) for share in shares]
    method = f"{readings[0][0].method}; without the idle part; {_BAND}"
    return _over_rounds(positive, method=method, boundary=boundary)


def _at_the_wall(readings: Sequence[tuple[EnergyReading, float]]) -> Quantity:
    shares = [
        _Share(e.wall.energy_j / n, e.wall.low_j / n, e.wall.high_j / n, e.wall.provenance)
        for e, n in readings
        if e.wall is not None
    ]
    first = readings[0][0].wall
    if first is None or len(shares) < len(readings):
        return Quantity.null("J", "nothing tells what the rest of the server draws: its profile has no power figures")
    return _over_rounds(shares, method=f"{first.method}; {_BAND}", boundary=Boundary.WALL)


def board_at_the_wall(energy: Quantity, power: PowerProfile | None) -> Quantity:
    """Return a board's joules at the wall, through its own power supply.

    Args:
        energy: At the board's inlet; for a card its profile adds its share of a server.
        power: The board's, by which its supply is chosen.
    """
    if energy.value is None or energy.provenance is None:
        return Quantity.null("J", energy.why_null or "the board's energy is not known")
    supply = supply_of_board(None if power is None else power.full_w.value)
    low = energy.value if energy.low is None else energy.low
    high = energy.value if energy.high is None else energy.high
    return energy.model_copy(
        update={
            "value": energy.value / supply.middle,
            "low": low / supply.high,
            "high": high / supply.low,
            "boundary": Boundary.WALL,
            "provenance": weakest((energy.provenance, Provenance.PROJECTED)),
            "method": f"{energy.method}; / {supply.middle:g} for the board's power supply "
            f"({supply.low:g} to {supply.high:g})",
        }
    )


def _over_rounds(shares: Sequence[_Share], *, method: str, boundary: Boundary) -> Quantity:
    """Return the rounds' median with their interval, widened by the meter's own band."""
    interval = round_interval([share.value for share in shares])
    low = interval.value if interval.low is None else interval.low
    high = interval.value if interval.high is None else interval.high
    return Quantity(
        value=interval.value,
        unit="J",
        low=low * min(share.low / share.value for share in shares),
        high=high * max(share.high / share.value for share in shares),
        own_low=low,
        own_high=high,
        n=interval.n,
        provenance=weakest(share.provenance for share in shares),
        method=method,
        boundary=boundary,
    )
