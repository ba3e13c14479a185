"""Verdicts: each from the figures that ask for it, and error rates at known noise."""

from __future__ import annotations

import math
from statistics import median

import pytest

from leptonbench.gate.decide import (
    confirmed,
    control_moved,
    duet,
    flagged,
    judge_duet,
    noise,
    smallest_seen,
    suspects,
    wants_more,
)
from leptonbench.gate.model import Rules, Verdict, worst
from tests.gate_factory import measured

RULES = Rules()


def test_no_change_passes_and_says_how_sure() -> None:
    found = judge_duet(measured(1), RULES)
    assert found.verdict is Verdict.PASS
    assert found.change is not None and found.change.high is not None and found.change.high < 1.05
    assert found.noise is not None and 0.003 < found.noise < 0.03
    assert found.seen is not None and 0.03 < found.seen < 0.04
    assert found.base is not None and found.base.n == 20 and found.base.unit == "s"


def test_a_slowdown_is_a_suspicion_until_a_second_pass_confirms_it() -> None:
    first = measured(2, slower=0.1)
    assert suspects({"cell": first}, RULES) == ("cell",)
    assert judge_duet(first, RULES).verdict is Verdict.INCONCLUSIVE
    assert "not confirmed yet" in judge_duet(first, RULES).reason
    second = measured(3, slower=0.1)
    assert confirmed({"cell": second}, RULES) == {"cell"}
    found = judge_duet(first, RULES, second=second, stands=True)
    assert found.verdict is Verdict.REGRESSED
    assert "confirmed by a second pass" in found.reason


def test_the_second_pass_is_judged_on_itself_alone() -> None:
    first, second = measured(4, slower=0.1), measured(5)
    assert confirmed({"cell": second}, RULES) == frozenset()
    found = judge_duet(first, RULES, second=second, stands=False)
    assert found.verdict is Verdict.PASS
    assert "not confirmed" in found.reason
    assert found.base is not None and found.base.value == judge_duet(second, RULES).base.value  # type: ignore[union-attr]


def test_holm_makes_a_second_pass_over_many_cells_stricter() -> None:
    second = {f"cell{i}": measured(i, slower=0.1) for i in range(20)}
    assert confirmed(second, RULES) == set(second)  # p = 1e-4 each, below 0.01 / 20
    weak = {f"cell{i}": measured(i, slower=0.034, noise=0.05) for i in range(20)}
    alone = {key for key, one in weak.items() if confirmed({key: one}, RULES)}
    assert len(confirmed(weak, RULES)) < len(alone)


def test_a_faster_head_is_improved() -> None:
    assert judge_duet(measured(6, slower=-0.1), RULES).verdict is Verdict.IMPROVED


def test_a_control_that_moves_makes_the_run_invalid_whatever_the_head_does() -> None:
    for slower in (0.0, 0.2, -0.2):
        first = measured(7, slower=slower, control=0.08)
        assert control_moved(duet(first, RULES), RULES)
        assert judge_duet(first, RULES).verdict is Verdict.INVALID
        assert suspects({"cell": first}, RULES) == ()


def test_noise_is_the_controls_and_asks_for_more_pairs() -> None:
    quiet, noisy = measured(8, noise=0.01), measured(8, noise=0.15)
    assert not wants_more(quiet, RULES)
    assert wants_more(noisy, RULES)
    assert not wants_more(measured(8, n=30, noise=0.15), RULES)
    assert noise(duet(noisy, RULES)) > RULES.noise_most
    assert smallest_seen(duet(noisy, RULES), RULES) > smallest_seen(duet(quiet, RULES), RULES)


def test_what_this_machine_cannot_tell_is_inconclusive_and_says_what_it_could_have_seen() -> None:
    found = judge_duet(measured(9, noise=0.15), RULES)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "this run could have seen" in found.reason
    assert found.seen is not None and found.seen > RULES.promise


@pytest.mark.parametrize("noise_sd", [0.005, 0.03, 0.12])
def test_the_smallest_change_that_could_be_seen_is_flagged_nine_times_out_of_ten(noise_sd: float) -> None:
    """Simulated: slowdowns of just the size that unchanged sides at the same noise say they could have seen."""
    seeds = range(120)
    seen = median(smallest_seen(duet(measured(seed, noise=noise_sd), RULES), RULES) for seed in seeds)
    slower = [duet(measured(1000 + seed, slower=math.log1p(seen), noise=noise_sd), RULES) for seed in seeds]
    share = sum(flagged(one, RULES) for one in slower) / len(slower)
    assert 0.75 < share < 0.98


def test_a_fast_model_is_told_of_the_floor() -> None:
    fast = measured(10, slower=0.1, scale=1e-2)  # 20 us of 200 us
    found = judge_duet(fast, RULES)
    assert found.verdict is Verdict.INCONCLUSIVE and "below the floor of 50 us" in found.reason
    assert "floor_s" in found.hint and found.seen is not None and found.seen > 0.25


def test_on_a_noisy_machine_a_flag_wants_its_bound_beyond_delta() -> None:
    seed = next(
        seed
        for seed in range(100)
        if (found := duet(measured(seed, slower=0.07, noise=0.12), RULES)).head.low > 0
        and found.head.value > 0.04
        and found.head.low < 0.025
        and noise(found) > RULES.noise_most
    )
    found = duet(measured(seed, slower=0.07, noise=0.12), RULES)
    assert not flagged(found, RULES)
    assert flagged(found, Rules(noise_most=0.5))


def test_a_change_below_the_floor_of_seconds_is_not_worth_a_word() -> None:
    tiny = measured(10, slower=0.1, scale=1e-2)  # 20 us of 200 us
    assert not flagged(duet(tiny, RULES), RULES)
    assert flagged(duet(tiny, RULES), Rules(floor_s=0))


def test_a_gate_that_looked_at_nothing_has_no_verdict() -> None:
    with pytest.raises(ValueError, match="empty"):
        worst([])
    with pytest.raises(ValueError, match="outcome"):
        judge_duet(measured(1), RULES, second=measured(2))


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        ("pass", 0),
        ("improved", 0),
        ("incomparable", 3),
        ("inconclusive", 3),
        ("invalid", 3),
        ("changed", 1),
        ("regressed", 1),
    ],
)
def test_each_verdict_has_its_exit_code(verdict: str, code: int) -> None:
    assert Verdict(verdict).exit_code == code


def test_the_worst_of_several_verdicts_counts() -> None:
    assert worst([Verdict.PASS, Verdict.REGRESSED, Verdict.INVALID]) is Verdict.REGRESSED
    assert worst([Verdict.IMPROVED, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("noise_sd", [0.01, 0.03, 0.05])
def test_error_rates_at_known_noise(noise_sd: float) -> None:
    """Simulated: no red in 300 gates without a change, 10 % found nearly always; 30 pairs where the noise asks."""

    def gate(seed: int, slower: float) -> bool:
        def one(seed: int) -> object:
            first = measured(seed, slower=slower, noise=noise_sd)
            return measured(seed, n=30, slower=slower, noise=noise_sd) if wants_more(first, RULES) else first

        first, second = one(2 * seed), one(2 * seed + 1)
        return bool(suspects({"c": first}, RULES)) and "c" in confirmed({"c": second}, RULES)  # type: ignore[dict-item]

    assert sum(gate(seed, 0.0) for seed in range(300)) == 0
    assert sum(gate(seed, 0.0953) for seed in range(100)) >= 95


def test_rules_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="promise"):
        Rules(delta=0.1, promise=0.05)
    with pytest.raises(ValueError, match="pairs"):
        Rules(pairs=(30, 20))
