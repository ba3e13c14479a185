"""Owned: capital, hosting, maintenance and electricity of the share of a server that is used, per hour.

Left out, and to be said: staff, network and software licences.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from leptonbench.cost.rate import Rate, assumption, ends, fact_provenance
from leptonbench.schema import Fact, OwnedPrice, PowerProfile, RegionProfile, weakest

HOURS_PER_YEAR = 8766.0
MONTHS_PER_YEAR = 12.0


class OwnedParts(NamedTuple):
    """One hour's cost by head, in USD."""

    capital: float
    hosting: float
    maintenance: float
    electricity: float


_MORE_IS_CHEAPER = frozenset({"lifetime_years", "residual_fraction"})


def yearly_capital_usd(price_usd: float, residual_usd: float, *, interest_rate: float, lifetime_years: float) -> float:
    """Return the annuity that pays a server off, less what it fetches at the end; straight line without interest.

    Raises:
        ValueError: Unless the lifetime is positive and the interest is not negative.
    """
    if lifetime_years <= 0 or interest_rate < 0:
        raise ValueError(f"wants lifetime > 0 and interest >= 0, got {lifetime_years} and {interest_rate}")
    if interest_rate == 0:
        return (price_usd - residual_usd) / lifetime_years
    discount = math.exp(-lifetime_years * math.log1p(interest_rate))
    return (price_usd - residual_usd * discount) * interest_rate / (1.0 - discount)


def owned_facts(owned: OwnedPrice, power: PowerProfile, region: RegionProfile) -> Iterator[tuple[str, str, Fact]]:
    """Yield key, name to show and figure of everything that an owned hour depends on."""
    yield "server_usd", "price of the server", owned.server_usd
    yield "lifetime_years", "lifetime of the server", owned.lifetime_years
    yield "residual_fraction", "residual value of the server", owned.residual_fraction
    yield "interest_rate", "cost of capital", owned.interest_rate
    yield "hosting_usd_per_kw_month", "hosting", owned.hosting_usd_per_kw_month
    yield "maintenance_fraction_per_year", "maintenance", owned.maintenance_fraction_per_year
    yield "idle_w", "idle power of the server", power.idle_w
    yield "full_w", "full power of the server", power.full_w
    yield "electricity_usd_per_kwh", f"electricity in {region.name}", region.electricity_usd_per_kwh
    yield "pue", "power usage effectiveness", region.pue


def owned_parts(figures: Mapping[str, float], *, fraction: float) -> OwnedParts:
    """Return the hourly cost by head of one whole server.

    Args:
        figures: By the keys of `owned_facts`, in their units.
        fraction: Share of the dynamic power (full - idle) that it draws on average, 0 to 1.
    """
    capital_usd = yearly_capital_usd(
        figures["server_usd"],
        figures["server_usd"] * figures["residual_fraction"],
        interest_rate=figures["interest_rate"],
        lifetime_years=figures["lifetime_years"],
    )
    average_w = figures["idle_w"] + (figures["full_w"] - figures["idle_w"]) * fraction
    return OwnedParts(
        capital=capital_usd / HOURS_PER_YEAR,
        # A rack is provisioned for the most that a server can draw.
        hosting=figures["full_w"] / 1e3 * figures["hosting_usd_per_kw_month"] * MONTHS_PER_YEAR / HOURS_PER_YEAR,
        maintenance=figures["server_usd"] * figures["maintenance_fraction_per_year"] / HOURS_PER_YEAR,
        electricity=average_w / 1e3 * figures["pue"] * figures["electricity_usd_per_kwh"],
    )


class Owned(NamedTuple):
    """One hour of a share of an owned server: the total with its range, and the heads it is made of."""

    rate: Rate
    parts: OwnedParts


def owned_usd_per_hour(
    owned: OwnedPrice, power: PowerProfile, region: RegionProfile, *, threads: int, load: float
) -> Owned:
    """Return the cost per hour of `threads` hardware threads of an owned server, busy or not.

    The rest of the server is taken to be used, and paid for, by others. The range has every figure at its cheap or at
    its dear end at once, so it bounds the cost and is no confidence interval.

    Args:
        owned: Price and terms of the whole server.
        power: Its wall power.
        region: Electricity and power usage effectiveness where it stands.
        threads: Hardware threads of the share.
        load: The server's average load over all hours, 0 to 1 (see `utilisation`), for its electricity.

    Raises:
        ValueError: If `threads` is below 1 or `load` outside 0 to 1.
    """
    if threads < 1 or not 0 <= load <= 1:
        raise ValueError(f"wants threads >= 1 and a load from 0 to 1, got {threads} and {load}")
    facts = list(owned_facts(owned, power, region))
    cheap, dear = {}, {}
    for key, _, fact in facts:
        low, high = ends(fact)
        cheap[key], dear[key] = (high, low) if key in _MORE_IS_CHEAPER else (low, high)
    middle = {key: fact.value for key, _, fact in facts}
    share = threads / owned.hardware_threads
    low_parts, parts, high_parts = (
        OwnedParts(*(part * share for part in owned_parts(figures, fraction=power.fraction_at(load))))
        for figures in (cheap, middle, dear)
    )
    rate = Rate(
        value=sum(parts),
        low=sum(low_parts),
        high=sum(high_parts),
        provenance=weakest(fact_provenance(fact) for _, _, fact in facts),
        method=f"capital, hosting, maintenance and electricity x {threads} of {owned.hardware_threads} threads",
        assumptions=tuple(assumption(name, fact) for _, name, fact in facts),
    )
    return Owned(rate, parts)


def break_even_use(rented_usd_per_hour: float, *, idle: OwnedParts, busy: OwnedParts) -> float | None:
    """Return the fraction of hours in use above which owning is cheaper than renting, `None` if it never is.

    Rented by the hour, everything is paid in the hours in use alone. Owned, the idle machine is paid around the clock,
    its electricity too, and what the busy one draws beyond it in the hours in use.

    Args:
        rented_usd_per_hour: Of a fleet of the same use.
        idle: Heads of the owned fleet in an hour that asks for nothing.
        busy: Likewise in an hour in use.
    """
    fixed_usd = sum(idle)
    saved_usd = rented_usd_per_hour - (busy.electricity - idle.electricity)
    return fixed_usd / saved_usd if saved_usd > fixed_usd else None
