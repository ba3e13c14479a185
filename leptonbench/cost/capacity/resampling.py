"""Draw service times anew: what another set of rounds on other days might have measured."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from leptonbench.cost.capacity.model import Floats, ServiceModel

_MOST_TIMES = 1000  # a size in a drawn sample: a little more scatter than of more, far less than between rounds
_NORMAL_95 = 1.959964


class Samples(NamedTuple):
    """Service times drawn from measured ones: by batch size in seconds, shape `[draws, n]`."""

    pools_s: dict[int, Floats]

    def one(self, index: int) -> dict[int, Floats]:
        """Return the service times of one draw by batch size."""
        return {size: times[index] for size, times in self.pools_s.items()}


def round_effects(service: ServiceModel) -> Floats:
    """Return how much slower each round was than the others: the mean over sizes of the log of its mean time.

    Returns:
        One figure a round around 0, shape `[rounds]`.
    """
    logs = np.array([[math.log(one[size].mean()) for size in service.sizes] for one in service.rounds])
    return np.asarray((logs - logs.mean(axis=0)).mean(axis=1))


def resample(service: ServiceModel, rng: np.random.Generator, draws: int) -> Samples:
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
    return Samples({size: _drawn(times, rng, draws) * factors[:, None] for size, times in pooled.items()})


def _drawn(times_s: Floats, rng: np.random.Generator, draws: int) -> Floats:
    """Return times drawn with replacement, shape `[draws, n]`."""
    chosen = rng.integers(len(times_s), size=(draws, min(len(times_s), _MOST_TIMES)), dtype=np.int32)
    return np.asarray(times_s[chosen])
