from __future__ import annotations

import math

import numpy as np
import pytest

from leptonbench.stats.queueing import (
    capacity_per_s,
    erlang_c,
    max_rate,
    md1_mean_wait_s,
    mmc_mean_wait_s,
    simulate_batch_queue,
)


def one_by_one(arrivals, serve, *, instances, seed=0):
    rng = np.random.default_rng(seed)
    return simulate_batch_queue(arrivals, serve, instances=instances, max_batch=1, max_wait_s=0.0, rng=rng)


def poisson(rate_per_s: float, n: int, seed: int = 1) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).exponential(1.0 / rate_per_s, size=n))


def batched(arrivals, samples, **settings):
    settings = {"instances": 1, "max_batch": 4, "max_wait_s": 0.0} | settings
    return simulate_batch_queue(np.asarray(arrivals), samples, rng=np.random.default_rng(0), **settings)


def test_queries_queue_behind_one_instance():
    assert one_by_one(np.array([0.0, 1.0, 1.5, 10.0]), {1: [2.0]}, instances=1).tolist() == [2.0, 3.0, 4.5, 2.0]


def test_two_instances_share_the_queue():
    assert one_by_one(np.array([0.0, 1.0, 1.5]), {1: [2.0]}, instances=2).tolist() == [2.0, 2.0, 2.5]


def test_a_full_batch_starts_at_once():
    latencies = batched([0.0, 0.1, 0.2, 0.3], {4: [1.0]}, max_wait_s=5.0)
    assert latencies == pytest.approx([1.3, 1.2, 1.1, 1.0])


def test_a_lone_query_waits_for_company_no_longer_than_allowed():
    assert batched([0.0, 3.0], {4: [1.0]}, max_wait_s=0.5) == pytest.approx([1.5, 1.5])


def test_whoever_waits_when_an_instance_frees_joins_the_batch():
    # The first goes alone; the next five arrive while it is served: four go together, one after them.
    latencies = batched([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], {1: [1.0], 4: [2.0]})
    assert latencies == pytest.approx([1.0, 2.9, 2.8, 2.7, 2.6, 3.5])


def test_a_size_between_two_measured_costs_what_the_larger_does():
    assert batched([0.0, 0.0, 0.0], {1: [1.0], 2: [7.0], 4: [3.0]}) == pytest.approx([3.0, 3.0, 3.0])


def test_every_measured_service_time_is_drawn():
    latencies = one_by_one(np.arange(0.0, 4000.0, 10.0), {1: [1.0, 2.0, 3.0]}, instances=1)
    counts = np.bincount(latencies.astype(int))
    assert counts[1:].tolist() == pytest.approx([133, 133, 133], abs=40)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_simulation_agrees_with_m_d_1(load: float):
    latencies = one_by_one(poisson(load, 200_000), lambda batch, uniform: 1.0, instances=1)
    assert latencies.mean() - 1.0 == pytest.approx(md1_mean_wait_s(load, 1.0), rel=0.05)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_simulation_agrees_with_m_m_c(load: float):
    latencies = one_by_one(poisson(4 * load, 200_000), lambda batch, uniform: -math.log1p(-uniform), instances=4)
    wait = mmc_mean_wait_s(4 * load, 1.0, servers=4)
    assert latencies.mean() - 1.0 == pytest.approx(wait, rel=0.08, abs=0.005)


def test_closed_forms_match_textbook_values():
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert mmc_mean_wait_s(0.5, 1.0, servers=1) == pytest.approx(1.0)
    assert md1_mean_wait_s(0.5, 1.0) == pytest.approx(0.5)
    for call in (lambda: erlang_c(2, 2.0), lambda: md1_mean_wait_s(1.0, 1.0)):
        with pytest.raises(ValueError, match="stable"):
            call()


def test_capacity_uses_the_best_batch_within_the_limit():
    samples = {1: [1.0], 4: [2.0], 8: [16.0]}
    assert capacity_per_s(samples, instances=3, max_batch=4) == pytest.approx(6.0)
    assert capacity_per_s(samples, instances=1, max_batch=1) == pytest.approx(1.0)
    assert capacity_per_s({4: [2.0]}, instances=1, max_batch=2) == pytest.approx(1.0)


def rate(samples, target, **settings):
    fixed = {"percentile": 0.99, "instances": 1, "max_batch": 1, "max_wait_s": 0.0, "seed": 7} | settings
    return max_rate(samples, latency_target_s=target, **fixed)


def test_max_rate_meets_the_target_and_a_little_more_does_not():
    samples = {1: [0.01]}
    best = rate(samples, 0.03)
    unit = np.cumsum(np.random.default_rng((7, 1)).exponential(size=4000))

    def p99(rate_per_s: float) -> float:
        return float(np.quantile(one_by_one(unit / rate_per_s, samples, instances=1)[400:], 0.99, method="higher"))

    assert p99(best) <= 0.03
    assert p99(best * 1.02) > 0.03


def test_max_rate_agrees_with_m_m_1():
    # P(sojourn > t) = exp(-(mu - lambda) t), so lambda = mu - ln(100) / t for the 99th percentile.
    quantiles = (np.arange(2000) + 0.5) / 2000
    exact = 100.0 - math.log(100.0) / 0.2
    rates = [rate({1: -0.01 * np.log1p(-quantiles)}, 0.2, seed=seed, queries=20_000) for seed in range(3)]
    assert np.mean(rates) == pytest.approx(exact, rel=0.06)


def test_max_rate_of_an_unreachable_target_is_zero():
    assert rate({1: [0.01]}, 0.009) == 0.0


def test_max_rate_stays_below_capacity_for_a_lax_target():
    assert rate({1: [0.01]}, 1e6) == pytest.approx(99.0)


def test_more_instances_and_larger_batches_carry_more():
    samples = {1: [0.010], 8: [0.024]}
    alone = rate(samples, 0.06)
    assert rate(samples, 0.06, instances=2) > 1.8 * alone
    assert rate(samples, 0.06, max_batch=8) > 1.8 * alone


def test_a_target_met_only_at_high_rates_is_found():
    # At low rates the lone query waits 50 ms for company; at high rates batches fill at once.
    assert rate({4: [0.004]}, 0.03, max_batch=4, max_wait_s=0.05) > 300.0


def test_no_query_has_no_latency():
    assert one_by_one(np.array([]), {1: [1.0]}, instances=1).size == 0


@pytest.mark.parametrize(
    ("arrivals", "samples", "settings", "message"),
    [
        ([0.0], {1: [1.0]}, {"max_batch": 2}, "no service times for batch 2"),
        ([0.0], {1: []}, {"max_batch": 1}, "batch 1 are not all positive"),
        ([0.0], {1: [-1.0]}, {"max_batch": 1}, "batch 1 are not all positive"),
        ([1.0, 0.0], {1: [1.0]}, {"max_batch": 1}, "ascending"),
        ([0.0], {1: [1.0]}, {"max_batch": 1, "instances": 0}, "instances >= 1"),
        ([0.0], {1: [1.0]}, {"max_batch": 1, "max_wait_s": math.inf}, "max_wait_s"),
    ],
)
def test_what_cannot_be_simulated_is_refused(arrivals, samples, settings, message):
    with pytest.raises(ValueError, match=message):
        batched(arrivals, samples, **settings)


def test_settings_of_max_rate_are_checked():
    with pytest.raises(ValueError, match="percentile"):
        rate({1: [1.0]}, 1.0, percentile=99.0)
