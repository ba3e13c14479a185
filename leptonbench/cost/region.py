"""What a place adds: electricity, overhead of the building and carbon of the grid, put together from their tables."""

from __future__ import annotations

from leptonbench.cost.rate import assumption
from leptonbench.errors import UsageError
from leptonbench.schema import Assumption, Fact, RegionProfile, RegionTable


def _figure(table: RegionTable, key: str, *, kind: str) -> Fact:
    try:
        return table.figures[key]
    except KeyError:
        known = ", ".join(sorted(table.figures))
        raise UsageError(f"there is no {kind} of `{key}`", hint=f"known: {known}") from None


def region_profile(
    region: str, *, electricity: RegionTable, carbon: RegionTable, pue: RegionTable, hosting: str = "own"
) -> RegionProfile:
    """Return the figures of a region and a kind of hosting (a key of the `pue` table).

    Raises:
        UsageError: If a table does not have the region or the kind of hosting; names those it has.
    """
    return RegionProfile(
        name=region,
        electricity_usd_per_kwh=_figure(electricity, region, kind="electricity price"),
        pue=_figure(pue, hosting, kind="power usage effectiveness"),
        carbon_g_per_kwh=_figure(carbon, region, kind="carbon intensity"),
    )


def carbon_assumption(region: RegionProfile) -> Assumption:
    """Return the grid's carbon intensity as a row of the list of assumptions."""
    return assumption(f"carbon intensity in {region.name}", region.carbon_g_per_kwh)
