"""The search for a server rate, played through without a server."""

from __future__ import annotations

import pytest

from leptonbench.harness.rate import Trial, decide, final_rounds


def _search(predicted: float, sustainable: float, rounds: int = 3) -> tuple[list[Trial], bool]:
    """Play a whole search against a server that sustains a rate; return the trials and whether one was verified."""
    trials: list[Trial] = []
    for _ in range(100):
        decision = decide(trials, rounds)
        if decision.done:
            return trials, decision.verified
        rate = decision.rate_per_s if decision.rate_per_s is not None else predicted
        trials.append(Trial(rate, rate <= sustainable))
    pytest.fail("the search does not end")


def test_the_first_rate_is_left_to_prediction() -> None:
    assert decide([], 3) == (None, False, False)


def test_a_rate_that_holds_is_verified_by_so_many_runs_as_there_are_rounds() -> None:
    trials, verified = _search(100.0, sustainable=120.0)
    assert verified
    assert trials == [Trial(100.0, True)] * 3


def test_a_failed_run_lowers_the_rate_and_starts_the_count_again() -> None:
    seen = [Trial(100.0, True), Trial(100.0, True), Trial(100.0, False)]
    decision = decide(seen, 3)
    assert decision.rate_per_s == pytest.approx(85.0)
    assert not decision.done
    lower = [*seen, Trial(85.0, True)]
    assert not decide(lower, 3).done, "the two runs that met the target at 100/s do not count at 85/s"
    assert decide([*lower, Trial(85.0, True), Trial(85.0, True)], 3).verified


def test_a_prediction_that_is_too_high_comes_down_to_what_is_sustained() -> None:
    trials, verified = _search(100.0, sustainable=60.0)
    assert verified
    assert [trial.met for trial in trials] == [False] * 4 + [True] * 3
    assert 60.0 * 0.85 < trials[-1].rate_per_s <= 60.0


def test_a_hopeless_search_ends_unverified() -> None:
    trials, verified = _search(100.0, sustainable=1.0)
    assert not verified
    assert len(trials) == 7


@pytest.mark.parametrize("rounds", [3, 5])
def test_a_search_that_never_settles_ends(rounds: int) -> None:
    """Alternating luck: it ends after four runs more than there are rounds, and claims nothing."""
    trials: list[Trial] = []
    while not decide(trials, rounds).done:
        trials.append(Trial(decide(trials, rounds).rate_per_s or 100.0, len(trials) % 2 == 0))
    assert len(trials) == rounds + 4
    assert not decide(trials, rounds).verified


def test_a_record_is_made_from_the_runs_at_the_last_rate() -> None:
    assert final_rounds([]) == []
    assert final_rounds([Trial(100, True), Trial(100, False), Trial(85, True), Trial(85, True)]) == [2, 3]
