from __future__ import annotations

import math

import numpy as np
import pytest

from leptonbench.cost.capacity.closed import mdc_mean_wait_s
from leptonbench.cost.capacity.simulation import (
    Draws,
    Steady,
    curve_arrivals,
    lay_out,
    relaxation_queries,
    simulate,
    steady,
)
from leptonbench.stats.queueing import mmc_mean_wait_s, simulate_batch_queue

EXPONENTIAL = -np.log1p(-(np.arange(4000) + 0.5) / 4000)
"""Service times with the quantiles of the exponential distribution, mean 1 s."""
ONE = lay_out({1: np.array([1.0])}, 1)


def run(pools, *, load, engines=1, queries=200_000, seed=1, max_wait_s=0.0):
    mean_s = float(pools.times_s.mean())
    rate = load * engines / mean_s
    return steady(pools, Draws(seed), rate_per_s=rate, engines=engines, max_wait_s=max_wait_s, queries=queries)


@pytest.mark.parametrize("seed", range(12))
def test_every_latency_equals_that_of_the_plain_simulation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    engines, max_batch = int(rng.integers(1, 40)), int(rng.integers(1, 9))
    max_wait_s = float(rng.choice([0.0, 0.3, 2.0]))
    samples = {size: rng.gamma(4.0, 0.25 * size**0.7, size=rng.integers(1, 30)) for size in (1, 2, 5, 8)}
    rate = rng.uniform(0.2, 1.2) * engines * max_batch / samples[8].mean()
    arrivals_s = np.cumsum(rng.exponential(1 / rate, size=3000))
    expected = simulate_batch_queue(
        arrivals_s,
        samples,
        instances=engines,
        max_batch=max_batch,
        max_wait_s=max_wait_s,
        rng=np.random.default_rng(seed),
    )
    uniforms = np.random.default_rng(seed).random(len(arrivals_s))
    latency_s, _ = simulate(lay_out(samples, max_batch), arrivals_s, uniforms, engines=engines, max_wait_s=max_wait_s)
    assert latency_s.tolist() == expected.tolist()


def test_every_latency_equals_that_of_ciw() -> None:
    """Another simulator, told the same gaps and the same service times in the same order."""
    import ciw

    rng = np.random.default_rng(8)
    gaps, times = rng.exponential(1 / 2.7, size=700), rng.gamma(2.0, 0.5, size=700)
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Sequential(gaps.tolist())],
        service_distributions=[ciw.dists.Sequential(times.tolist())],
        number_of_servers=[3],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(600)
    records = sorted(simulation.get_all_records(), key=lambda record: record.arrival_date)[:500]
    theirs = [record.waiting_time + record.service_time for record in records]
    draws = (np.argsort(np.argsort(times)) + 0.5) / len(times)
    latency_s, _ = simulate(lay_out({1: times}, 1), np.cumsum(gaps), draws, engines=3)
    assert latency_s[:500].tolist() == pytest.approx(theirs)


def test_work_is_the_time_of_every_batch() -> None:
    pools = lay_out({1: np.array([1.0]), 2: np.array([1.5])}, 2)
    latency_s, work_s = simulate(pools, np.array([0.0, 0.1, 0.2, 9.0]), np.zeros(4), engines=1)
    assert latency_s == pytest.approx([1.0, 2.4, 2.3, 1.0])
    assert work_s == pytest.approx(1.0 + 1.5 + 1.0)


@pytest.mark.parametrize(("engines", "load"), [(1, 0.5), (1, 0.8), (4, 0.8), (16, 0.9)])
def test_mean_wait_of_exponential_service_is_erlangs(engines: int, load: float) -> None:
    pools = lay_out({1: EXPONENTIAL}, 1)
    state = run(pools, load=load, engines=engines, queries=400_000)
    mean_s = float(EXPONENTIAL.mean())
    wait_s = mmc_mean_wait_s(load * engines / mean_s, mean_s, servers=engines)
    assert state.latency_s.mean() == pytest.approx(mean_s + wait_s, rel=0.03)


@pytest.mark.parametrize(("engines", "load"), [(1, 0.8), (3, 0.9), (10, 0.9)])
def test_mean_wait_of_constant_service_is_crommelins(engines: int, load: float) -> None:
    state = run(ONE, load=load, engines=engines, queries=2_000_000)
    wait_s = mdc_mean_wait_s(load * engines, 1.0, engines=engines)
    assert state.latency_s.mean() - 1.0 == pytest.approx(wait_s, rel=0.05)


def test_utilisation_is_the_load_where_queries_go_alone() -> None:
    assert run(lay_out({1: EXPONENTIAL}, 1), load=0.7, engines=5).utilisation == pytest.approx(0.7, rel=0.02)


