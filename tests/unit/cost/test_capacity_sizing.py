from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from leptonbench.cost.capacity import Arrivals, Fleet, Routing, ServiceModel, Target, size
from leptonbench.cost.capacity.resampling import resample, round_effects
from leptonbench.cost.capacity.simulation import Draws, lay_out, steady
from leptonbench.schema import Provenance

WEEK = Arrivals(tuple([0.0] * 6 + [300.0] * 2 + [1000.0] * 8 + [600.0] * 4 + [120.0] * 4) * 7)
P99 = Target(0.99, 0.05)


def constant(service_s, **rest) -> ServiceModel:
    return ServiceModel.constant(service_s, provenance=Provenance.SIMULATED, method="test", **rest)


def rounds_of(scales, *, times=200, batch_s=None, **rest) -> ServiceModel:
    rng = np.random.default_rng(7)
    sizes = batch_s or {1: 0.01}
    return ServiceModel.measured(
        [{b: s * scale * rng.gamma(25.0, 1 / 25, size=times) for b, s in sizes.items()} for scale in scales],
        method="test",
        **rest,
    )


def latency_s(model: ServiceModel, units: int, rate: float, percentile: float = 0.99, seed: int = 99) -> float:
    """Return a percentile from a simulation with other luck than any that a plan uses."""
    state = steady(
        lay_out(model.pooled(), model.max_batch),
        Draws(seed),
        rate_per_s=rate,
        engines=units * model.instances,
        max_wait_s=model.max_wait_s,
        queries=100_000,
    )
    return state.percentile(percentile).value


@pytest.mark.parametrize(
    "model",
    [
        constant({1: 0.01}),
        rounds_of([0.98, 1.0, 1.03]),
        rounds_of([1.0, 1.01, 1.02], batch_s={1: 0.008, 4: 0.014, 8: 0.022}, max_batch=8, max_wait_s=0.002),
        rounds_of([1.0, 1.01, 1.02], instances=4),
    ],
    ids=["constant", "measured", "batched", "instances"],
)
def test_the_fewest_units_that_meet_the_target_are_found(model: ServiceModel) -> None:
    sizing = size(model, WEEK, P99)
    assert sizing.required is not None and sizing.why_infeasible is None
    looked_at = {one.units: one.meets for one in sizing.candidates}
    assert looked_at[sizing.required] and looked_at[sizing.required + 1]
    assert not looked_at.get(sizing.required - 1, False)
    assert latency_s(model, sizing.required, 1000.0) <= 1.05 * P99.latency_s
    assert sizing.low <= sizing.units <= sizing.high
    assert sizing.latency_s.low <= sizing.latency_s.value <= P99.latency_s


def test_the_answer_repeats() -> None:
    model = rounds_of([0.98, 1.0, 1.03])
    assert size(model, WEEK, P99, seed=3) == size(model, WEEK, P99, seed=3)


def test_a_target_below_the_service_time_is_out_of_reach() -> None:
    sizing = size(constant({1: 0.06}), WEEK, P99)
    assert sizing.units is None and sizing.candidates == ()
    assert "60 ms" in sizing.why_infeasible and "no number of units" in sizing.why_infeasible


def test_a_batcher_that_waits_too_long_is_out_of_reach() -> None:
    model = constant({1: 0.01, 8: 0.02}, max_batch=8, max_wait_s=0.045)
    sizing = size(model, Arrivals.steady(2.0), P99)
    assert sizing.units is None
    assert "batcher waits" in sizing.why_infeasible


def test_a_wider_band_widens_the_interval_on_both_sides() -> None:
    exact, banded = constant({1: 0.01}), constant({1: 0.01}, scale_low=0.8, scale_high=1.3)
    one, other = size(exact, WEEK, P99), size(banded, WEEK, P99)
    assert one.units == other.units
    assert other.low < one.low and other.high > one.high
    assert other.low == pytest.approx(0.8 * one.units, abs=1.5)
    assert other.high == pytest.approx(1.3 * one.units, abs=1.5)


def test_rounds_that_differ_widen_the_interval() -> None:
    alike, apart = size(rounds_of([1.0, 1.0, 1.0]), WEEK, P99), size(rounds_of([0.9, 1.0, 1.1]), WEEK, P99)
    assert apart.high - apart.low > alike.high - alike.low


def test_an_end_that_nothing_meets_has_no_number() -> None:
    sizing = size(constant({1: 0.045}, scale_low=0.9, scale_high=1.3), WEEK, P99)
    assert sizing.units is not None and sizing.high is None


def test_spares_and_nodes_come_on_top() -> None:
    model = constant({1: 0.01})
    plain, spare = size(model, WEEK, P99), size(model, WEEK, P99, fleet=Fleet(spare_nodes=1, units_per_node=8))
    assert spare.required == plain.required == plain.units
    assert spare.units == 8 * (math.ceil(plain.required / 8) + 1)
    assert spare.latency_all_up_s.value <= spare.latency_s.value
    assert spare.utilisation_peak < plain.utilisation_peak


def test_a_random_balancer_needs_more_than_a_shared_queue() -> None:
    model = rounds_of([1.0, 1.0, 1.0])
    shared = size(model, WEEK, P99)
    random = size(model, WEEK, P99, fleet=Fleet(routing=Routing.RANDOM))
    assert random.required > shared.required


