"""Draw service times anew: what another set of rounds on other days might have measured."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from leptonbench.cost.capacity.model import Floats, ServiceModel

_MOST_TIMES = 1000  # a size in a drawn sample: its scatter is then far below that between rounds
_NORMAL_95 = 1.959964


class Sample(NamedTuple):
    """Service times in seconds by batch size, drawn from measured ones."""

    pools_s: dict[int, Floats]


def round_effects(service: ServiceModel) -> Floats:
    """Return how much slower each round was than the others: the mean over sizes of the log of its mean time.

    Returns:
        One figure a round around 0, shape `[rounds]`.
    """
    logs = np.array([[math.log(one[size].mean()) for size in service.sizes] for one in service.rounds])
    return np.asarray((logs - logs.mean(axis=0)).mean(axis=1))


def resample(service: ServiceModel, rng: np.random.Generator, draws: int) -> list[Sample]:
    """Draw service times so many times.

    Each draw has three parts. Times of a size are drawn from those of all rounds, with replacement. All are then
    scaled by how far off the mean of so few rounds may be, Student-t with the rounds' own scatter: drawing anew from
    three rounds would hardly ever be as wrong as three rounds are. Last comes the stated band, log-normal, each side
    with its own width.

    Args:
        service: Measured or stated times.
        rng: Source of the draws.
        draws: How many.
    """
    pooled = service.pooled()
    effects = round_effects(service)
    rounds = len(effects)
    factors = np.ones(draws)
    if rounds > 1:
        spread = float(effects.std(ddof=1)) / math.sqrt(rounds)
        factors = np.exp(spread * rng.standard_t(rounds - 1, size=draws))
    band = rng.standard_normal(draws) / _NORMAL_95
    low, high = math.log(service.scale_low), math.log(service.scale_high)
    factors = factors * np.exp(np.where(band < 0, -band * low, band * high))
    return [Sample({size: _drawn(times, rng) * factor for size, times in pooled.items()}) for factor in factors]


def _drawn(times_s: Floats, rng: np.random.Generator) -> Floats:
    """Return times drawn with replacement, sorted; of very many, an even choice of the sorted draw."""
    if len(times_s) == 1:
        return times_s
    drawn = np.sort(times_s[rng.integers(len(times_s), size=len(times_s))])
    return drawn if len(drawn) <= _MOST_TIMES else thinned(drawn)


def thinned(ordered_s: Floats) -> Floats:
    """Return at most a thousand of sorted times, at even ranks: the same distribution, quicker to work with."""
    if len(ordered_s) <= _MOST_TIMES:
        return ordered_s
    ranks = (np.arange(_MOST_TIMES) + 0.5) / _MOST_TIMES * len(ordered_s)
    return ordered_s[ranks.astype(np.int64)]
