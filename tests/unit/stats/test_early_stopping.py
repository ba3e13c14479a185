from __future__ import annotations

import numpy as np
import pytest

from leptonbench.stats.early_stopping import certified_percentile, minimum_queries

PERCENTILES = (0.5, 0.9, 0.95, 0.97, 0.99, 0.999)
# MLPerf inference rules, appendix "Early Stopping", confidence 0.99, tolerance 0.
TABLE = {
    0: (7, 44, 90, 152, 459, 4603),
    1: (11, 64, 130, 219, 662, 6636),
    2: (14, 81, 165, 277, 838, 8403),
    5: (22, 127, 259, 433, 1307, 13105),
    10: (35, 197, 398, 667, 2010, 20140),
    50: (128, 681, 1372, 2293, 6898, 69058),
}


@pytest.mark.parametrize("late", TABLE)
def test_minimum_queries_reproduces_the_published_table(late: int):
    assert tuple(minimum_queries(percentile, late) for percentile in PERCENTILES) == TABLE[late]


def test_at_the_floor_the_certified_percentile_is_the_maximum():
    samples = np.random.default_rng(3).permutation(np.arange(662.0))
    assert certified_percentile(samples, 0.99) == (661.0, 662, 662, 1)


def test_one_query_short_there_is_no_percentile():
    result = certified_percentile(np.arange(661.0), 0.99)
    assert (result.value, result.n, result.needed, result.over_latency) == (None, 661, 662, 0)


@pytest.mark.parametrize(("n", "late"), [(837, 1), (838, 2), (1306, 4), (1307, 5), (6898, 50)])
def test_the_affordable_count_follows_the_table(n: int, late: int):
    result = certified_percentile(np.arange(float(n)), 0.99)
    assert (result.over_latency, result.value) == (late, n - late)


def test_a_million_samples_certify_close_above_the_percentile():
    n = 1_000_000
    result = certified_percentile(np.arange(n) / n, 0.99)
    assert result.value is not None
    assert 0.99 < result.value < 0.9905


def test_the_bound_holds_as_often_as_it_says():
    rng = np.random.default_rng(11)
    values = [certified_percentile(rng.random(700), 0.99).value for _ in range(2000)]
    missed = np.mean([value is None or value < 0.99 for value in values])
    assert missed < 0.01


def test_no_sample_is_too_few():
    assert certified_percentile([], 0.9).value is None


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="fraction"):
        minimum_queries(99.0)
    with pytest.raises(ValueError, match="not negative"):
        minimum_queries(0.9, -1)
    with pytest.raises(ValueError, match="confidence"):
        certified_percentile([1.0], 0.9, confidence=0.1)
    with pytest.raises(ValueError, match="not finite"):
        certified_percentile([1.0, float("inf")], 0.9)
