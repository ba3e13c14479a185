from __future__ import annotations

import numpy as np
import pytest

from leptonbench.cost.capacity import Arrivals, Fleet, ServiceModel, Target
from leptonbench.errors import EXIT_USAGE, UsageError
from leptonbench.schema import DemandSpec, Provenance

TEXT = {"en": "a demand", "zh": "需求"}
SAMPLES = {1: [0.01, 0.012], 4: [0.02, 0.021]}


def measured(rounds, **rest):
    return ServiceModel.measured(rounds, method="test", **rest)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: measured([]), "no service time"),
        (lambda: measured([{}]), "no service time"),
        (lambda: measured([{1: []}]), "positive and finite"),
        (lambda: measured([{1: [0.01, 0.0]}]), "positive and finite"),
        (lambda: measured([{1: [0.01, float("nan")]}]), "positive and finite"),
        (lambda: measured([SAMPLES], instances=0), "instances"),
        (lambda: measured([SAMPLES], max_wait_s=-1.0), "finite wait"),
        (lambda: measured([SAMPLES], max_batch=8), "batch of 8"),
        (lambda: measured([SAMPLES, {1: [0.01]}], max_batch=4), "batch of 4"),
        (
            lambda: ServiceModel.constant({1: 0.01}, provenance=Provenance.PROJECTED, method="test", scale_low=1.1),
            "band",
        ),
        (lambda: Arrivals((1.0,) * 24), "168"),
        (lambda: Arrivals((-1.0,) + (1.0,) * 167), "not negative"),
        (lambda: Arrivals.steady(float("inf")), "not negative"),
        (lambda: Arrivals.steady(0.0), "nothing arrives"),
        (lambda: Arrivals((1.0,) * 168, gaps=np.array([0.0, 0.0])), "gaps"),
        (lambda: Arrivals((1.0,) * 168, gaps=np.array([1.0])), "gaps"),
        (lambda: Target(99, 0.05), "percentile"),
        (lambda: Target(0.99, 0.0), "time above 0"),
        (lambda: Fleet(spare_nodes=-1), "spares"),
        (lambda: Fleet(units_per_node=0), "unit a node"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_cause(build, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        build()
    assert caught.value.exit_code == EXIT_USAGE
    assert caught.value.cause


def test_rounds_are_pooled_by_the_sizes_that_all_have() -> None:
    model = measured([{1: [0.02, 0.01], 2: [0.03]}, {1: [0.015]}])
    assert model.sizes == (1,)
    assert model.pooled()[1].tolist() == [0.01, 0.015, 0.02]


def test_a_node_comes_whole_and_fails_whole() -> None:
    assert Fleet().bought(9) == 9
    assert Fleet(spare_nodes=1).bought(9) == 10
    assert Fleet(units_per_node=8).bought(9) == 16
    assert Fleet(spare_nodes=1, units_per_node=8).bought(9) == 24


def test_two_shifts_on_five_days() -> None:
    demand = DemandSpec(description=TEXT, rate_per_s=12, hours_per_day=16, days_per_week=5)
    arrivals = Arrivals.of_demand(demand)
    assert sum(rate > 0 for rate in arrivals.rates_per_s) == 80
    assert arrivals.peak_per_s == 12
    assert arrivals.mean_per_s == pytest.approx(12 * 80 / 168)
    assert arrivals.per_week == pytest.approx(12 * 80 * 3600)


def test_fractions_of_hours_and_days_keep_the_weeks_total() -> None:
    demand = DemandSpec(description=TEXT, rate_per_s=10, hours_per_day=7.5, days_per_week=4.5)
    assert Arrivals.of_demand(demand).per_week == pytest.approx(10 * 3600 * demand.full_hours_per_week)


def test_a_curve_has_its_working_and_other_days() -> None:
    day = tuple([0.0] * 8 + [1.0] * 10 + [0.5] * 6)
    other = (0.25,) * 24
    demand = DemandSpec(description=TEXT, rate_per_s=8, days_per_week=5, working_day=day, other_day=other)
    arrivals = Arrivals.of_demand(demand)
    assert arrivals.rates_per_s[:24] == tuple(8 * share for share in day)
    assert arrivals.rates_per_s[-24:] == (2.0,) * 24
    assert arrivals.per_week == pytest.approx(8 * 3600 * demand.full_hours_per_week)
