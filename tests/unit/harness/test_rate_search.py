"""The search for a server rate, played through without a server."""

from __future__ import annotations

import numpy as np
import pytest

from leptonbench.harness.rate import Trial, ceiling, decide, final_rounds, search_percentile, sustained, verified
from leptonbench.stats.special import binomial_cdf


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


def test_a_prediction_that_holds_is_verified_and_then_bounded_by_the_next_rate() -> None:
    trials, found = _search(100.0, sustainable=110.0)
    assert found
    assert [trial.rate_per_s for trial in trials] == pytest.approx([100.0, 100.0, 100.0, 115.0])
    assert verified(trials, 3) == 100.0
    assert ceiling(trials) == pytest.approx(115.0)
    assert final_rounds(trials, 3) == [0, 1, 2]


def test_a_prediction_that_is_too_low_is_climbed_from_once() -> None:
    trials, found = _search(100.0, sustainable=1000.0)
    assert found
    assert verified(trials, 3) == pytest.approx(115.0)
    assert ceiling(trials) is None
    assert len(trials) == 6


def test_a_climb_that_fails_late_falls_back_to_what_was_verified() -> None:
    seen = [Trial(100.0, True)] * 3 + [Trial(115.0, True), Trial(115.0, False)]
    assert decide(seen, 3) == (100.0, True, True)
    assert final_rounds(seen, 3) == [0, 1, 2]


def test_a_prediction_that_is_too_high_comes_down_to_what_is_sustained() -> None:
    trials, found = _search(100.0, sustainable=70.0)
    assert found
    assert 70.0 / 1.15 < (verified(trials, 3) or 0.0) <= 70.0


def test_one_failure_at_a_rate_outweighs_any_number_of_successes() -> None:
    seen = [Trial(100.0, True), Trial(100.0, True), Trial(100.0, False)]
    assert sustained(seen) is None
    decision = decide(seen, 3)
    assert decision.rate_per_s == pytest.approx(100.0 / 1.15)
    assert not decision.done


def test_a_hopeless_search_ends_unverified() -> None:
    trials, found = _search(100.0, sustainable=1.0)
    assert not found
    assert len(trials) == 11


@pytest.mark.parametrize("rounds", [3, 5])
@pytest.mark.parametrize("seed", range(20))
def test_a_search_with_any_luck_ends_and_claims_only_what_every_run_met(rounds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    trials: list[Trial] = []
    while not (decision := decide(trials, rounds)).done:
        trials.append(Trial(decision.rate_per_s or 100.0, bool(rng.random() < 0.6)))
        assert len(trials) <= rounds + 8
    kept = [trials[i] for i in final_rounds(trials, rounds)]
    assert decision.verified == (len(kept) >= rounds and all(trial.met for trial in kept))


def test_without_a_sustained_rate_the_record_shows_the_last_one() -> None:
    assert final_rounds([], 3) == []
    assert final_rounds([Trial(100.0, False), Trial(87.0, False)], 3) == [1]


@pytest.mark.parametrize(
    ("queries", "percentile", "late"), [(64, 0.9, 1), (44, 0.9, 0), (700, 0.99, 1), (2000, 0.9, 168)]
)
def test_the_rate_is_predicted_for_what_a_run_can_certify(queries: int, percentile: float, late: int) -> None:
    stricter = search_percentile(queries, percentile)
    assert percentile < stricter < 1
    assert binomial_cdf(late, queries, 1 - stricter) == pytest.approx(0.95, abs=0.01)
