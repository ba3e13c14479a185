"""Find a rate that a server cell sustains: predicted, verified by real Poisson runs, then probed one step above. Pure.

A rate is verified when `rounds` runs met the target at it and none failed. One that fails is left for the next rate
down; one that is verified is tried a step higher, which either raises it or bounds it from above.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from leptonbench.stats.early_stopping import minimum_queries
from leptonbench.stats.rates import STEP
from leptonbench.stats.special import binomial_cdf

_CLIMBS = 1  # steps up at most: the prediction is rarely further off, and each costs up to `rounds` runs
_EXTRA_TRIALS = 8  # beyond the rounds that a verified rate needs: a noisy neighbour fails a few runs
_LIKELY = 0.95  # chance that a run at the predicted rate meets the target, were the prediction right
_SAME = 1e-9  # relative: rates that went through JSON and back


class Trial(NamedTuple):
    """One Poisson run at a rate in queries a second, and whether it met the target."""

    rate_per_s: float
    met: bool


class Decision(NamedTuple):
    """What to do next.

    Attributes:
        rate_per_s: Rate of the next run; `None` lets the worker predict it (first run only).
        done: Whether the search has ended.
        verified: Whether it ended with enough runs that all met the target.
    """

    rate_per_s: float | None
    done: bool
    verified: bool


def search_percentile(queries: int, percentile: float) -> float:
    """Return the percentile to predict a rate by, so that a run of so many queries is likely to certify the target.

    A short run certifies `percentile` only if fewer queries are late than the percentile itself allows: of 64 queries
    one may be, where a tenth would be six. The rate is predicted for what a run can prove.

    Args:
        queries: The fewest a run has.
        percentile: That the target is stated for.
    """
    late = 0
    while minimum_queries(percentile, late + 1) <= queries:
        late += 1
    low, high = percentile, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if binomial_cdf(late, queries, 1 - middle) < _LIKELY:
            low = middle
        else:
            high = middle
    return high


def decide(trials: Sequence[Trial], rounds: int) -> Decision:
    """Say at what rate to run next.

    Args:
        trials: So far, in order.
        rounds: How many runs verify a rate.
    """
    if not trials:
        return Decision(None, done=False, verified=False)
    exhausted = len(trials) >= rounds + _EXTRA_TRIALS
    found = verified(trials, rounds)
    best = sustained(trials)
    if exhausted or (best is not None and best == found and not _may_climb(trials, best)):
        return Decision(found or best, done=True, verified=found is not None)
    if best is None:
        return Decision(min(trial.rate_per_s for trial in trials) / STEP, done=False, verified=False)
    return Decision(best * STEP if best == found else best, done=False, verified=False)


def verified(trials: Sequence[Trial], rounds: int) -> float | None:
    """Return the highest rate that `rounds` runs met and none failed, below every failure; `None` if there is none."""
    return max((rate for rate in _unfailed(trials) if len(_at(trials, rate)) >= rounds), default=None)


def sustained(trials: Sequence[Trial]) -> float | None:
    """Return the highest rate below every failure at which no run failed; `None` if there is none."""
    return max(_unfailed(trials), default=None)


def _unfailed(trials: Sequence[Trial]) -> list[float]:
    """Return the rate of every run below the lowest failure: all of them met the target."""
    limit = ceiling(trials)
    return [trial.rate_per_s for trial in trials if limit is None or trial.rate_per_s < limit * (1 - _SAME)]


def ceiling(trials: Sequence[Trial]) -> float | None:
    """Return the lowest rate at which a run failed; `None` if none did."""
    return min((trial.rate_per_s for trial in trials if not trial.met), default=None)


def _may_climb(trials: Sequence[Trial], best: float) -> bool:
    """Return whether the next rate up is untried and within the climbs allowed."""
    limit = ceiling(trials)
    if limit is not None and best * STEP >= limit * (1 - _SAME):
        return False
    return best < trials[0].rate_per_s * STEP**_CLIMBS * (1 - _SAME)


def final_rounds(trials: Sequence[Trial], rounds: int) -> list[int]:
    """Return the positions of the runs that a record is made from: at the verified, else the best, else the last."""
    if not trials:
        return []
    return _at(trials, verified(trials, rounds) or sustained(trials) or trials[-1].rate_per_s)


def _at(trials: Sequence[Trial], rate: float) -> list[int]:
    return [i for i, trial in enumerate(trials) if abs(trial.rate_per_s - rate) <= _SAME * rate]
