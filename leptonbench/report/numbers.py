"""Numbers for people: friendly units at the edge, three significant digits, the interval in the same unit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from leptonbench.schema import METRICS, Direction, Provenance, Quantity

SIGNIFICANT = 3
MINUS = "\u2212"
NO_VALUE = "\u2014"


class Scale(NamedTuple):
    """A display unit: divide an SI value by `factor` and write `unit` behind it."""

    factor: float
    unit: str
    decimals: int | None = None
    signed: bool = False


_BY_UNIT: dict[str, tuple[Scale, ...]] = {
    "s": (Scale(1, "s"), Scale(1e-3, "ms"), Scale(1e-6, "µs"), Scale(1e-9, "ns")),
    "J": (Scale(1e3, "kJ"), Scale(1, "J"), Scale(1e-3, "mJ"), Scale(1e-6, "µJ"), Scale(1e-9, "nJ")),
    "W": (Scale(1e3, "kW"), Scale(1, "W"), Scale(1e-3, "mW")),
    "B": (Scale(1e9, "GB"), Scale(1e6, "MB"), Scale(1e3, "kB"), Scale(1, "B")),
    "1/s": (Scale(1e6, "M/s"), Scale(1e3, "k/s"), Scale(1, "/s")),
    "Hz": (Scale(1e9, "GHz"), Scale(1e6, "MHz"), Scale(1e3, "kHz"), Scale(1, "Hz")),
    "1": (Scale(1e9, "G"), Scale(1e6, "M"), Scale(1e3, "k"), Scale(1, "")),
}
_BY_METRIC: dict[str, Scale] = {
    "quality": Scale(0.01, "%"),
    "quality_delta": Scale(0.01, "pp", 2, signed=True),
    "speedup": Scale(1, "×"),
    "theoretical_speedup": Scale(1, "×"),
}


def scale_for(tag: str, unit: str, values: Iterable[float]) -> Scale:
    """Choose one display unit for all `values` of a metric, by their median magnitude.

    Args:
        tag: The metric's tag; a few metrics have a fixed display unit (`quality` is shown in %).
        unit: Their SI unit.
        values: In that unit; zeros are ignored.
    """
    if tag in _BY_METRIC and unit == "1":
        return _BY_METRIC[tag]
    choices = _BY_UNIT.get(unit)
    magnitudes = sorted(abs(value) for value in values if value)
    if choices is None:
        return Scale(1, unit)
    if not magnitudes:
        return next(scale for scale in choices if scale.factor == 1)
    median = magnitudes[len(magnitudes) // 2]
    return next((scale for scale in choices if median >= scale.factor * 0.9995), choices[-1])


def decimals_for(value: float, significant: int = SIGNIFICANT) -> int:
    """Return how many decimals show `value` with so many significant digits (negative for large values)."""
    if value == 0:
        return 0
    exponent = int(f"{value:.{significant - 1}e}".partition("e")[2])
    return significant - 1 - exponent


def write(value: float, decimals: int, *, signed: bool = False) -> str:
    """Write a number with so many decimals, thousands apart, and a real minus sign."""
    text = f"{abs(round(value, decimals)):,.{max(decimals, 0)}f}"
    is_zero = not text.strip("0.,")
    if value < 0 and not is_zero:
        return MINUS + text
    return "+" + text if signed and not is_zero else text


class Figure(NamedTuple):
    """A quantity as it is shown: texts for people beside the raw SI numbers for machines."""

    tag: str
    text: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    low_text: str
    high_text: str
    n: int | None
    provenance: Provenance | None
    why: str

    @property
    def has_interval(self) -> bool:
        """Tell whether both ends of the interval are known."""
        return self.value is not None and self.low is not None and self.high is not None

    @property
    def dash(self) -> str:
        """Return what stands between the interval's ends: an en dash, which a minus sign would blur."""
        return "\u2009\u2026\u2009" if (self.low or 0) < 0 else "\u2013"

    @property
    def span(self) -> str:
        """Return the interval as text; empty where there is none or it has no width."""
        return f"{self.low_text}{self.dash}{self.high_text}" if self.has_interval and self.low != self.high else ""


def _decimals(scale: Scale, value: float) -> int:
    return scale.decimals if scale.decimals is not None else decimals_for(value / scale.factor)


