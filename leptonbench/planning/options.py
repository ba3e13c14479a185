"""On which terms a cell can be had at a size, and what each costs, draws and emits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from leptonbench.cost.capacity import Sizing
from leptonbench.cost.carbon import embodied_kg_per_year, grid_kg_per_year
from leptonbench.cost.fleet import HOURS_PER_WEEK, WEEKS_PER_YEAR, Costed, Owned, Purchase, Shape, owned, rented
from leptonbench.cost.fleet import rented_power_w as share_power_w
from leptonbench.cost.rate import ends, fact_provenance
from leptonbench.cost.tco import break_even_use
from leptonbench.planning.market import Market
from leptonbench.planning.reader import Served
from leptonbench.planning.request import MONTHS_PER_YEAR, PlanRequest
from leptonbench.schema import DeviceProfile, Fact, Provenance, Quantity, weakest
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

    served: Served
    device: DeviceProfile | None
    threads: int

    @property
    def per_machine(self) -> int:
        """Return the units of a whole owned machine: a share of a CPU server's threads, or a card or board each."""
        if self.device is None or self.device.owned is None or self.device.kind != "cpu":
            return 1
        return max(self.device.owned.hardware_threads // self.threads, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """A cell on one kind of terms.

    Attributes:
        unit: Of the cell.
        choice: For the plan.
        costed: Its cost at the found size, as a function of its figures.
        facts_beside: Figures of power and carbon, which cost nothing.
    """

    unit: Unit
    choice: PlanChoice
    costed: Costed
    facts_beside: dict[str, Fact]


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
    best = partial(market.best, name, region=request.region, threads=unit.threads, horizon_years=request.horizon_years)
    offer = best(terms)
    if offer is None:
        return PlanAbsence(terms=terms, why=_no_offer(market, name, terms))
    stand_in = best(Terms.ON_DEMAND) if terms is Terms.SPOT else None
    if terms is Terms.SPOT and stand_in is None:
        return PlanAbsence(terms=terms, why="no on-demand price is known to stand in for spot units that are withdrawn")
    purchase = Purchase(offer.cards or 1, request.spare_nodes)
    rework = market.withdrawn if terms is Terms.SPOT else None

    def at(required: int) -> Costed:
        week_of = shape.scaled(required)
        return rented(offer, week_of, purchase, threads=unit.threads, on_demand=stand_in, rework=rework)

    choice, costed = _choice(unit, sizing, request, at, _rented_power(unit, shape, purchase, terms))
    carbon, beside = _rented_carbon(unit, shape, purchase, offer, costed, market, request)
    return Option(unit, choice.model_copy(update={"carbon_kg_per_month": carbon}), costed, beside)


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

    whole = build(shape.required)
    choice, costed = _choice(unit, sizing, request, lambda required: build(required).costed, whole.power_w)
    carbon, beside = _owned_carbon(unit, whole, share, market, request)
    changes = {"carbon_kg_per_month": carbon, "break_even": _break_even(whole, on_demand)}
    return Option(unit, choice.model_copy(update=changes), costed, beside)


def _choice(
    unit: Unit,
    sizing: Sizing,
    request: PlanRequest,
    at: _At,
    power_w: tuple[float, ...] | None,
) -> tuple[PlanChoice, Costed]:
    """Return the choice without its carbon, and its cost at the found size."""
    middle = at(sizing.required or 0)
    low = at(sizing.low) if sizing.low is not None else middle
    high = at(sizing.high) if sizing.high is not None else None
    provenance = weakest([sizing.provenance, *(fact_provenance(fact) for fact in middle.facts.values())])
    answers = _answers_per_year(request)

    def money(scale: float, unit_name: str = "USD") -> Quantity:
        return _quantity(middle, low, high, scale=scale, unit=unit_name, provenance=provenance)

    ranked = middle.terms in request.terms
    why_not = None if ranked else _why_not(middle.terms)
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
        power_peak_w=_power(unit, power_w, peak=True),
        power_mean_w=_power(unit, power_w, peak=False),
        carbon_kg_per_month=Quantity.null("kg", "not computed"),
        break_even=Quantity.null("1", "it is not owned"),
        ranked=ranked,
        why_not=why_not,
    )
    return choice, middle


def _why_not(terms: Terms) -> str:
    if terms is Terms.SPOT:
        return "spot units can be withdrawn at short notice, which no latency target survives without spares"
    return f"{terms} was left out by --terms"


def _answers_per_year(request: PlanRequest) -> float:
    """Return the answers within the target in a year: at least the target's percentile of all."""
    return request.demand.arrivals.per_week * WEEKS_PER_YEAR * request.target.percentile


def _quantity(
    middle: Costed, low: Costed, high: Costed | None, *, scale: float, unit: str, provenance: Provenance
) -> Quantity:
    value = middle.middle() * scale
    method = f"{middle.terms}: {middle.offer}"
    if high is None:
        method += "; the units' interval is open upwards, and so is this"
        return Quantity(value=value, unit=unit, provenance=provenance, method=method)
    return Quantity(
        value=value,
        unit=unit,
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


def _power(unit: Unit, power_w: tuple[float, ...] | None, *, peak: bool) -> Quantity:
    device = unit.device
    if power_w is None or device is None or device.power is None:
        return Quantity.null("W", f"no wall power of `{device.name if device else 'the device'}` is known")
    facts = (device.power.idle_w, device.power.full_w)
    ratio_low = min(ends(fact)[0] / fact.value for fact in facts)
    ratio_high = max(ends(fact)[1] / fact.value for fact in facts)
    value = max(power_w) if peak else fmean(power_w)
    return Quantity(
        value=value,
        unit="W",
        low=value * ratio_low,
        high=value * ratio_high,
        provenance=weakest(fact_provenance(fact) for fact in facts),
        method="profile of the whole machine by load, at the wall, without the building's overhead",
    )


def _rented_power(unit: Unit, shape: Shape, purchase: Purchase, terms: Terms) -> tuple[float, ...] | None:
    if unit.device is None or unit.device.power is None:
        return None
    share = unit.threads / unit.device.power.hardware_threads if unit.device.kind == "cpu" else 1.0
    return share_power_w(unit.device.power, shape, purchase, share=share, around_the_clock=terms is Terms.RESERVED)


def _break_even(whole: Owned, on_demand: Option | None) -> Quantity:
    if on_demand is None:
        return Quantity.null("1", "no on-demand price is known to compare with")
    rent = on_demand.costed
    per_unit_hour = rent.middle() / (rent.unit_hours_per_week * WEEKS_PER_YEAR)
    use = break_even_use(per_unit_hour * rent.units, whole.parts)
    if use is None:
        return Quantity.null("1", "renting by the hour is cheaper even around the clock")
    facts = [*rent.facts.values(), *whole.costed.facts.values()]
    return Quantity(
        value=use,
        unit="1",
        provenance=weakest(fact_provenance(fact) for fact in facts),
        method="fixed cost of owning an hour / (rent of an hour - electricity of an hour)",
    )


def _rented_carbon(
    unit: Unit,
    shape: Shape,
    purchase: Purchase,
    offer: Offer,
    costed: Costed,
    market: Market,
    request: PlanRequest,
) -> tuple[Quantity, dict[str, Fact]]:
    power_w = _rented_power(unit, shape, purchase, offer.terms)
    place = market.hosted.get(offer.provider, market.own)
    device = unit.device
    share = unit.threads / device.power.hardware_threads if device and device.power and device.kind == "cpu" else 1.0
    machines = costed.unit_hours_per_week / HOURS_PER_WEEK * share
    return _carbon(unit, power_w, machines, place.pue, market, request, owner=offer.provider)


def _owned_carbon(
    unit: Unit, whole: Owned, share: float, market: Market, request: PlanRequest
) -> tuple[Quantity, dict[str, Fact]]:
    machines = whole.costed.nodes * share
    return _carbon(unit, whole.power_w, machines, market.own.pue, market, request, owner="own")


def _carbon(
    unit: Unit,
    power_w: tuple[float, ...] | None,
    machines: float,
    pue: Fact,
    market: Market,
    request: PlanRequest,
    *,
    owner: str,
) -> tuple[Quantity, dict[str, Fact]]:
    """Return kilograms a month with the figures they rest on; making the machines is in it where it is known."""
    if power_w is None or unit.device is None:
        return Quantity.null("kg", "no wall power is known"), {}
    grid = market.own.carbon_g_per_kwh
    intensity = request.grid_g_per_kwh or (grid.value,)
    kg = grid_kg_per_year(power_w, intensity_g_per_kwh=intensity, pue=pue.value)
    facts = {f"carbon intensity in {request.region}": grid, f"power usage effectiveness, {owner}": pue}
    making = market.embodied.get(unit.device.kind)
    lifetime = unit.device.owned.lifetime_years if unit.device.owned else None
    method = "power x overhead x carbon of the grid" + (", by the hour" if request.grid_g_per_kwh else "")
    if making is not None and lifetime is not None:
        kg += embodied_kg_per_year(making.value, machines=machines, lifetime_years=lifetime.value)
        facts |= {f"carbon of making a machine ({unit.device.kind})": making}
        method += ", and making the machines over their lifetime"
    else:
        method += "; making the machines is left out: no figure is known"
    provenance = weakest(fact_provenance(fact) for fact in facts.values())
    return Quantity(value=kg / MONTHS_PER_YEAR, unit="kg", provenance=provenance, method=method), facts
