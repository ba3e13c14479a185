"""What a fleet of units costs a year, rented or owned, as a function of every figure that it rests on. Pure.

A fleet's cost is kept as a function from named figures to dollars, so that the same piece gives the value, the range
(every figure at its cheap or dear end) and the sensitivity (one figure at a time).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from leptonbench.cost.rate import ends
from leptonbench.cost.tco import HOURS_PER_YEAR, OwnedParts, owned_facts, owned_parts
from leptonbench.schema import Fact, OwnedPrice, PowerProfile, RegionProfile
from leptonbench.schema.prices import Offer, Terms

HOURS_PER_WEEK = 168
WEEKS_PER_YEAR = HOURS_PER_YEAR / HOURS_PER_WEEK
_OF_THE_PLACE = ("electricity_usd_per_kwh", "pue")  # equal for all that stand there

Values = Mapping[str, float]


class Shape(NamedTuple):
    """How many units a demand takes over the week, and how busy they are.

    Attributes:
        required_by_hour: Units that must serve, 168 hours, 0 where nothing is asked for.
        rates_per_s: Asked for in each hour.
        busy_per_rate_s: Unit-seconds of work that one query a second brings: utilisation x units / rate.
    """

    required_by_hour: tuple[int, ...]
    rates_per_s: tuple[float, ...]
    busy_per_rate_s: float

    @property
    def required(self) -> int:
        """Return the units of the busiest hour."""
        return max(self.required_by_hour)

    def scaled(self, required: int) -> Shape:
        """Return the week with another number of units in the busiest hour, and the other hours in proportion."""
        factor = required / self.required
        return self._replace(required_by_hour=tuple(math.ceil(units * factor) for units in self.required_by_hour))


class Purchase(NamedTuple):
    """What comes in whole: units of a node, spare nodes.

    Attributes:
        units_per_node: Units that are bought, and fail, together.
        spare_nodes: Beyond what the target needs.
    """

    units_per_node: int = 1
    spare_nodes: int = 0

    def nodes(self, required: int) -> int:
        """Return the nodes that hold `required` serving units and the spares; none where none must serve."""
        return -(-required // self.units_per_node) + self.spare_nodes if required else 0


@dataclass(frozen=True, slots=True, eq=False)
class Costed:
    """A fleet's yearly cost as a function of its figures.

    Attributes:
        terms: How it is paid for.
        offer: What is rented or bought.
        facts: Every figure, by the name to show.
        usd_per_year: Of values by the same names.
        units: In the busiest hour, spares included.
        nodes: That they come in.
        unit_hours_per_week: Paid.
        upfront_usd: To pay at the start, of the same values.
    """

    terms: Terms
    offer: str
    facts: Mapping[str, Fact]
    usd_per_year: Callable[[Values], float]
    units: int
    nodes: int
    unit_hours_per_week: float
    upfront_usd: Callable[[Values], float]

    @property
    def values(self) -> dict[str, float]:
        """Return the figures' own values."""
        return {name: fact.value for name, fact in self.facts.items()}

    def middle(self) -> float:
        """Return the cost with every figure as stated."""
        return self.usd_per_year(self.values)

    def bounds(self, but: Container[str] = ()) -> tuple[float, float]:
        """Return the cost with every figure at its cheap end, and at its dear end; it bounds the cost.

        Args:
            but: Names of figures that stay as stated.
        """
        cheap, dear = self.values, self.values
        for name, fact in self.facts.items():
            if name in but:
                continue
            low, high = ends(fact)
            at_low, at_high = (self.usd_per_year(self.values | {name: end}) for end in (low, high))
            cheap[name], dear[name] = (low, high) if at_low <= at_high else (high, low)
        return self.usd_per_year(cheap), self.usd_per_year(dear)


def _no_upfront(_: Values) -> float:
    return 0.0


def rented(
    offer: Offer, shape: Shape, *, threads: int, spare_nodes: int, on_demand: Offer | None, rework: Fact | None
) -> Costed:
    """Return what renting costs: on demand and spot follow the demand by the hour, a reservation runs around the clock.

    Spot hours that are withdrawn are bought again on demand: spot x (1 - share) + on-demand x share.

    Args:
        offer: Of the device. Whole instances are paid for, whatever is left over in them.
        shape: The week.
        spare_nodes: Instances beyond those that the target needs.
        threads: Hardware threads of a unit, for an offer by vCPUs; a card is a unit of an offer by cards.
        on_demand: For spot: what stands in; `None` for other terms.
        rework: For spot: the share of its hours that is bought again.

    Raises:
        ValueError: If a spot offer lacks its stand-in.
    """
    purchase = Purchase(units_in(offer, threads), spare_nodes)
    nodes = [purchase.nodes(required) for required in shape.required_by_hour]
    hours = [count * purchase.units_per_node for count in nodes]
    around = offer.terms is Terms.RESERVED
    unit_hours = float(max(hours) * HOURS_PER_WEEK if around else sum(hours))
    name = f"{offer.terms} price of {offer.name}"
    facts = {name: offer.price_per_hour}
    part = 1.0 / purchase.units_per_node
    yearly_hours = unit_hours * WEEKS_PER_YEAR
    if offer.terms is Terms.SPOT:
        if on_demand is None or rework is None:
            raise ValueError("a spot fleet needs the on-demand offer that stands in, and how often it does")
        full, lost = f"{on_demand.terms} price of {on_demand.name}", "share of spot hours that are withdrawn"
        facts |= {full: on_demand.price_per_hour, lost: rework}
        stand_in = 1.0 / units_in(on_demand, threads)

        def spot(values: Values) -> float:
            return yearly_hours * (values[name] * part * (1 - values[lost]) + values[full] * stand_in * values[lost])

        cost: Callable[[Values], float] = spot
    else:

        def hourly(values: Values) -> float:
            return yearly_hours * values[name] * part

        cost = hourly
    return Costed(offer.terms, offer.name, facts, cost, max(hours), max(nodes), unit_hours, _no_upfront)