def figure(tag: str, quantity: Quantity, scale: Scale | None = None) -> Figure:
    """Return how `quantity` is shown, in `scale` or in the unit that suits its own value."""
    if quantity.value is None:
        why = quantity.why_null or ""
        return Figure(tag, NO_VALUE, quantity.unit, None, None, None, "", "", quantity.n, quantity.provenance, why)
    chosen = scale or scale_for(tag, quantity.unit, [quantity.value])
    decimals = _decimals(chosen, quantity.value)

    def shown(value: float | None) -> str:
        return "" if value is None else write(value / chosen.factor, decimals, signed=chosen.signed)

    return Figure(
        tag,
        shown(quantity.value),
        chosen.unit,
        quantity.value,
        quantity.low,
        quantity.high,
        shown(quantity.low),
        shown(quantity.high),
        quantity.n,
        quantity.provenance,
        "",
    )


def plain(value: float, unit: str, tag: str = "") -> str:
    """Write one number with its friendly unit, for prose and titles."""
    scale = scale_for(tag, unit, [value])
    text = write(value / scale.factor, _decimals(scale, value), signed=scale.signed)
    return f"{text}\u00a0{scale.unit}" if scale.unit else text


def lower_is_better(tag: str) -> bool | None:
    """Return which way is better for a metric, or `None` where neither is."""
    direction = METRICS[tag].direction
    return None if direction is Direction.NEITHER else direction is Direction.LOWER


def clearly_better(tag: str, one: Quantity, other: Quantity) -> bool:
    """Tell whether `one` beats `other` with intervals clear of each other.

    A quantity without an interval counts as a point; absent values never win.
    """
    lower = lower_is_better(tag)
    if one.value is None or other.value is None or lower is None:
        return False
    mine, theirs = own_bounds(one), own_bounds(other)
    return mine[1] < theirs[0] if lower else mine[0] > theirs[1]


def bounds(quantity: Quantity) -> tuple[float, float]:
    """Return the interval's ends, or the value twice where there is no interval.

    Raises:
        ValueError: If the quantity has no value.
    """
    if quantity.value is None:
        raise ValueError("a quantity without a value has no bounds")
    low = quantity.value if quantity.low is None else quantity.low
    high = quantity.value if quantity.high is None else quantity.high
    return low, high


def own_bounds(quantity: Quantity) -> tuple[float, float]:
    """Return the ends by which cells of one run are compared: without a price or a meter's band that all share.

    Raises:
        ValueError: If the quantity has no value.
    """
    if quantity.own_low is None or quantity.own_high is None:
        return bounds(quantity)
    return quantity.own_low, quantity.own_high


class Ratio(NamedTuple):
    """How many times as much; the interval takes the far ends of both intervals, so it is wide rather than narrow."""

    value: float
    low: float | None
    high: float | None


def ratio(above: Quantity, below: Quantity) -> Ratio | None:
    """Return `above / below`, or `None` where it has no meaning (absent, zero, or an interval that reaches zero)."""
    if not above.value or not below.value:
        return None
    above_low, above_high = own_bounds(above)
    below_low, below_high = own_bounds(below)
    if min(above_low, below_low) <= 0:
        return None
    known = above.low is not None and below.low is not None
    value = above.value / below.value
    return Ratio(value, above_low / below_high, above_high / below_low) if known else Ratio(value, None, None)


def ticks(low: float, high: float, *, log: bool, count: int = 5) -> list[float]:
    """Return round tick values within `low..high`: 1-2-5 steps, or 1-2-5 multiples of decades on a log axis.

    Raises:
        ValueError: If the range is empty, or not positive on a log axis.
    """
    if high <= low or (log and low <= 0):
        raise ValueError(f"no ticks fit into {low}..{high}")
    if not log:
        return _linear_ticks(low, high, count)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = range(first, last + 1)
    inside = [10.0**power for power in decades if low <= 10.0**power <= high]
    if len(inside) > 3:
        return inside
    every = [multiple * 10.0**power for power in decades for multiple in (1, 2, 5)]
    return [tick for tick in every if low <= tick <= high]


def _linear_ticks(low: float, high: float, count: int) -> list[float]:
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(multiple * power for multiple in (1, 2, 2.5, 5, 10) if multiple * power >= rough * 0.999)
    start = math.ceil(low / step - 1e-9)
    stop = math.floor(high / step + 1e-9)
    return [index * step for index in range(start, stop + 1)]
