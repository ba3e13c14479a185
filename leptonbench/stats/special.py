"""The few special functions that the intervals need, so that they need no scientific library."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_TINY = 1e-300
_NORMAL_ENOUGH_DOF = 1e8


def binomial_log_terms(n: int, k_max: int, probability: float) -> NDArray[np.float64]:
    """Return ln P(X = k) for k = 0..`k_max`, X binomial(`n`, `probability`), by the ratio of neighbouring terms."""
    k = np.arange(k_max, dtype=np.float64)
    steps = np.log((n - k) / (k + 1.0)) + (math.log(probability) - math.log1p(-probability))
    return np.concatenate(([0.0], np.cumsum(steps))) + n * math.log1p(-probability)


def binomial_cdf(k: int, n: int, probability: float) -> float:
    """Return P(X <= `k`) for X binomial(`n`, `probability`), 0 < `probability` < 1."""
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    return min(1.0, float(np.exp(binomial_log_terms(n, k, probability)).sum()))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function (DLMF 8.17.22) by Lentz's method."""
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    total = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + term / c
            c = c if abs(c) > _TINY else _TINY
            total *= c * d
        if abs(c * d - 1.0) < 1e-15:
            return total
    raise ArithmeticError(f"incomplete beta did not converge for a={a}, b={b}, x={x}")


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), `a`, `b` > 0.

    Raises:
        ValueError: If a parameter is outside its range.
    """
    if not (a > 0 and b > 0 and 0 <= x <= 1):
        raise ValueError(f"incomplete beta wants a, b > 0 and 0 <= x <= 1, got a={a}, b={b}, x={x}")
    if x in (0.0, 1.0):
        return x
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1.0) / (a + b + 2.0):
        return math.exp(log_front) * _beta_fraction(a, b, x) / a
    return 1.0 - math.exp(log_front) * _beta_fraction(b, a, 1.0 - x) / b


def t_upper_tail(t: float, dof: float) -> float:
    """Return P(T > `t`) for `t` >= 0 and Student's T with `dof` (not necessarily whole) degrees of freedom."""
    return 0.5 * incomplete_beta(dof / 2.0, 0.5, dof / (dof + t * t))


@lru_cache(maxsize=256)
def t_critical(confidence: float, dof: float) -> float:
    """Return the two-sided Student-t quantile: P(|T| <= t) = `confidence`.

    Args:
        confidence: Between 0 and 1, exclusive.
        dof: Degrees of freedom, > 0; fractional for Welch's interval.

    Raises:
        ValueError: If a parameter is outside its range.
    """
    if not (0 < confidence < 1 and dof > 0):
        raise ValueError(f"t quantile wants 0 < confidence < 1 and dof > 0, got {confidence} and {dof}")
    dof = min(dof, _NORMAL_ENOUGH_DOF)
    tail = (1.0 - confidence) / 2.0
    low, high = 0.0, 1.0
    while t_upper_tail(high, dof) > tail:
        low, high = high, high * 2.0
        if math.isinf(high):
            raise ArithmeticError(f"t quantile overflows at confidence {confidence} and dof {dof}")
    while True:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            return middle
        if t_upper_tail(middle, dof) > tail:
            low = middle
        else:
            high = middle
