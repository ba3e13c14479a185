from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from leptonbench.stats.early_stopping import certified_percentile, minimum_queries
from leptonbench.stats.pareto import ParetoPoint, pareto_front
from leptonbench.stats.proportion import mcnemar_exact, paired_difference, wilson
from leptonbench.stats.queueing import erlang_c, simulate_batch_queue
from leptonbench.stats.special import binomial_cdf, t_critical, t_upper_tail
from leptonbench.stats.summary import ratio_interval, round_interval

positive = st.floats(1e-6, 1e6)
rounds = st.lists(positive, min_size=2, max_size=12)
odd_rounds = st.sampled_from([3, 5, 7]).flatmap(lambda n: st.lists(positive, min_size=n, max_size=n))
coordinates = st.tuples(*[st.floats(-100, 100)] * 3)
points = st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=12).map(
    lambda pairs: [ParetoPoint(str(index), *x, *y) for index, (x, y) in enumerate(pairs)]
)
samples = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(rounds, st.floats(0.5, 0.99))
def test_an_interval_holds_its_value(values, confidence):
    interval = round_interval(values, confidence=confidence)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low <= interval.value <= interval.high
    assert min(values) <= interval.value <= max(values)


@given(odd_rounds)
def test_a_time_and_its_rate_have_reciprocal_intervals(values):
    time, rate = round_interval(values), round_interval([1.0 / value for value in values])
    assert None not in (time.low, time.high)
    assert math.isclose(rate.value * time.value, 1.0, rel_tol=1e-9)
    assert math.isclose(rate.low * time.high, 1.0, rel_tol=1e-6)
    assert math.isclose(rate.high * time.low, 1.0, rel_tol=1e-6)


@given(rounds, st.floats(1e-3, 1e3))
def test_a_change_of_unit_scales_the_interval(values, scale):
    plain, scaled = round_interval(values), round_interval([scale * value for value in values])
    for one, other in zip(plain[:3], scaled[:3], strict=True):
        assert math.isclose(one * scale, other, rel_tol=1e-6)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=10))
def test_any_finite_rounds_have_an_interval_around_the_median_or_none_at_all(values):
    interval = round_interval(values)
    assert (interval.low is None) == (interval.high is None) == (interval.confidence is None)
    if interval.low is not None:
        assert math.isfinite(interval.low)
        assert math.isfinite(interval.high)
        assert interval.low <= interval.value <= interval.high


@given(odd_rounds, odd_rounds, st.booleans())
def test_a_ratio_turned_round_has_the_reciprocal_interval(a, b, paired):
    one, other = ratio_interval(a, b, paired=paired), ratio_interval(b, a, paired=paired)
    for left, right in ((one.value, other.value), (one.low, other.high), (one.high, other.low)):
        assert math.isclose(left * right, 1.0, rel_tol=1e-5)


@given(st.floats(0.01, 0.999), st.floats(0.5, 1e4))
def test_the_t_quantile_inverts_the_tail(confidence, dof):
    assert math.isclose(t_upper_tail(t_critical(confidence, dof), dof), (1 - confidence) / 2, rel_tol=1e-7)


@given(st.integers(1, 300), st.integers(0, 300), st.floats(0.01, 0.99))
def test_the_binomial_cdf_rises_in_k_and_falls_in_n(n, k, probability):
    assert binomial_cdf(k, n, probability) <= binomial_cdf(k + 1, n, probability) + 1e-12
    assert binomial_cdf(k, n + 1, probability) <= binomial_cdf(k, n, probability) + 1e-12


@given(st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99]), st.integers(0, 30), st.sampled_from([0.9, 0.95, 0.99]))
def test_minimum_queries_is_the_first_count_that_passes(percentile, late, confidence):
    n = minimum_queries(percentile, late, confidence)
    assert binomial_cdf(late, n, 1 - percentile) < 1 - confidence
    assert binomial_cdf(late, n - 1, 1 - percentile) >= 1 - confidence


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.sampled_from([0.5, 0.9, 0.97, 0.99]))
def test_a_certified_percentile_is_a_sample_above_the_plain_one(seed, n, percentile):
    latencies = np.random.default_rng(seed).lognormal(size=n)
    result = certified_percentile(latencies, percentile)
    assert (result.value is None) == (n < result.needed)
    if result.value is not None:
        assert result.value in latencies
        assert result.value >= np.quantile(latencies, percentile)
        assert np.count_nonzero(latencies >= result.value) == result.over_latency
        assert (
            minimum_queries(percentile, result.over_latency) <= n < minimum_queries(percentile, result.over_latency + 1)
        )


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion_and_stays_inside(counts):
    successes, n = counts
    interval = wilson(successes, n)
    assert 0 <= interval.low <= successes / n <= interval.high <= 1
    assert interval.low < interval.high


@given(samples)
def test_a_paired_difference_is_held_mirrored_and_inside(pairs):
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert -1 <= one.low <= one.value <= one.high <= 1
    assert math.isclose(one.low, -other.high, abs_tol=1e-12)
    assert math.isclose(one.value, a.mean() - b.mean(), abs_tol=1e-12)


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_a_symmetric_probability(b, c):
    p = mcnemar_exact(b, c)
    assert 0 < p <= 1
    assert p == mcnemar_exact(c, b)


@given(points, st.booleans(), st.booleans())
def test_a_front_is_never_empty_and_knows_no_order(given_points, x_lower, y_lower):
    directions = {"x_lower_is_better": x_lower, "y_lower_is_better": y_lower}
    front = pareto_front(given_points, **directions)
    assert front
    assert front == pareto_front(list(reversed(given_points)), **directions)
    assert front <= {point.key for point in given_points}


@given(points)
def test_wider_intervals_never_shrink_the_front(given_points):
    wider = [
        point._replace(
            x_low=min(point[1:4]) - 1, x_high=max(point[1:4]) + 1, y_low=min(point[4:]) - 1, y_high=max(point[4:]) + 1
        )
        for point in given_points
    ]
    assert pareto_front(given_points) <= pareto_front(wider)


@given(points)
def test_every_dominated_point_is_beaten_by_one_on_the_front(given_points):
    front = pareto_front(given_points)
    winners = [point for point in given_points if point.key in front]
    for point in given_points:
        if point.key not in front:
            assert point.key not in pareto_front([*winners, point])


@given(
    st.lists(st.floats(0, 2), min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(1, 8),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_no_query_is_answered_before_it_is_served(gaps, instances, max_batch, max_wait_s, seed):
    arrivals = np.cumsum(gaps)
    latencies = simulate_batch_queue(
        arrivals,
        {1: [0.1, 0.2], 8: [0.3, 0.5]},
        instances=instances,
        max_batch=max_batch,
        max_wait_s=max_wait_s,
        rng=np.random.default_rng(seed),
    )
    assert latencies.shape == arrivals.shape
    assert (latencies >= 0.1 - 1e-9).all()
    # No query waits longer than its own batch, its company and the work of everyone before it on one instance.
    assert (latencies <= max_wait_s + 0.5 * np.arange(1, len(gaps) + 1) + 1e-9 + max_wait_s * len(gaps)).all()


@given(st.integers(1, 50), st.floats(0.01, 0.99))
def test_more_servers_at_equal_load_each_wait_less_often(servers, load):
    fewer, more = erlang_c(servers, load * servers), erlang_c(servers + 1, load * (servers + 1))
    assert 0 <= more <= fewer <= 1