def test_a_size_between_two_costs_what_the_larger_does() -> None:
    pools = lay_out({1: np.array([1.0]), 4: np.array([3.0, 2.0])}, 3)
    assert [pools.times_s[pools.first[b] : pools.first[b] + pools.number[b]].tolist() for b in (1, 2, 3)] == [
        [1.0],
        [2.0, 3.0],
        [2.0, 3.0],
    ]


def test_no_times_for_the_largest_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="batch of 8"):
        lay_out({1: np.array([1.0])}, 8)


def test_the_percentiles_interval_holds_the_true_one() -> None:
    """Sojourn in M/M/1 is exponential with rate mu - lambda: its 99th percentile is known."""
    pools = lay_out({1: EXPONENTIAL}, 1)
    truth_s = -math.log(0.01) / (1 - 0.8)
    found = [run(pools, load=0.8, queries=100_000, seed=seed).percentile(0.99) for seed in range(40)]
    covered = sum(one.low <= truth_s <= one.high for one in found)
    assert covered >= 33  # 38 expected
    assert np.mean([one.value for one in found]) == pytest.approx(truth_s, rel=0.03)


def test_a_short_run_near_saturation_says_how_little_it_knows() -> None:
    """A hundred relaxations hold four clumps of late queries: their own scatter says too little."""
    pools = lay_out({1: EXPONENTIAL}, 1)
    truth_s = -math.log(0.01) / (1 - 0.9)
    found = [run(pools, load=0.9, queries=34_000, seed=seed).percentile(0.99) for seed in range(60)]
    assert sum(one.low <= truth_s <= one.high for one in found) >= 48  # 53 expected, 29 by the scatter alone


def test_an_even_latency_has_an_interval_of_no_width() -> None:
    assert Steady(np.full(1000, 2.0), 0.5, 1.0).percentile(0.9) == (2.0, 2.0, 2.0)


def test_more_draws_begin_like_fewer() -> None:
    short, long = Draws(3), Draws(3)
    few = short.take(100)
    many = long.take(1000)
    again = short.take(1000)
    assert few[0].tolist() == many[0][:100].tolist()
    assert (again[0] == pytest.approx(many[0])) and again[1].tolist() == many[1].tolist()


def test_a_trace_is_played_in_its_order_and_over_again() -> None:
    arrivals, _ = Draws(0, np.array([1.0, 2.0, 3.0])).take(7)
    gaps = np.diff(arrivals)
    start = {0.5: 0, 1.0: 1, 1.5: 2}[round(float(gaps[0]), 6)]
    assert gaps == pytest.approx([[0.5, 1.0, 1.5][(start + i) % 3] for i in range(6)])


def test_a_thinned_trace_keeps_the_rate_and_tends_to_poisson() -> None:
    """One of twenty units that share evenly spaced queries at random sees nearly Poisson arrivals: cv2 = 1 - 1/20."""
    arrivals, _ = Draws(0, np.ones(50), thinned=20).take(50_000)
    gaps = np.diff(arrivals)
    assert gaps.mean() == pytest.approx(1.0, rel=0.02)
    assert gaps.var() / gaps.mean() ** 2 == pytest.approx(0.95, rel=0.05)


def test_a_curve_has_each_hours_rate() -> None:
    arrivals_s = curve_arrivals([100.0, 0.0, 300.0], 100.0, np.random.default_rng(0))
    counts = np.histogram(arrivals_s, bins=[0, 100, 200, 300])[0]
    assert (np.diff(arrivals_s) >= 0).all()
    assert counts[1] == 0
    assert counts[[0, 2]] == pytest.approx([10_000, 30_000], rel=0.05)


def test_an_hour_in_a_curve_is_as_late_as_a_steady_one() -> None:
    """What lets hours be simulated apart: the queue forgets the hour before within seconds."""
    pools = lay_out({1: EXPONENTIAL * 0.01}, 1)
    arrivals_s = curve_arrivals([20.0, 160.0], 1500.0, np.random.default_rng(4))
    latency_s, _ = simulate(pools, arrivals_s, np.random.default_rng(5).random(len(arrivals_s)), engines=2)
    second = latency_s[arrivals_s > 1500.0]
    state = steady(pools, Draws(6), rate_per_s=160.0, engines=2, max_wait_s=0.0, queries=240_000)
    assert np.quantile(second, 0.99) == pytest.approx(state.percentile(0.99).value, rel=0.05)


def test_a_queue_forgets_more_slowly_the_fuller_it_is() -> None:
    assert relaxation_queries(0.95) > 50 * relaxation_queries(0.5)
