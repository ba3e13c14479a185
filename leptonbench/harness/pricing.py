"""What a cell's answers cost: the machine's price an hour over the rate that meets the buyer's latency target."""

from __future__ import annotations

from typing import NamedTuple

from leptonbench import catalog
from leptonbench.cost.hourly import rented_usd_per_hour
from leptonbench.cost.rate import Rate, assumption, unique
from leptonbench.cost.region import region_profile
from leptonbench.cost.tco import owned_usd_per_hour
from leptonbench.cost.use import cost_per_million, demand_assumptions, utilisation
from leptonbench.paths import data_root
from leptonbench.schema import Assumption, CellRecord, DeviceProfile, Quantity, RegionTable, SuiteSpec

_RENTED, _OWNED = "cost_per_million", "owned_cost_per_million"


class Prices(NamedTuple):
    """What one machine share costs an hour, rented and owned, and why a price is missing."""

    rented: Rate | None
    owned: Rate | None
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
    owned = None
    if device.owned is not None and device.power is not None:
        # Priced at full load: the cost is taken at the rate that saturates the machine within the target.
        owned = owned_usd_per_hour(device.owned, device.power, region, threads=threads, load=1.0).rate
    rows = [row for rate in (rented, owned) if rate is not None for row in rate.assumptions]
    rows += demand_assumptions(suite.name, suite.demand, date=date)
    if device.power is not None:
        rows += [
            assumption("whole-server power, idle", device.power.idle_w),
            assumption("whole-server power, full load", device.power.full_w),
        ]
    why = f"the profile `{device.name}` has no price"
    return Prices(rented, owned, why, unique(rows))


def _table(name: str) -> RegionTable:
    return catalog.load_yaml(data_root() / "hardware_profiles" / "prices" / f"{name}.yaml", RegionTable)


def price_cell(record: CellRecord, prices: Prices, suite: SuiteSpec) -> dict[str, Quantity]:
    """Return rented and owned dollars per million answers at the suite's demand.

    A cell that misses the buyer's latency target has no price: answers that come too late are not what was asked for.
    Where the target could not be checked (the offline scenario), the price is that of work without a deadline.
    """
    throughput = record.metrics.get("throughput")
    if record.meets_target is False:
        why = "the cell misses the suite's latency target, and late answers are not priced"
        return {tag: Quantity.null("USD", why) for tag in (_RENTED, _OWNED)}
    if throughput is None or not throughput.value:
        return {tag: Quantity.null("USD", "no throughput was measured") for tag in (_RENTED, _OWNED)}
    costs: dict[str, Quantity] = {}
    for tag, rate, always_on in ((_RENTED, prices.rented, False), (_OWNED, prices.owned, True)):
        if rate is None:
            costs[tag] = Quantity.null("USD", prices.why_null)
            continue
        use = utilisation(suite.demand, capacity_per_s=throughput.value, always_on=always_on)
        costs[tag] = cost_per_million(rate, throughput, utilisation=use.utilisation)
    return costs
