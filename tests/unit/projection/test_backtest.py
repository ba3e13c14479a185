from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from leptonbench.projection.anchors import Kin, Own, Support, Table
from leptonbench.projection.backtest import (
    PROTOCOLS,
    leave_out,
    measured_elsewhere,
    pairs,
    ratio_trials,
    under_folds,
)
from leptonbench.projection.claims import (
    Claim,
    Fold,
    Trial,
    claim_for,
    claims,
    coverage,
    summarise,
    widening_for,
)
from leptonbench.projection.fit import START
from leptonbench.projection.model import Traits
from leptonbench.projection.results import Column, Observation, Submission, typical
from leptonbench.projection.unseen import earlier_rounds, other_submitters
from leptonbench.schema import Scenario

FROZEN = Path(__file__).with_name("frozen_results.csv")
#: Of the frozen table under `START`; a change of the method that moves them up has to say why.
MODEL_ON_A_DEVICE, CHIP, ONE_ANCHOR = 0.0739, 0.1757, 0.1946
SLACK = 0.002  # of another BLAS and of rounding


def _column(name: str) -> Column:
    return Column(name, Scenario.OFFLINE)


@pytest.fixture(scope="module")
def frozen() -> Table:
    """Offline rates of fourteen cards in the benchmarks that most of them published, as of 2026-11."""
    traits: dict[str, Traits] = {}
    observations = []
    with FROZEN.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            column, rate = _column(row["benchmark"]), float(row["rate_per_s"])
            one = Submission(row["device"], column, rate, row["precision"], "", "", "")
            observations.append(Observation(row["device"], column, math.log(rate), (one,)))
            peak = {"int8": math.log(float(row["int8_ops_per_s"]))}
            bandwidth = math.log(float(row["bytes_per_s"]))
            traits[row["device"]] = Traits("nvidia", row["architecture"], row["chip"], peak, bandwidth)
    return Table(tuple(observations), traits, START)


def test_errors_on_the_frozen_table_have_not_drifted_up(frozen: Table) -> None:
    device = summarise(leave_out(frozen, PROTOCOLS["one model on a device"]))
    chip = summarise(leave_out(frozen, PROTOCOLS["a chip"]))
    one = summarise([trial for trial in pairs(frozen) if trial.support.own is Own.SEVERAL])
    found = (device.mean_abs_error, chip.mean_abs_error, one.mean_abs_error)
    assert found[0] <= MODEL_ON_A_DEVICE + SLACK, found
    assert found[1] <= CHIP + SLACK, found
    assert found[2] <= ONE_ANCHOR + SLACK, found


def test_other_results_help_more_than_figures_alone(frozen: Table) -> None:
    model = summarise(leave_out(frozen, PROTOCOLS["one model on a device"])).mean_abs_error
    ratios = [summarise(ratio_trials(frozen, name)).mean_abs_error for name in ("peak", "bandwidth", "root of both")]
    assert model < min(ratios) / 1.5


def test_what_is_hidden_is_hidden_in_every_accuracy_target(frozen: Table) -> None:
    trials = leave_out(frozen, PROTOCOLS["one model on a device"])
    assert all(trial.support.own is not Own.MODEL for trial in trials)
    assert any(trial.support.own is Own.MODEL for trial in leave_out(frozen, PROTOCOLS["one result"]))
    assert all(trial.support.kin is not Kin.CHIP for trial in leave_out(frozen, PROTOCOLS["one model on a chip"]))
    assert all(trial.support.own is Own.NOTHING for trial in leave_out(frozen, PROTOCOLS["a chip"]))


def test_a_pair_knows_one_other_device(frozen: Table) -> None:
    trials = pairs(frozen)
    assert {trial.support.own for trial in trials} == set(Own)
    assert all(trial.anchor and trial.anchor != trial.device for trial in trials)
    assert len({(trial.device, trial.anchor) for trial in trials}) > 100


def test_a_model_of_ones_own_is_known_on_one_device_alone(frozen: Table) -> None:
    trials = measured_elsewhere(frozen)
    column = _column("bert-99")
    of_bert = [one for one in trials if one.benchmark == column.benchmark and one.device == "nvidia-l4"]
    published = {one.device for one in frozen.observations if one.column == column} - {"nvidia-l4"}
    assert {one.anchor for one in of_bert} == published


def test_errors_are_told_by_what_a_projection_stood_on_and_where_there_are_enough(frozen: Table) -> None:
    trials = [trial for hide in PROTOCOLS.values() for trial in leave_out(frozen, hide)]
    found = claims(trials)
    assert all(claim.n >= 20 for claim in found)
    several = next(one for one in found if (one.own, one.kin) == (Own.SEVERAL.value, Kin.ARCHITECTURE.value))
    assert claim_for(Support(Own.SEVERAL, Kin.ARCHITECTURE, False), found) == several
    assert claim_for(Support(Own.SEVERAL, Kin.ARCHITECTURE, True), found) is None
    assert [one.n for one in claims([*trials, *trials])] == [one.n for one in found]


