"""What both sides also measured, or what follows from it: told with its own interval, judged by budgets alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.cost.use import cost_per_million
from leptonbench.gate.model import Shown
from leptonbench.harness.aggregate import pooled_percentile
from leptonbench.schema import METRICS, Boundary, Provenance, Quantity
from leptonbench.stats.paired import paired_ratio
from leptonbench.stats.summary import round_interval

ENERGY, COST, RATE = "energy_per_inference", "cost_per_million", "throughput"
MEASURED = ("latency_p50", "latency_mean", RATE, "peak_memory", "load_time")
TAILS = {"latency_p90": 0.90, "latency_p99": 0.99, "latency_p999": 0.999}

Values = Mapping[str, float]
Latencies = Sequence[NDArray[np.float64]]


class EnergyFacts(NamedTuple):
    """What stands behind the joules of both sides."""

    boundary: str
    method: str
    provenance: str


class Price(NamedTuple):
    """What an hour of this machine costs, and how much of it answers; looks like a `Rate`."""

    value: float
    low: float
    high: float
    provenance: Provenance
    method: str
    utilisation: float


def shown(
    base: Sequence[Values],
    head: Sequence[Values],
    *,
    latencies_s: tuple[Latencies, Latencies],
    energy: EnergyFacts | None,
    price: Price | None,
) -> tuple[Shown, ...]:
    """Return what can be told of both sides.

    Args:
        base: One process's figures each.
        head: Likewise, in the order of the pairs.
        latencies_s: Of every query, by process, of base and head; empty where there are none.
        energy: Behind `energy_j`, where the processes were metered.
        price: Of the machine; `None` leaves the cost out.
    """
    found = [
        Shown(metric=tag, base=_measured(tag, base), head=_measured(tag, head), change=_change(tag, base, head))
        for tag in MEASURED
        if _everywhere(tag, base, head)
    ]
    if all(latencies_s):
        found += [
            _tail(tag, percentile, (base, head), latencies_s)
            for tag, percentile in TAILS.items()
            if _everywhere(tag, base, head)
        ]
    if energy is not None and _everywhere("energy_j", base, head):
        sides = (_joules(base, energy), _joules(head, energy))
        change = _change("energy_j", base, head).model_copy(update={"provenance": Provenance(energy.provenance)})
        found.append(Shown(metric=ENERGY, base=sides[0], head=sides[1], change=change))
    rates = next((item for item in found if item.metric == RATE), None)
    if price is not None and rates is not None:
        found.append(_cost(rates, price))
    return tuple(found)


def _everywhere(tag: str, *sides: Sequence[Values]) -> bool:
    return all(values.get(tag, 0.0) > 0.0 for side in sides for values in side)


def _measured(tag: str, side: Sequence[Values]) -> Quantity:
    interval = round_interval([values[tag] for values in side])
    return Quantity(
        value=interval.value,
        unit=METRICS[tag].unit,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        confidence=interval.confidence,
        provenance=Provenance.MEASURED,
        method=interval.method,
    )


def _change(tag: str, base: Sequence[Values], head: Sequence[Values]) -> Quantity:
    ratio = paired_ratio([values[tag] for values in base], [values[tag] for values in head]).ratio()
    return Quantity(
        value=ratio.value,
        unit="1",
        low=ratio.low,
        high=ratio.high,
        n=ratio.n,
        confidence=ratio.confidence,
        provenance=Provenance.MEASURED,
        method=ratio.method,
    )


def _tail(
    tag: str, percentile: float, sides: tuple[Sequence[Values], ...], latencies_s: tuple[Latencies, Latencies]
) -> Shown:
    """Return a percentile over all queries of a side, where they are enough for it; a process alone has too few."""
    base, head = (
        pooled_percentile(percentile, pooled=np.concatenate(queries), by_round=[values[tag] for values in side])
        for side, queries in zip(sides, latencies_s, strict=True)
    )
    return Shown(metric=tag, base=base, head=head, change=_quotient(head, base))


def _quotient(head: Quantity, base: Quantity) -> Quantity:
    """Return the ratio of two figures that are not paired; its range is what both intervals allow."""
    if not head.value or not base.value or not (head.low and head.high and base.low and base.high):
        return Quantity.null("1", head.why_null or base.why_null or "one side has no interval")
    return Quantity(
        value=head.value / base.value,
        unit="1",
        low=head.low / base.high,
        high=head.high / base.low,
        provenance=Provenance.MEASURED,
        method="ratio of the two; the range is what both intervals allow",
    )


def _joules(side: Sequence[Values], energy: EnergyFacts) -> Quantity:
    """Return joules an inference: the processes' interval widened by the meter's own band."""
    interval = round_interval([values["energy_j"] for values in side])
    low = interval.value if interval.low is None else interval.low
    high = interval.value if interval.high is None else interval.high
    return Quantity(
        value=interval.value,
        unit="J",
        low=low * min(values["low_j"] / values["energy_j"] for values in side),
        high=high * max(values["high_j"] / values["energy_j"] for values in side),
        own_low=low,
        own_high=high,
        n=interval.n,
        provenance=Provenance(energy.provenance),
        method=f"{energy.method}; interval of the processes times the meter's band",
        boundary=Boundary(energy.boundary),
    )


def _cost(rates: Shown, price: Price) -> Shown:
    """Return the price of a million answers; the same hour is paid on both sides, so the change is the rates'."""
    base, head = (cost_per_million(price, side, utilisation=price.utilisation) for side in (rates.base, rates.head))
    ratio = rates.change
    inverted = {
        "value": 1.0 / ratio.value if ratio.value else None,
        "low": 1.0 / ratio.high if ratio.high else None,
        "high": 1.0 / ratio.low if ratio.low else None,
        "method": f"{ratio.method}, of the throughputs and inverted",
    }
    return Shown(metric=COST, base=base, head=head, change=ratio.model_copy(update=inverted))
