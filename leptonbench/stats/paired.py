"""Two sides measured in pairs: the median log ratio, its bootstrap over pairs, and Holm over several of them.

The pair is the unit: one value a process, both processes of a pair run next to each other, so that what drifts on the
machine is common to them and cancels in their ratio. The median bears the odd pair that something else disturbed; with
20 pairs the percentile bootstrap of the median keeps its word where that of the mean does not.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.stats.interval import Interval

RESAMPLES = 10_000
_MAD_TO_SD = 1.4826  # for normal noise


class PairedRatio(NamedTuple):
    """How one side compares with the other over all pairs; natural logarithms of ratios.

    Attributes:
        value: Median of ln(other / base): above 0 the other side is larger.
        low: One-sided lower bound at `confidence`.
        high: One-sided upper bound at `confidence`.
        n: Pairs.
        confidence: Of each bound by itself.
        p_larger: Bootstrap p-value that the other side is not larger.
        p_smaller: Likewise, that it is not smaller.
        spread: Robust standard deviation of one pair's log ratio.
        error: Standard deviation of the bootstrap medians.
    """

    value: float
    low: float
    high: float
    n: int
    confidence: float
    p_larger: float
    p_smaller: float
    spread: float
    error: float

    def ratio(self) -> Interval:
        """Return the ratio itself, off the log scale; both bounds together cover less than one of them."""
        both = 2.0 * self.confidence - 1.0
        method = f"median of {self.n} paired ratios, percentile bootstrap over pairs"
        return Interval(math.exp(self.value), math.exp(self.low), math.exp(self.high), self.n, both, method)


def log_ratios(base: Sequence[float], other: Sequence[float]) -> NDArray[np.float64]:
    """Return ln(other / base) of each pair.

    Raises:
        ValueError: If the sides differ in length, there is no pair, or a value is not finite and positive.
    """
    left, right = np.asarray(base, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1 or left.size == 0:
        raise ValueError(f"pairs want as many values on both sides, got {left.shape} and {right.shape}")
    if not (np.isfinite(left).all() and np.isfinite(right).all() and left.min() > 0 and right.min() > 0):
        raise ValueError("a ratio is taken of finite, positive values only")
    return np.log(right / left)


def robust_sd(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the standard deviation that the median absolute deviation implies: few odd values do not count."""
    numbers = np.asarray(values, dtype=np.float64)
    return _MAD_TO_SD * float(np.median(np.abs(numbers - np.median(numbers))))


@functools.lru_cache(maxsize=16)
def _middles(n: int, resamples: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the ranks of the two middle values of each resample of `n`: they do not depend on the values."""
    drawn = np.sort(np.random.default_rng((seed, n)).integers(0, n, size=(resamples, n)), axis=1)
    low, high = drawn[:, (n - 1) // 2].copy(), drawn[:, n // 2].copy()
    for ranks in (low, high):
        ranks.setflags(write=False)
    return low, high


def paired_ratio(
    base: Sequence[float],
    other: Sequence[float],
    *,
    confidence: float = 0.99,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedRatio:
    """Compare two sides measured in pairs, by the percentile bootstrap of the median log ratio over pairs.

    Args:
        base: One value a process, positive.
        other: The other side's, in the order of the pairs.
        confidence: Of each one-sided bound.
        resamples: Of the pairs.
        seed: The same pairs give the same bounds.

    Raises:
        ValueError: If the sides differ in length, there is no pair, a value is not finite and positive, or the
            confidence is not between 0.5 and 1.
    """
    if not 0.5 < confidence < 1:
        raise ValueError(f"the confidence of a bound is between 0.5 and 1, got {confidence}")
    ratios = np.sort(log_ratios(base, other))
    low_ranks, high_ranks = _middles(ratios.size, resamples, seed)
    medians = (ratios[low_ranks] + ratios[high_ranks]) / 2.0
    low, high = np.quantile(medians, (1.0 - confidence, confidence))
    value = float(median(ratios.tolist()))
    return PairedRatio(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=int(ratios.size),
        confidence=confidence,
        # One is added: the observed sample is a resample too, and no p-value is 0.
        p_larger=(1 + int((medians <= 0).sum())) / (resamples + 1),
        p_smaller=(1 + int((medians >= 0).sum())) / (resamples + 1),
        spread=robust_sd(ratios),
        error=float(medians.std()),
    )


def holm(p_values: Mapping[str, float], *, alpha: float) -> frozenset[str]:
    """Return the names whose p-value stands after Holm's correction: the chance of any false one is at most `alpha`.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    kept: list[str] = []
    for index, name in enumerate(sorted(p_values, key=lambda name: (p_values[name], name))):
        if p_values[name] > alpha / (len(p_values) - index):
            break
        kept.append(name)
    return frozenset(kept)