def test_random_routing_is_one_unit_of_its_share() -> None:
    """Thinning: a unit of ten at 800 a second is the only unit at 80 a second."""
    model, random = constant({1: 0.01}), Fleet(routing=Routing.RANDOM)
    ten = size(model, Arrivals.steady(800.0), Target(0.99, 0.0325), fleet=random)
    share = 800.0 / ten.required
    assert size(model, Arrivals.steady(share), Target(0.99, 0.0325), fleet=random).required == 1
    more = 800.0 / (ten.required - 1)
    assert size(model, Arrivals.steady(more), Target(0.99, 0.0325), fleet=random).required == 2


def test_bursts_need_more() -> None:
    model = constant({1: 0.01})
    bursts = np.tile([0.01] * 199 + [30.0], 20)
    assert size(model, replace(WEEK, gaps=bursts), P99).required > size(model, WEEK, P99).required


def test_single_queries_keep_engines_busy_by_rate_and_service_time() -> None:
    model = constant({1: 0.01}, instances=2)
    sizing = size(model, WEEK, P99, fleet=Fleet(spare_nodes=1))
    assert sizing.utilisation_peak == pytest.approx(1000 * 0.01 / (2 * sizing.units))
    assert sizing.utilisation_mean == pytest.approx(WEEK.mean_per_s * 0.01 / (2 * sizing.units))
    assert sizing.load_peak == pytest.approx(1000 * 0.01 / (2 * sizing.required))


def test_batches_keep_engines_no_busier_than_single_queries_would() -> None:
    model = constant({1: 0.01, 8: 0.03}, max_batch=8)
    sizing = size(model, WEEK, P99)
    assert 0 < sizing.utilisation_mean < sizing.utilisation_peak <= 1
    assert sizing.load_peak == pytest.approx(1000 * 0.03 / 8 / sizing.required)


@pytest.mark.parametrize(
    "model",
    [rounds_of([1.0, 1.0, 1.0]), constant({1: 0.01, 4: 0.02, 8: 0.03}, max_batch=8, max_wait_s=0.001)],
    ids=["single", "batched"],
)
def test_each_hour_is_served_by_its_units(model: ServiceModel) -> None:
    day = [0.05, 0.1, 0.2, 0.3, 0.35, 0.45, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0] * 2
    arrivals = Arrivals(tuple(900.0 * share for share in day) * 7)
    sizing = size(model, arrivals, P99)
    assert len(sizing.units_by_hour) == 168 and max(sizing.units_by_hour) == sizing.units
    for rate, units in sorted(set(zip(arrivals.rates_per_s, sizing.units_by_hour, strict=True))):
        assert latency_s(model, units, rate) <= 1.06 * P99.latency_s, (rate, units)


def test_hours_without_arrivals_need_nothing() -> None:
    sizing = size(constant({1: 0.01}), WEEK, P99, fleet=Fleet(spare_nodes=1))
    assert [units == 0 for units in sizing.units_by_hour] == [rate == 0 for rate in WEEK.rates_per_s]
    assert min(units for units in sizing.units_by_hour if units) >= 2


def test_more_queries_never_need_fewer_units() -> None:
    model = rounds_of([1.0, 1.01, 0.99])
    needed = [size(model, Arrivals.steady(rate), P99).required for rate in (1.0, 50.0, 200.0, 800.0, 3000.0)]
    assert needed == sorted(needed) and needed[0] == 1


def test_one_round_and_few_samples_are_said() -> None:
    notes = " ".join(size(rounds_of([1.0], times=20), WEEK, P99).notes)
    assert "one round" in notes and "20 service times" in notes


def test_a_load_beyond_published_servers_is_said() -> None:
    loose = size(constant({1: 0.01}), Arrivals.steady(985.0), Target(0.99, 2.0))
    assert loose.required == 10 and any("nine in ten published servers" in note for note in loose.notes)
    roomy = size(constant({1: 0.01}), Arrivals.steady(800.0), Target(0.99, 2.0))
    assert roomy.required == 9 and not any("nine in ten" in note for note in roomy.notes)


def test_the_provenance_is_the_weakest() -> None:
    projected = ServiceModel.constant({1: 0.01}, provenance=Provenance.PROJECTED, method="test")
    assert size(projected, WEEK, P99).provenance is Provenance.PROJECTED
    assert size(rounds_of([1.0, 1.0]), WEEK, P99).provenance is Provenance.SIMULATED


def test_draws_scatter_as_the_mean_of_the_rounds_does() -> None:
    model = rounds_of([0.9, 1.0, 1.1, 1.0], times=2000)
    effects = round_effects(model)
    assert effects.sum() == pytest.approx(0.0, abs=1e-12)
    draws_s = resample(model, np.random.default_rng(0), 2000).pools_s[1]
    factors = np.log(draws_s.mean(axis=1) / 0.01)
    low, high = np.quantile(factors, (0.025, 0.975))
    half = 3.182 * effects.std(ddof=1) / 2  # Student's t of three degrees of freedom; the square root of four rounds
    assert (high - low) / 2 == pytest.approx(half, rel=0.12)


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "capacity.md").read_text(encoding="utf-8")
    block = page.split("```python\n", 1)[1].split("```", 1)[0]
    exec(compile(block, "docs/capacity.md", "exec"), {})
    units, required, busy = capsys.readouterr().out.split()
    assert int(units) % 8 == 0 and int(units) >= int(required) + 8
    assert 0 < float(busy) < 1
