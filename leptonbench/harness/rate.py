"""Find the highest rate that a server cell sustains: predicted, then bracketed and verified by real Poisson runs. Pure.

The search climbs from the predicted rate while runs meet the target and falls while they do not, by one step. A rate
counts only if every run at it met the target, and `rounds` did. What it finds is a rate that is sustained; the next
rate that was not bounds it from above.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

STEP = 1.15  # between neighbouring rates: finer steps cost runs, and one run's verdict is not finer either
_CLIMBS = 2  # steps up at most: the prediction is rarely further off
_EXTRA_TRIALS = 5  # beyond the rounds that a verified rate needs
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


def decide(trials: Sequence[Trial], rounds: int) -> Decision:
    """Say at what rate to run next.

    Args:
        trials: So far, in order.
        rounds: How many runs verify a rate.
    """
    if not trials:
        return Decision(None, done=False, verified=False)
    best = sustained(trials)
    exhausted = len(trials) >= rounds + _EXTRA_TRIALS
    if best is None:
        lowest = min(trial.rate_per_s for trial in trials)
        return Decision(lowest / STEP, done=exhausted, verified=False)
    if not exhausted and _may_climb(trials, best):
        return Decision(best * STEP, done=False, verified=False)
    verified = len(final_rounds(trials)) >= rounds
    return Decision(best, done=verified or exhausted, verified=verified)


def sustained(trials: Sequence[Trial]) -> float | None:
    """Return the highest rate below every failure at which no run failed; `None` if there is none."""
    limit = ceiling(trials)
    met = [trial.rate_per_s for trial in trials if limit is None or trial.rate_per_s < limit * (1 - _SAME)]
    return max(met, default=None)


def ceiling(trials: Sequence[Trial]) -> float | None:
    """Return the lowest rate at which a run failed; `None` if none did."""
    return min((trial.rate_per_s for trial in trials if not trial.met), default=None)


def _may_climb(trials: Sequence[Trial], best: float) -> bool:
    """Return whether the next rate up is untried and within the climbs allowed."""
    limit = ceiling(trials)
    if limit is not None and best * STEP >= limit * (1 - _SAME):
        return False
    return best < trials[0].rate_per_s * STEP**_CLIMBS * (1 - _SAME)


def final_rounds(trials: Sequence[Trial]) -> list[int]:
    """Return the positions of the runs that a record is made from: those at the sustained rate, else at the last."""
    if not trials:
        return []
    rate = sustained(trials) or trials[-1].rate_per_s
    return [i for i, trial in enumerate(trials) if abs(trial.rate_per_s - rate) <= _SAME * rate]
