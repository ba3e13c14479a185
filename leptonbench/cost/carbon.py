"""What a fleet emits: the grid's carbon hour by hour, and a year's share of making the machines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from leptonbench.cost.tco import HOURS_PER_YEAR

_GRAMS_PER_KG, _WATTS_PER_KW = 1e3, 1e3
_HOURS_PER_WEEK = 168


def grid_kg_per_year(power_w: Sequence[float], *, intensity_g_per_kwh: Sequence[float], pue: float) -> float:
    """Return the carbon of the electricity that a fleet draws in a year, in kg of CO2 equivalent.

    Args:
        power_w: At the wall of the machines, mean of each of the week's 168 hours.
        intensity_g_per_kwh: Of the grid: one figure, or one for each hour of the week.
        pue: Power usage effectiveness of the building.

    Raises:
        ValueError: If the hours do not match.
    """
    if len(power_w) != _HOURS_PER_WEEK or len(intensity_g_per_kwh) not in (1, _HOURS_PER_WEEK):
        got = f"{len(power_w)} and {len(intensity_g_per_kwh)}"
        raise ValueError(f"wants {_HOURS_PER_WEEK} hours of power and 1 or {_HOURS_PER_WEEK} of intensity, got {got}")
    by_hour = intensity_g_per_kwh if len(intensity_g_per_kwh) > 1 else list(intensity_g_per_kwh) * _HOURS_PER_WEEK
    grams_per_hour = fmean(watts / _WATTS_PER_KW * grams for watts, grams in zip(power_w, by_hour, strict=True))
    return grams_per_hour * pue * HOURS_PER_YEAR / _GRAMS_PER_KG


def embodied_kg_per_year(machine_kg: float, *, machines: float, lifetime_years: float) -> float:
    """Return a year's share of what making the machines emitted, in kg: straight over their lifetime.

    Args:
        machine_kg: Of one machine, before its use.
        machines: How many; a share of a rented one counts as that fraction.
        lifetime_years: Over which it is spread.

    Raises:
        ValueError: Unless the lifetime is positive.
    """
    if lifetime_years <= 0:
        raise ValueError(f"a lifetime is positive, got {lifetime_years}")
    return machine_kg * machines / lifetime_years
