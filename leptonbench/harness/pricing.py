"""What a cell's answers cost: the machine's price an hour over the rate that meets the buyer's latency target."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from leptonbench import catalog
from leptonbench.cost.hourly import rented_usd_per_hour
from leptonbench.cost.rate import Rate, assumption, unique
from leptonbench.cost.region import region_profile
from leptonbench.cost.tco import owned_usd_per_hour
from leptonbench.cost.use import cost_per_million, demand_assumptions, utilisation
from leptonbench.paths import data_root
from leptonbench.schema import (
    Assumption,
    CellRecord,
    DeviceProfile,
    Quantity,
    RegionProfile,
    RegionTable,
    Scenario,
    SuiteSpec,
)

_RENTED, _OWNED = "cost_per_million", "owned_cost_per_million"


class Prices(NamedTuple):
    """What one machine share costs an hour, rented and owned, and why a price is missing.

    Attributes:
        owned: By the server's average load, which decides its electricity.
    """

    rented: Rate | None
    owned: Callable[[float], Rate] | None
    why_null: str
    assumptions: tuple[Assumption, ...]


def host_prices(device: DeviceProfile, suite: SuiteSpec, *, threads: int, date: str) -> Prices:
    """Price a share of the host's kind of server in the suite's region.

    Args:
        device: Its profile.
        suite: For the region and the demand.
        threads: Logical cores the cells use.
        date: The run's day, for the demand in the list of assumptions.
    """
    region = region_profile(suite.region, electricity=_table("electricity"), carbon=_table("carbon"), pue=_table("pue"))
    rented = rented_usd_per_hour(device.cloud, threads=threads) if device.cloud else None
    owned = _owned(device, region, threads=threads)
    rates = (rented, owned(1.0) if owned else None)
    rows = [row for rate in rates if rate is not None for row in rate.assumptions]
    rows += demand_assumptions(suite.name, suite.demand, date=date)
    rows += [assumption(f"suite: {name}", fact) for name, fact in suite.assumptions.items()]
    if device.power is not None and owned is None:
        rows += [
            assumption("whole-server power, idle", device.power.idle_w),
            assumption("whole-server power, full load", device.power.full_w),
        ]
    why = f"the profile `{device.name}` has no price" + (
        " of renting it" if owned else " of owning it" if rented else ""
    )
    return Prices(rented, owned, why, unique(rows))


def unpriced(device: str) -> Prices:
    """Return no price for a device whose share of a machine is not known: a GPU is rented with the host around it."""
    return Prices(None, None, f"`{device}` has no price of its own: the instance around it is what is paid for", ())


def _owned(device: DeviceProfile, region: RegionProfile, *, threads: int) -> Callable[[float], Rate] | None:
    """Return the price of an owned hour by load, `None` where the profile has no price or no power."""
    price, power = device.owned, device.power
    if price is None or power is None:
        return None
    return lambda load: owned_usd_per_hour(price, power, region, threads=threads, load=load).rate


def _table(name: str) -> RegionTable:
    return catalog.load_yaml(data_root() / "hardware_profiles" / "prices" / f"{name}.yaml", RegionTable)


def price_cell(record: CellRecord, prices: Prices, suite: SuiteSpec) -> dict[str, Quantity]:
    """Return rented and owned dollars per million answers at the suite's demand.

    A cell that misses the buyer's latency target has no price: answers that come too late are not what was asked for.
    Where the target could not be checked, or not with arrivals that queue, the method says so. An owned server draws
    power around the clock, so its average load is the utilisation of its paid hours.
    """
    throughput = record.metrics.get("throughput")
    if record.meets_target is False:
        why = "the cell misses the suite's latency target, and late answers are not priced"
        return {tag: Quantity.null("USD", why) for tag in (_RENTED, _OWNED)}
    if throughput is None or not throughput.value:
        return {tag: Quantity.null("USD", "no throughput was measured") for tag in (_RENTED, _OWNED)}
    asked, around_the_clock = (utilisation(suite.demand, always_on=always_on) for always_on in (False, True))
    owned = prices.owned(around_the_clock) if prices.owned else None
    costs = {
        tag: cost_per_million(rate, throughput, utilisation=use) if rate else Quantity.null("USD", prices.why_null)
        for tag, rate, use in ((_RENTED, prices.rented, asked), (_OWNED, owned, around_the_clock))
    }
    basis = _basis(record)
    return {
        tag: cost.model_copy(update={"method": f"{cost.method}{basis}"}) if cost.method else cost
        for tag, cost in costs.items()
    }


def _basis(record: CellRecord) -> str:
    """Say what stands between this price and one that holds for queued arrivals within the latency target."""
    if record.cell.scenario is Scenario.OFFLINE:
        return "; work without a deadline, no latency target checked"
    unchecked = "" if record.meets_target else "; too few queries to certify the latency target"
    alone = (
        "" if record.cell.scenario is Scenario.SERVER else "; queries one after another, without a queue of arrivals"
    )
    return unchecked + alone
