"""From a buyer's demand to the use of what is paid for, and from an hour's price to the price of a million answers."""

from __future__ import annotations

from typing import Protocol

from leptonbench.schema import Assumption, DemandSpec, Provenance, Quantity, weakest

HOURS_PER_WEEK = 168.0
_MILLION = 1e6
_SECONDS_PER_HOUR = 3600.0


class _Hourly(Protocol):
    """USD an hour with range, evidence and method: a `Rate`, or what looks like one."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def provenance(self) -> Provenance: ...
    @property
    def method(self) -> str: ...


def utilisation(demand: DemandSpec, *, always_on: bool) -> float:
    """Return the fraction of the paid capacity that answers the demand.

    utilisation = stated use at the demand's rate x hours at that rate / paid hours

    It does not depend on how fast a unit is: a fleet is as large as the demand needs, and a faster unit makes it
    smaller. How many whole units that is for one buyer is a question of capacity planning, not of price. With a curve,
    units that cost money around the clock are enough for the busiest hour and idle in the others; units that are
    rented by the hour follow the curve.

    Args:
        demand: What the buyer needs.
        always_on: Whether units cost money around the clock (owned, reserved) or only while asked (stopped on-demand).
    """
    return demand.utilisation * (demand.full_hours_per_week / HOURS_PER_WEEK if always_on else 1.0)


def cost_per_million(usd_per_hour: _Hourly, throughput: Quantity, *, utilisation: float) -> Quantity:
    """Return the price of a million answers: USD an hour / (throughput x 3600 x utilisation) x 1e6.

    The range pairs the cheap hour with the high end of the throughput and the dear hour with the low end; its own part
    is the throughput's alone, since all cells of a machine pay the same hour. It keeps the
    throughput's confidence only where the price has no range of its own.

    Args:
        usd_per_hour: Of the unit that the throughput was measured on.
        throughput: Answers a second.
        utilisation: Fraction of the paid capacity that is used, above 0, at most 1. There is no default: a peak rate
            that nobody asks for makes every price look low.

    Raises:
        ValueError: If the utilisation is outside its range.
    """
    if not 0 < utilisation <= 1:
        raise ValueError(f"utilisation is above 0 and at most 1, got {utilisation}")
    if throughput.value is None or throughput.provenance is None:
        return Quantity.null("USD", f"no throughput: {throughput.why_null}")
    if throughput.value <= 0:
        return Quantity.null("USD", "the throughput is not positive")

    def price(hour_usd: float, rate_per_s: float) -> float:
        return hour_usd / (rate_per_s * _SECONDS_PER_HOUR * utilisation) * _MILLION

    slow, fast = _span(throughput)
    value = price(usd_per_hour.value, throughput.value)
    low, high = price(usd_per_hour.low, fast), price(usd_per_hour.high, slow) if slow > 0 else None
    own_low, own_high = price(usd_per_hour.value, fast), price(usd_per_hour.value, slow) if slow > 0 else None
    bounded = high is not None and low < high
    priced_exactly = usd_per_hour.low == usd_per_hour.high
    return Quantity(
        value=value,
        unit="USD",
        low=low if bounded else None,
        high=high if bounded else None,
        own_low=own_low,
        own_high=own_high,
        n=throughput.n,
        confidence=throughput.confidence if bounded and priced_exactly else None,
        provenance=weakest((usd_per_hour.provenance, throughput.provenance)),
        method=f"{usd_per_hour.method} / throughput at {utilisation:.0%} utilisation",
    )


def _span(quantity: Quantity) -> tuple[float, float]:
    value = quantity.value or 0.0
    return (value if quantity.low is None else quantity.low, value if quantity.high is None else quantity.high)


def demand_assumptions(suite: str, demand: DemandSpec, *, date: str) -> tuple[Assumption, ...]:
    """Return the buyer's demand as rows of the list of assumptions; `date` is the day that the suite was read."""
    stated = (
        ("demand: rate", demand.rate_per_s, "1/s"),
        ("demand: hours a day", demand.hours_per_day, "h/d"),
        ("demand: days a week", demand.days_per_week, "d/week"),
        ("demand: use of a unit's sustained rate", demand.utilisation, "1"),
    )
    rows = [
        Assumption(name=name, value=value, unit=unit, source=f"suite `{suite}`", date=date, assumed=True)
        for name, value, unit in stated
    ]
    if demand.working_day is not None:
        mean = Assumption(
            name="demand: mean over the week / busiest hour",
            value=demand.full_hours_per_week / HOURS_PER_WEEK,
            unit="1",
            source=f"suite `{suite}`" + (f", from {demand.curve_source}" if demand.curve_source else ""),
            date=date,
            assumed=demand.curve_source is None,
        )
        rows.insert(1, mean)
    return tuple(rows)
