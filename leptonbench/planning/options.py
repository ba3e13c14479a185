"""On which terms a cell can be had at a size, and what each costs, draws and emits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from leptonbench.cost.capacity import Sizing
from leptonbench.cost.fleet import (
    HOURS_PER_WEEK,
    WEEKS_PER_YEAR,
    Costed,
    Owned,
    Purchase,
    Shape,
    owned,
    rented,
    rented_power_w,
    units_in,
)
from leptonbench.cost.rate import fact_provenance
from leptonbench.cost.tco import break_even_use
from leptonbench.planning.footprint import Drawn, Footprint, Place, footprint
from leptonbench.planning.market import Market
from leptonbench.planning.reader import Rated, Served
from leptonbench.planning.request import MONTHS_PER_YEAR, PlanRequest
from leptonbench.schema import DeviceProfile, Fact, PowerProfile, Provenance, Quantity, weakest
from leptonbench.schema.plan import PlanAbsence, PlanChoice
from leptonbench.schema.prices import Offer, Terms

_MILLION = 1e6
_At = Callable[[int], Costed]


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """What one unit of a cell is, and what is known of its device.

    Attributes:
        device: Profile of the cell's device, `None` where the run does not hold it.
        threads: Hardware threads that a unit uses.
    """

    served: Served | Rated
    device: DeviceProfile | None
    threads: int

    @property
    def per_machine(self) -> int:
        """Return the units of a whole owned machine: a share of a CPU server's threads, or a card or board each."""
        if self.device is None or self.device.owned is None or self.device.kind != "cpu":
            return 1
        return max(self.device.owned.hardware_threads // self.threads, 1)


class Sized(NamedTuple):
    """A fleet's cost at the low end of its units, as found, and at the high end; `None` where that is open."""

    low: Costed
    middle: Costed
    high: Costed | None


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """A cell on one kind of terms.

    Attributes:
        unit: Of the cell.
        choice: For the plan.
        sized: Its cost at the found size and at both ends of its interval.
        facts_beside: Figures of power and carbon, which cost nothing.
    """

    unit: Unit
    choice: PlanChoice
    sized: Sized
    facts_beside: dict[str, Fact]

    @property
    def costed(self) -> Costed:
        """Return the cost at the found size, as a function of its figures."""
        return self.sized.middle


def week(sizing: Sizing, rates_per_s: tuple[float, ...]) -> Shape:
    """Return the week of a feasible sizing without spares.

    Raises:
        ValueError: If it is infeasible.
    """
    if sizing.required is None or sizing.utilisation_peak is None or sizing.units is None:
        raise ValueError("an infeasible sizing has no week")
    busy = sizing.utilisation_peak * sizing.units / max(rates_per_s)
    return Shape(sizing.units_by_hour, rates_per_s, busy)


def options(unit: Unit, sizing: Sizing, market: Market, request: PlanRequest) -> tuple[list[Option], list[PlanAbsence]]:
    """Return every way to have a cell's units, and the ways that there are not."""
    found: list[Option] = []
    absent: list[PlanAbsence] = []
    shape = week(sizing, request.demand.rates_per_s)
    for terms in (Terms.ON_DEMAND, Terms.RESERVED, Terms.SPOT):
        one = _rent(unit, sizing, shape, market, request, terms)
        if isinstance(one, PlanAbsence):
            absent.append(one)
        else:
            found.append(one)
    on_demand = next((option for option in found if option.choice.terms is Terms.ON_DEMAND), None)
    bought = _own(unit, sizing, shape, market, request, on_demand)
    if isinstance(bought, PlanAbsence):
        absent.append(bought)
    else:
        found.append(bought)
    return found, absent


def _rent(
    unit: Unit, sizing: Sizing, shape: Shape, market: Market, request: PlanRequest, terms: Terms
) -> Option | PlanAbsence:
    name = unit.device.name if unit.device else unit.served.record.cell.device
    threads = unit.threads
    offered = partial(market.offers, name, region=request.region, threads=threads, horizon_years=request.horizon_years)
    candidates = offered(terms)
    if not candidates:
        return PlanAbsence(terms=terms, why=_no_offer(market, name, terms))
    stand_ins = offered(Terms.ON_DEMAND) if terms is Terms.SPOT else []
    if terms is Terms.SPOT and not stand_ins:
        return PlanAbsence(terms=terms, why="no on-demand price is known to stand in for spot units that are withdrawn")
    stand_in = min(stand_ins, key=lambda one: one.price_per_hour.value / units_in(one, threads), default=None)
    rework = market.withdrawn if terms is Terms.SPOT else None

    def fleet(offer: Offer, required: int) -> Costed:
        week_of, spares = shape.scaled(required), request.spare_nodes
        return rented(offer, week_of, threads=threads, spare_nodes=spares, on_demand=stand_in, rework=rework)

    # The cheapest for this many units: a node of eight is no bargain where one card does.
    offer = min(candidates, key=lambda one: fleet(one, shape.required).middle())
    purchase = Purchase(units_in(offer, threads), request.spare_nodes)

    def drawn(required: int, power: PowerProfile) -> Drawn:
        week_of = shape.scaled(required)
        threads_each = offer.vcpus / purchase.units_per_node if offer.vcpus else power.hardware_threads
        share = threads_each / power.hardware_threads
        watts = rented_power_w(power, week_of, purchase, share=share, around_the_clock=terms is Terms.RESERVED)
        return Drawn(watts, fleet(offer, required).unit_hours_per_week / HOURS_PER_WEEK * share)

    hosted = market.hosted.get(offer.provider, market.own)
    place = Place(request.region, hosted.carbon_g_per_kwh, offer.provider, hosted.pue, _making(unit, market))
    printed = footprint(unit.device, drawn, sizing, place, request)
    return _option(unit, sizing, request, partial(fleet, offer), printed)


def _making(unit: Unit, market: Market) -> Fact | None:
    return market.embodied.get(unit.device.kind) if unit.device else None


def _no_offer(market: Market, name: str, terms: Terms) -> str:
    if any(offer.device == name and offer.terms is terms for offer in market.checked.offers):
        return f"every {terms} offer of `{name}` is too small for a unit, or runs longer than the plan"
    return f"no {terms} price of `{name}` is known"


def _own(
    unit: Unit, sizing: Sizing, shape: Shape, market: Market, request: PlanRequest, on_demand: Option | None
) -> Option | PlanAbsence:
    device = unit.device
    if device is None or device.owned is None or device.power is None:
        lacking = "profile" if device is None else "purchase price" if device.owned is None else "power"
        named = device.name if device else unit.served.record.cell.device
        return PlanAbsence(terms=Terms.OWNED, why=f"no {lacking} of `{named}` is known")
    price, power = device.owned, device.power
    single = request.share_servers
    purchase = Purchase(1 if single else unit.per_machine, request.spare_nodes)
    share = 1.0 / unit.per_machine if single else 1.0

    def build(required: int) -> Owned:
        return owned(device.name, price, power, market.own, shape.scaled(required), purchase, share=share)

    def drawn(required: int, _: PowerProfile) -> Drawn:
        fleet = build(required)
        return Drawn(fleet.power_w, fleet.costed.nodes * share)

    place = Place(request.region, market.own.carbon_g_per_kwh, "own", market.own.pue, _making(unit, market))
    printed = footprint(device, drawn, sizing, place, request)
    even = _break_even(build(shape.required), on_demand)
    return _option(unit, sizing, request, lambda required: build(required).costed, printed, even=even)


def _option(
    unit: Unit, sizing: Sizing, request: PlanRequest, at: _At, printed: Footprint, *, even: Quantity | None = None
) -> Option:
    """Return what a cell costs on some terms: at the found size, with the ends of the units' interval."""
    middle = at(sizing.required or 0)
    low = at(sizing.low) if sizing.low is not None else middle
    high = at(sizing.high) if sizing.high is not None else None
    provenance = weakest([sizing.provenance, *(fact_provenance(fact) for fact in middle.facts.values())])
    answers = _answers_per_year(request)

    def money(scale: float) -> Quantity:
        return _quantity(middle, low, high, scale=scale, provenance=provenance)

    why_not = unit.served.unranked or (None if middle.terms in request.terms else _why_not(middle.terms))
    choice = PlanChoice(
        terms=middle.terms,
        offer=middle.offer,
        units=middle.units,
        nodes=middle.nodes,
        unit_hours_per_week=middle.unit_hours_per_week,
        usd_per_month=money(1 / MONTHS_PER_YEAR),
        usd_horizon=money(request.horizon_years),
        usd_per_million=money(_MILLION / answers),
        upfront_usd=_upfront(middle, provenance),
        power_peak_w=printed.power_peak_w,
        power_mean_w=printed.power_mean_w,
        carbon_kg_per_month=printed.carbon_kg_per_month,
        break_even=even or Quantity.null("1", "it is not owned"),
        ranked=why_not is None,
        why_not=why_not,
    )
    return Option(unit, choice, Sized(low, middle, high), printed.facts)


def _why_not(terms: Terms) -> str:
    if terms is Terms.SPOT:
        return "spot units can be withdrawn at short notice, which no latency target survives without spares"
    return f"{terms} was left out by --terms"


def _answers_per_year(request: PlanRequest) -> float:
    """Return the answers within the target in a year: at least the target's percentile of all."""
    return request.demand.arrivals.per_week * WEEKS_PER_YEAR * request.target.percentile


def _quantity(middle: Costed, low: Costed, high: Costed | None, *, scale: float, provenance: Provenance) -> Quantity:
    value = middle.middle() * scale
    method = f"{middle.terms}: {middle.offer}"
    if high is None:
        method += "; the units' interval is open upwards, and so is this"
        return Quantity(value=value, unit="USD", provenance=provenance, method=method)
    return Quantity(
        value=value,
        unit="USD",
        low=min(low.bounds()[0] * scale, value),
        high=max(high.bounds()[1] * scale, value),
        own_low=min(low.middle() * scale, value),
        own_high=max(high.middle() * scale, value),
        provenance=provenance,
        method=method,
    )


def _upfront(costed: Costed, provenance: Provenance) -> Quantity:
    value = costed.upfront_usd(costed.values)
    method = "purchase price" if value else "nothing is paid in advance"
    return Quantity(value=value, unit="USD", provenance=provenance, method=method)


def _break_even(whole: Owned, on_demand: Option | None) -> Quantity:
    """Return the use from which on the owned fleet is cheaper than the rented one, which both have the busiest hour."""
    if on_demand is None:
        return Quantity.null("1", "no on-demand price is known to compare with")
    rent = on_demand.costed
    per_unit_hour = rent.middle() / (rent.unit_hours_per_week * WEEKS_PER_YEAR)
    use = break_even_use(per_unit_hour * rent.units, idle=whole.idle, busy=whole.busy)
    if use is None:
        return Quantity.null("1", "renting by the hour is cheaper even around the clock")
    facts = [*rent.facts.values(), *whole.costed.facts.values()]
    return Quantity(
        value=use,
        unit="1",
        provenance=weakest(fact_provenance(fact) for fact in facts),
        method="cost of an idle owned hour / (rent of an hour - electricity that a busy hour adds)",
    )
