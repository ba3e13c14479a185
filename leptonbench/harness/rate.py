"""Find the highest rate that a server cell sustains: predicted, verified by real Poisson runs, adjusted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

STEP_DOWN = 0.85  # after a failed run: about one standard deviation of what such predictions miss by
_EXTRA_TRIALS = 4  # beyond the rounds that a verified rate needs


class Trial(NamedTuple):
    """One Poisson run at a rate in queries a second, and whether it met the target."""

    rate_per_s: float
    met: bool


class Decision(NamedTuple):
    """What to do next.

    Attributes:
        rate_per_s: Rate of the next run; `None` lets the worker predict it (first run only).
        done: Whether the search has ended.
        verified: Whether it ended with every round at the last rate meeting the target.
    """

    rate_per_s: float | None
    done: bool
    verified: bool


def decide(trials: Sequence[Trial], rounds: int) -> Decision:
    """Say at what rate to run next.

    A rate counts as verified after `rounds` runs in a row met the target at it; one that did not lowers the rate and
    starts the count again.

    Args:
        trials: So far, in order.
        rounds: How many runs verify a rate.
    """
    if not trials:
        return Decision(None, done=False, verified=False)
    rate = trials[-1].rate_per_s
    if not trials[-1].met:
        exhausted = len(trials) >= rounds + _EXTRA_TRIALS
        return Decision(rate * STEP_DOWN, done=exhausted, verified=False)
    verified = len(final_rounds(trials)) >= rounds
    exhausted = len(trials) >= rounds + _EXTRA_TRIALS
    return Decision(rate, done=verified or exhausted, verified=verified)


def final_rounds(trials: Sequence[Trial]) -> list[int]:
    """Return the positions of the runs at the last rate: those a record is made from."""
    last = trials[-1].rate_per_s if trials else 0.0
    return [i for i, trial in enumerate(trials) if trial.rate_per_s == last]
