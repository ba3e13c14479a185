"""Units by a rate alone, where nothing is known of latency: the fewest that keep up, and no promise of a target."""

from __future__ import annotations

import math

from leptonbench.cost.capacity.model import Arrivals, Sizing
from leptonbench.schema import Quantity


def size_by_rate(rate: Quantity, arrivals: Arrivals) -> Sizing:
    """Return how many units keep up with the busiest hour, by division.

    Queues are not in it: no latency is stated, and `required` is the fewest that any target can do with.

    Args:
        rate: Queries a second that one unit sustains, with its interval.
        arrivals: Of the week.

    Raises:
        ValueError: If the rate has no positive value or no provenance.
    """
    if rate.value is None or rate.value <= 0 or rate.provenance is None:
        raise ValueError("there is no rate to size by")
    value = rate.value
    low = value if rate.low is None else rate.low
    high = value if rate.high is None else rate.high

    def units(rate_per_s: float, each_per_s: float) -> int:
        return math.ceil(rate_per_s / each_per_s) if rate_per_s else 0

    required = units(arrivals.peak_per_s, value)
    return Sizing(
        units=required,
        low=units(arrivals.peak_per_s, high),
        high=units(arrivals.peak_per_s, low) if low > 0 else None,
        required=required,
        closed_form=required,
        candidates=(),
        latency_s=None,
        latency_all_up_s=None,
        utilisation_peak=arrivals.peak_per_s / (required * value),
        utilisation_mean=arrivals.mean_per_s / (required * value),
        load_peak=arrivals.peak_per_s / (required * value),
        units_by_hour=tuple(units(hour, value) for hour in arrivals.rates_per_s),
        provenance=rate.provenance,
        method=f"busiest rate over {value:.4g} a second of one unit: the fewest that keep up",
    )