def test_too_few_back_tests_of_a_kin_fall_back_on_any_but_never_for_strangers() -> None:
    def claim(kin: str) -> Claim:
        return Claim(
            own=Own.FEW.value,
            kin=kin,
            by_latency=False,
            n=30,
            mean_abs_error=0.2,
            median_abs_error=0.1,
            bias=0.0,
            factor=1.5,
        )

    any_kin = claim("")
    assert claim_for(Support(Own.FEW, Kin.VENDOR, False), [any_kin]) is any_kin
    assert claim_for(Support(Own.FEW, Kin.NONE, False), [any_kin]) is None


def test_the_factor_covers_nine_of_ten(frozen: Table) -> None:
    trials = leave_out(frozen, PROTOCOLS["one model on a device"])
    factor = summarise(trials).factor
    inside = sum(abs(trial.log_error) <= math.log(factor) + 1e-3 for trial in trials)
    assert 0.9 <= inside / len(trials) < 0.93


def _trial(log_error: float, own: Own = Own.SEVERAL) -> Trial:
    return Trial("d", "b", "offline", Support(own, Kin.CHIP, False), log_error)


def test_few_back_tests_give_a_wider_interval_than_their_90th_percentile() -> None:
    """Of 20 errors, the 19th covers one more of the same kind with 19 in 21."""
    trials = [_trial(0.01 * rank) for rank in range(1, 21)]
    assert summarise(trials).factor == pytest.approx(math.exp(0.19), abs=1e-4)


def test_harder_trials_widen_every_factor_until_it_covers_them() -> None:
    easy = [_trial(0.01 * rank)._replace(benchmark=str(rank)) for rank in range(1, 101)]
    plain = claims(easy)
    hard = [_trial(0.02 * rank) for rank in range(1, 101)]
    found = widening_for(hard, plain)
    assert found.throughput == pytest.approx(2.0, rel=0.02)
    assert found.latency == 1.0
    widened = claims(easy, found)
    assert widened[0].factor == pytest.approx(plain[0].factor ** found.throughput, rel=1e-3)
    assert widened[0].mean_abs_error == plain[0].mean_abs_error
    share, n = coverage(hard, widened)
    assert (share, n) == (pytest.approx(91.0, abs=1.0), 100)
    assert widening_for([_trial(0.001)], plain).throughput == 1.0, "easier ones do not narrow it"
    assert coverage([_trial(0.1, Own.FEW)], plain) == (0.0, 0), "without a claim there is no interval"


def test_a_folds_devices_are_projected_under_its_own_constants(frozen: Table) -> None:
    names = sorted({one.device for one in frozen.observations})
    other = START._replace(device=1.0, cell=1.0)
    folds = [
        Fold(devices=(names[0],), variances=START._asdict()),
        Fold(devices=(names[1],), variances=other._asdict()),
    ]
    found = under_folds(frozen, folds, lambda table, devices: leave_out(table, PROTOCOLS["a device"], devices))
    whole = [one for one in leave_out(frozen, PROTOCOLS["a device"]) if one.device == names[0]]
    assert [one for one in found if one.device == names[0]] == whole
    changed = leave_out(Table(frozen.observations, frozen.traits, other), PROTOCOLS["a device"], {names[1]})
    assert [one for one in found if one.device == names[1]] == changed
    assert {one.device for one in found} == set(names[:2])


def test_earlier_rounds_and_other_submitters_alone_are_what_is_known() -> None:
    """What a later round or the submitter itself published, an outlier here, is not seen."""
    traits = {name: Traits("x", "x1", name, {"int8": math.log(1e14)}, math.log(5e11)) for name in ("old", "new")}
    rows = [
        ("old", "resnet50", 100.0, "v1.0", "a"),
        ("old", "rnnt", 10.0, "v1.0", "a"),
        ("new", "rnnt", 20.0, "v1.0", "b"),
        ("new", "resnet50", 200.0, "v2.0", "b"),
        ("old", "resnet50", 1e5, "v3.0", "b"),
    ]
    submissions = [
        Submission(device, _column(name), rate, "int8", when, who, "") for device, name, rate, when, who in rows
    ]
    table = Table(tuple(typical(submissions)), traits, START)
    (first,) = earlier_rounds(table, submissions, {"new"})
    assert (first.device, first.benchmark, first.support.own) == ("new", "resnet50", Own.FEW)
    assert abs(first.log_error) < 1.0, "some 100 x 20 / 10, not the thousandfold of the third round"
    assert earlier_rounds(table, submissions, {"old"}) == []
    by_b = [one for one in other_submitters(table, submissions) if one.device == "new"]
    assert {one.benchmark for one in by_b} == {"resnet50", "rnnt"}
    assert {one.support.own for one in by_b} == {Own.NOTHING}, "all that `new` published is of the same submitter"