def units_in(offer: Offer, threads: int) -> int:
    """Return the units that an instance holds, which are rented, and fail, together.

    Args:
        offer: By vCPUs or by cards.
        threads: Hardware threads of a unit, where an instance has vCPUs; a card is a unit.

    Raises:
        ValueError: If the instance is too small for one.
    """
    units = offer.vcpus // threads if offer.vcpus else offer.cards or 1
    if units < 1:
        raise ValueError(f"{offer.name} has {offer.vcpus} vCPUs, and a unit wants {threads}")
    return units


class Owned(NamedTuple):
    """An owned fleet.

    Attributes:
        costed: Its cost.
        idle: Its heads in an hour that asks for nothing, with every figure as stated.
        busy: Likewise in the busiest hour.
        power_w: In each hour of the week.
    """

    costed: Costed
    idle: OwnedParts
    busy: OwnedParts
    power_w: tuple[float, ...]


def owned(
    name: str,
    price: OwnedPrice,
    power: PowerProfile,
    region: RegionProfile,
    shape: Shape,
    purchase: Purchase,
    *,
    share: float = 1.0,
) -> Owned:
    """Return what owning whole machines costs, idle hours and spares included.

    Args:
        name: Of the device.
        price: Of one machine, with its terms.
        power: Of one machine at the wall.
        region: Where it stands.
        shape: The week.
        purchase: Units of a machine, and spare machines.
        share: Part of each machine that this fleet pays for; below 1 the rest does, and is paid for by, other work.
    """
    nodes = purchase.nodes(shape.required)
    fractions = [power.fraction_at(load) for load in loads(shape, units=nodes * purchase.units_per_node)]
    mean_fraction = fmean(fractions)
    named = {
        label if key in _OF_THE_PLACE else f"{label} ({name})": (key, fact)
        for key, label, fact in owned_facts(price, power, region)
    }

    def parts(values: Values, fraction: float) -> OwnedParts:
        by_key = {key: values[label] for label, (key, _) in named.items()}
        return OwnedParts(*(part * nodes * share for part in owned_parts(by_key, fraction=fraction)))

    def yearly(values: Values) -> float:
        return sum(parts(values, mean_fraction)) * HOURS_PER_YEAR

    purchase_name = next(label for label, (key, _) in named.items() if key == "server_usd")

    def upfront(values: Values) -> float:
        return values[purchase_name] * nodes * share

    facts = {label: fact for label, (_, fact) in named.items()}
    units = nodes * purchase.units_per_node
    costed = Costed(Terms.OWNED, name, facts, yearly, units, nodes, float(units * HOURS_PER_WEEK), upfront)
    idle, busy = (parts(costed.values, fraction) for fraction in (power.fraction_at(0.0), max(fractions)))
    return Owned(costed, idle, busy, drawn_w(power, fractions, machines=nodes * share))


def loads(shape: Shape, *, units: int) -> list[float]:
    """Return the fraction of time that `units` are busy in each hour of the week."""
    return [min(rate * shape.busy_per_rate_s / units, 1.0) for rate in shape.rates_per_s]


def drawn_w(power: PowerProfile, fractions: list[float], *, machines: float) -> tuple[float, ...]:
    """Return what machines draw at the wall in each hour, from the share of the dynamic power that they do."""
    idle_w, full_w = power.idle_w.value, power.full_w.value
    return tuple(machines * (idle_w + (full_w - idle_w) * fraction) for fraction in fractions)


def rented_power_w(
    power: PowerProfile, shape: Shape, purchase: Purchase, *, share: float, around_the_clock: bool
) -> tuple[float, ...]:
    """Return what the rented share of machines draws in each hour; the rest of them is taken to be as busy.

    Args:
        power: Of one whole machine.
        shape: The week.
        purchase: Units that come together and spares.
        share: Part of a machine that a unit is.
        around_the_clock: Whether units are kept in hours that ask for nothing.
    """
    whole = purchase.nodes(shape.required) * purchase.units_per_node
    watts = []
    for required, rate in zip(shape.required_by_hour, shape.rates_per_s, strict=True):
        units = whole if around_the_clock else purchase.nodes(required) * purchase.units_per_node
        load = min(rate * shape.busy_per_rate_s / units, 1.0) if units else 0.0
        watts.append(drawn_w(power, [power.fraction_at(load)], machines=units * share)[0])
    return tuple(watts)
