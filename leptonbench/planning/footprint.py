"""What a fleet draws at the wall and emits, with the range of every figure and of the number of units."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import NamedTuple

from leptonbench.cost.capacity import Sizing
from leptonbench.cost.carbon import embodied_kg_per_year, grid_kg_per_year
from leptonbench.cost.rate import ends, fact_provenance
from leptonbench.planning.request import MONTHS_PER_YEAR, PlanRequest
from leptonbench.schema import Boundary, DeviceProfile, Fact, PowerProfile, Provenance, Quantity, weakest

_LOW, _HIGH = 0, 1


class Drawn(NamedTuple):
    """A fleet of one size.

    Attributes:
        power_w: At the wall in each hour of the week.
        machines: Mean number over the week; a rented share counts as that fraction.
    """

    power_w: tuple[float, ...]
    machines: float


class Place(NamedTuple):
    """Where a fleet stands.

    Attributes:
        region: Of the grid.
        grid: Carbon of its electricity, g/kWh.
        owner: Of the building.
        pue: Of the building.
        making: Carbon of making one machine of the device's kind, kg; `None` where it is not known.
    """

    region: str
    grid: Fact
    owner: str
    pue: Fact
    making: Fact | None


class Footprint(NamedTuple):
    """Watts and kilograms, and the figures they rest on by the name to show."""

    power_peak_w: Quantity
    power_mean_w: Quantity
    carbon_kg_per_month: Quantity
    facts: dict[str, Fact]


def footprint(
    device: DeviceProfile | None,
    drawn: Callable[[int, PowerProfile], Drawn],
    sizing: Sizing,
    place: Place,
    request: PlanRequest,
) -> Footprint:
    """Return what a sized fleet draws and emits.

    A range has every figure at its low or high end at once, with the interval of the units; it bounds the value. Where
    the units are open upwards there is none.

    Args:
        device: That the units are of.
        drawn: A fleet with so many serving units, of machines with a profile.
        sizing: That was found.
        place: Where it stands.
        request: With the grid by the hour, if the user gave it.
    """
    if device is None or device.power is None:
        why = f"no wall power of `{device.name if device else 'the device'}` is known"
        return Footprint(Quantity.null("W", why), Quantity.null("W", why), Quantity.null("kg", why), {})
    power = device.power
    middle = drawn(sizing.required or 0, power)
    low = drawn(sizing.low or sizing.required or 0, power)
    high = drawn(sizing.high, power) if sizing.high is not None else None
    ratios = _ratios(power)
    facts = {f"idle power of a whole {device.name}": power.idle_w, f"full power of a whole {device.name}": power.full_w}
    weak = weakest((sizing.provenance, *map(fact_provenance, facts.values())))

    def watts(of: Callable[[tuple[float, ...]], float]) -> Quantity:
        value = of(middle.power_w)
        span = {}
        if high is not None:
            span["low"] = min(of(low.power_w), value) * ratios[_LOW]
            span["high"] = max(of(high.power_w), value) * ratios[_HIGH]
        method = "profile of the whole machine by load, at the wall, without the building's overhead"
        return Quantity(value=value, unit="W", **span, provenance=weak, boundary=Boundary.WALL, method=method)

    carbon, beside = _carbon(device, (low, middle, high), ratios, place, request, sizing.provenance, weak)
    return Footprint(watts(max), watts(fmean), carbon, facts | beside)


def _ratios(power: PowerProfile) -> tuple[float, float]:
    """Return how far below and above its value the power may be, as factors."""
    spans = [(ends(fact), fact.value) for fact in (power.idle_w, power.full_w)]
    return min(span[_LOW] / value for span, value in spans), max(span[_HIGH] / value for span, value in spans)


def _carbon(
    device: DeviceProfile,
    fleets: tuple[Drawn, Drawn, Drawn | None],
    ratios: tuple[float, float],
    place: Place,
    request: PlanRequest,
    sized: Provenance,
    weak: Provenance,
) -> tuple[Quantity, dict[str, Fact]]:
    """Return kilograms a month with the figures beside the power; making the machines is in it where it is known."""
    low, middle, high = fleets
    hourly = request.grid_g_per_kwh
    facts = {f"power usage effectiveness, {place.owner}": place.pue}
    if hourly is None:
        facts[f"carbon intensity in {place.region}"] = place.grid
    lifetime = device.owned.lifetime_years if device.owned else None
    making = place.making if lifetime is not None else None
    if making is not None:
        facts[f"carbon of making a machine ({device.kind})"] = making

    def kg(fleet: Drawn, end: int | None) -> float:
        def at(fact: Fact) -> float:
            return fact.value if end is None else ends(fact)[end]

        grid = hourly or (at(place.grid),)
        kg = grid_kg_per_year(fleet.power_w, intensity_g_per_kwh=grid, pue=at(place.pue))
        kg *= 1.0 if end is None else ratios[end]
        if making is not None and lifetime is not None:
            years = lifetime.value if end is None else ends(lifetime)[_HIGH - end]
            kg += embodied_kg_per_year(at(making), machines=fleet.machines, lifetime_years=years)
        return kg / MONTHS_PER_YEAR

    value = kg(middle, None)
    span = {} if high is None else {"low": min(kg(low, _LOW), value), "high": max(kg(high, _HIGH), value)}
    method = "power x overhead x carbon of the grid" + (", by the hour" if hourly else "")
    known = ", and making the machines over their lifetime"
    method += known if making is not None else "; making the machines is left out: no figure is known"
    provenance = weakest((sized, weak, *map(fact_provenance, facts.values())))
    return Quantity(value=value, unit="kg", **span, provenance=provenance, method=method), facts
