from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from leptonbench.projection.anchors import Kin, Own, Support, Table
from leptonbench.projection.backtest import (
    PROTOCOLS,
    Claim,
    claim_for,
    claims,
    leave_out,
    measured_elsewhere,
    pairs,
    ratio_trials,
    summarise,
)
from leptonbench.projection.fit import START
from leptonbench.projection.model import Traits
from leptonbench.projection.results import Column, Observation, Submission
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
    assert inside / len(trials) == pytest.approx(0.9, abs=0.02)
