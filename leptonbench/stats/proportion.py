"""Intervals for accuracies: one proportion, and the difference of two on the same samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.stats.interval import Interval
from leptonbench.stats.special import binomial_cdf

BoolArray = Sequence[bool] | NDArray[np.bool_] | NDArray[np.integer[Any]]


def _score_limits(successes: int, n: int, confidence: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    p, z2n = successes / n, z * z / n
    centre = (p + z2n / 2.0) / (1.0 + z2n)
    half = z * math.sqrt(p * (1.0 - p) / n + z2n / (4.0 * n)) / (1.0 + z2n)
    # At 0 and n the limit is the end itself; rounding would leave it 1e-17 beside.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Return a proportion with Wilson's score interval, sound for small `n` and near 0 and 1.

    Raises:
        ValueError: Unless 0 <= `successes` <= `n`, `n` >= 1 and 0 < `confidence` < 1.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"a proportion wants 0 <= successes <= n and n >= 1, got {successes} of {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is between 0 and 1, got {confidence}")
    low, high = _score_limits(successes, n, confidence)
    return Interval(successes / n, low, high, n, confidence, f"Wilson score interval, {n} samples")


def _phi(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Return the correlation of the two outcomes, with Newcombe's continuity correction; 0 where it is undefined."""
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0
    n, excess = both + only_a + only_b + neither, both * neither - only_a * only_b
    corrected = max(excess - n / 2.0, 0.0) if excess > 0 else float(excess)
    return corrected / math.sqrt(margins)


def paired_difference(correct_a: BoolArray, correct_b: BoolArray, *, confidence: float = 0.95) -> Interval:
    """Return accuracy(a) - accuracy(b) on the same samples, with Newcombe's paired score interval.

    The interval is method 10 of Newcombe, "Improved confidence intervals for the difference between binomial
    proportions based on paired data", Statistics in Medicine 17 (1998) 2635-2650: Wilson limits of each accuracy,
    combined with their correlation. Chosen over Wald with Agresti and Min's +0.5 (Statistics in Medicine 24 (2005)
    729-740) because it never leaves [-1, 1], keeps a width when no sample is discordant (Wald claims certainty there,
    the usual case for a good quantisation), and is one of the two that Fagerland, Lydersen and Laake recommend
    (Statistics in Medicine 33 (2014) 2850-2875).

    Args:
        correct_a: Whether each sample was right under `a`.
        correct_b: The same samples, in the same order, under `b`.
        confidence: Coverage.

    Raises:
        ValueError: If the lengths differ or there is no sample.
    """
    a, b = np.asarray(correct_a, dtype=bool).ravel(), np.asarray(correct_b, dtype=bool).ravel()
    if a.size != b.size or a.size == 0:
        raise ValueError(f"a paired difference wants the same samples on both sides, got {a.size} and {b.size}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is between 0 and 1, got {confidence}")
    n = int(a.size)
    both, only_a, only_b = int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum())
    phi = _phi(both, only_a, only_b, n - both - only_a - only_b)
    p_a, p_b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = _score_limits(both + only_a, n, confidence)
    low_b, high_b = _score_limits(both + only_b, n, confidence)
    difference = (only_a - only_b) / n

    def reach(da: float, db: float) -> float:
        return math.sqrt(max(0.0, da * da - 2.0 * phi * da * db + db * db))

    low = max(-1.0, difference - reach(p_a - low_a, high_b - p_b))
    high = min(1.0, difference + reach(high_a - p_a, p_b - low_b))
    return Interval(difference, low, high, n, confidence, f"Newcombe paired score interval, {n} samples")


def mcnemar_exact(b: int, c: int) -> float:
    """Return the two-sided exact p-value that `b` and `c` discordant samples are equally likely.

    Args:
        b: Samples right under the first alone.
        c: Samples right under the second alone.

    Raises:
        ValueError: If a count is negative.
    """
    if b < 0 or c < 0:
        raise ValueError(f"counts of discordant samples are not negative, got {b} and {c}")
    return min(1.0, 2.0 * binomial_cdf(min(b, c), b + c, 0.5))
