"""One value a round in, a central value with its interval out.

Samples inside a process are not independent, so a round (one fresh process) is one observation. Assumed: rounds are
independent draws of a common distribution, and its logarithm is near enough to normal for Student's t: noise on times
and rates is multiplicative, and on the log scale an interval of a time and of its reciprocal rate say the same. With
three rounds this cannot be checked, and the t quantile (4.30) is the price.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

from leptonbench.stats.interval import Interval
from leptonbench.stats.special import t_critical

__all__ = ["Interval", "ratio_interval", "round_interval"]


def _checked(values: Sequence[float]) -> list[float]:
    numbers = [float(value) for value in values]
    if not numbers:
        raise ValueError("no round has a value, so there is nothing to summarise")
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("a round's value is not finite; a failed round is left out, not averaged in")
    return numbers


def _spread(values: Sequence[float]) -> float:
    """Return the sample variance; 0.0 exactly when all values are equal, whatever rounding says."""
    if min(values) == max(values):
        return 0.0
    centre = fmean(values)
    return math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1)


def _student(values: Sequence[float], confidence: float) -> tuple[float, float]:
    n, centre = len(values), fmean(values)
    half = t_critical(confidence, n - 1) * math.sqrt(_spread(values) / n)
    return centre - half, centre + half


def _from_logs(low: float, high: float) -> tuple[float, float] | None:
    """Return the interval off the log scale, `None` where its end is no number any more."""
    try:
        return math.exp(low), math.exp(high)
    except OverflowError:
        return None


def round_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Return the median of the rounds with a Student-t interval on the log scale.

    A zero or negative value (an energy difference, a quality change) puts the interval on the linear scale, and the
    method says so. One round has no interval. The interval is widened to hold the median where skew would leave it
    outside; equal values give an interval of no width, which says that the figure repeats, not that it is exact. Rounds
    so far apart that the upper end overflows have no interval.

    Raises:
        ValueError: If there is no value or one is not finite.
    """
    numbers = _checked(values)
    n, centre = len(numbers), median(numbers)
    if n == 1:
        return Interval(centre, None, None, 1, None, "one round, no interval")
    if min(numbers) > 0:
        ends = _from_logs(*_student([math.log(number) for number in numbers], confidence))
        scale = "log"
    else:
        ends, scale = _student(numbers, confidence), "linear"
    if ends is None:
        return Interval(centre, None, None, n, None, f"{n} rounds too far apart for an interval")
    method = f"median of {n} rounds, Student t on {scale} values"
    return Interval(centre, min(ends[0], centre), max(ends[1], centre), n, confidence, method)


def _welch(a: Sequence[float], b: Sequence[float], confidence: float) -> tuple[float, float]:
    difference = fmean(a) - fmean(b)
    parts = [_spread(side) / len(side) for side in (a, b)]
    variance = sum(parts)
    if variance == 0:
        return difference, difference
    # Welch-Satterthwaite, in shares of the variance so that squaring a small one cannot underflow.
    dof = 1.0 / sum((part / variance) ** 2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    half = t_critical(confidence, dof) * math.sqrt(variance)
    return difference - half, difference + half


def ratio_interval(
    a: Sequence[float], b: Sequence[float], *, paired: bool = True, confidence: float = 0.95
) -> Interval:
    """Return the ratio `a` / `b` with its interval: a speedup where `a` is the baseline's time.

    Args:
        a: One value a round, > 0.
        b: As `a`, for the other side.
        paired: Whether `a[i]` and `b[i]` come from the same round. With equal lengths the interval is then that of the
            paired log ratios, from which drift common to a round cancels, and the centre is the median ratio. Otherwise
            it is Welch's on the log values, and the centre the ratio of medians.
        confidence: Coverage.

    Raises:
        ValueError: If a side is empty, or a value is not finite or not positive (its ratio means nothing).
    """
    left, right = _checked(a), _checked(b)
    if min(*left, *right) <= 0:
        raise ValueError("a ratio is taken of positive values only")
    if paired and len(left) == len(right):
        ratios = [one / other for one, other in zip(left, right, strict=True)]
        interval = round_interval(ratios, confidence=confidence)
        if interval.low is None:
            return interval
        return interval._replace(method=f"median of {len(ratios)} paired ratios, Student t on their logs")
    centre, n = median(left) / median(right), min(len(left), len(right))
    if n == 1:
        return Interval(centre, None, None, 1, None, "one round on a side, no interval")
    logs = [[math.log(value) for value in side] for side in (left, right)]
    ends = _from_logs(*_welch(logs[0], logs[1], confidence))
    if ends is None:
        return Interval(centre, None, None, n, None, f"{n} rounds too far apart for an interval")
    method = f"ratio of medians, Welch t on logs of {len(left)} and {len(right)} rounds"
    return Interval(centre, min(ends[0], centre), max(ends[1], centre), n, confidence, method)
