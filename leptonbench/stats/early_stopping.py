"""MLPerf's early stopping for any engine: what a number of samples can say about a percentile.

A percentile estimated from few samples is a guess. The rule (MLPerf inference rules, appendix "Early Stopping";
LoadGen `early_stopping.cc`, tolerance 0) asks that, if the percentile were really above the stated bound, so few
late queries would be improbable: with t of n queries late, P(Binomial(n, 1 - percentile) <= t) < 1 - confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.stats.special import binomial_cdf, binomial_log_terms


class Certified(NamedTuple):
    """A percentile's certified upper bound, or the reason that there is none.

    Attributes:
        value: In the unit of the samples; `None` where `n` < `needed`.
        n: Samples seen.
        needed: Fewest samples that certify this percentile at all.
        over_latency: Samples at or above `value` that the rule affords at this `n`.
    """

    value: float | None
    n: int
    needed: int
    over_latency: int


def _check(percentile: float, confidence: float) -> None:
    if not 0 < percentile < 1:
        raise ValueError(f"a percentile is a fraction between 0 and 1, got {percentile}")
    if not 0.5 <= confidence < 1:
        raise ValueError(f"confidence is at least 0.5 and below 1, got {confidence}")


@lru_cache(maxsize=256)
def minimum_queries(percentile: float, over_latency: int = 1, confidence: float = 0.99) -> int:
    """Return the fewest queries that certify a percentile when `over_latency` of them are late.

    Args:
        percentile: As a fraction (0.99).
        over_latency: Late queries: 0 for a server test in which none was late, 1 for the stream floor.
        confidence: That the percentile is within the bound (MLPerf: 0.99).

    Raises:
        ValueError: If an argument is outside its range.
    """
    _check(percentile, confidence)
    if over_latency < 0:
        raise ValueError(f"a count of late queries is not negative, got {over_latency}")
    late_probability, risk = 1.0 - percentile, 1.0 - confidence
    low, high = over_latency, over_latency + 1
    while binomial_cdf(over_latency, high, late_probability) >= risk:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_cdf(over_latency, middle, late_probability) < risk:
            high = middle
        else:
            low = middle
    return high


@lru_cache(maxsize=256)
def _affordable(n: int, percentile: float, confidence: float) -> int:
    """Return the largest count of late queries that `n` queries afford, -1 if not even none."""
    late_probability = 1.0 - percentile
    # With confidence >= 0.5 the count stays below the binomial's median, so no later term matters.
    terms = binomial_log_terms(n, min(n - 1, int(n * late_probability) + 1), late_probability)
    return int(np.searchsorted(np.cumsum(np.exp(terms)), 1.0 - confidence, side="left")) - 1


def certified_percentile(
    latencies: Sequence[float] | NDArray[np.floating[Any]], percentile: float, *, confidence: float = 0.99
) -> Certified:
    """Return the smallest sample that certifies a percentile, as MLPerf's stream scenarios do.

    With t late queries affordable among n, it is the t-th largest sample: that sample counts as late itself, so at the
    floor (t = 1; 662 queries for the 99th percentile) it is the maximum. This follows LoadGen and is conservative by
    one order statistic. The samples are assumed independent; queueing breaks that, so pool several rounds.

    Raises:
        ValueError: If an argument is outside its range or a sample is not finite.
    """
    _check(percentile, confidence)
    samples = np.asarray(latencies, dtype=np.float64).ravel()
    needed = minimum_queries(percentile, 1, confidence)
    n = int(samples.size)
    if n and not np.isfinite(samples).all():
        raise ValueError("a latency is not finite; a query that failed fails its cell")
    if n < needed:
        return Certified(None, n, needed, 0)
    late = _affordable(n, percentile, confidence)
    return Certified(float(np.partition(samples, n - late)[n - late]), n, needed, late)
