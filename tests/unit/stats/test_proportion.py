from __future__ import annotations

import numpy as np
import pytest

from leptonbench.stats.proportion import mcnemar_exact, paired_difference, wilson


def table(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


def test_wilson_matches_a_published_example():
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I: 81 of 263, 15 of 148, 0 of 20.
    for successes, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        interval = wilson(successes, n)
        assert (interval.low, interval.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilson_reaches_the_ends_exactly():
    assert wilson(0, 10).low == 0.0
    assert wilson(10, 10).high == 1.0


def test_newcombe_matches_a_published_example():
    # Fagerland, Lydersen and Laake (2014), airway hyper-responsiveness: -0.286, -0.507 to -0.026.
    interval = paired_difference(*table(1, 1, 7, 12))
    assert interval.value == pytest.approx(-6 / 21)
    assert (interval.low, interval.high) == (pytest.approx(-0.507, abs=5e-4), pytest.approx(-0.026, abs=5e-4))


def test_sides_exchanged_mirror_the_interval():
    a, b = table(80, 7, 3, 10)
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert one.low is not None
    assert one.high is not None
    assert (other.value, other.low, other.high) == pytest.approx((-one.value, -one.high, -one.low))


def test_no_discordant_sample_still_leaves_doubt():
    interval = paired_difference(*table(90, 0, 0, 10))
    assert interval.value == 0.0
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low < 0.0 < interval.high


def test_correlation_narrows_the_interval():
    together = paired_difference(*table(88, 4, 2, 6))
    apart = paired_difference(*table(83, 9, 7, 1))
    assert together.value == apart.value
    assert None not in (together.low, together.high, apart.low, apart.high)
    assert together.high - together.low < apart.high - apart.low


def test_paired_intervals_cover_about_as_often_as_they_say():
    rng = np.random.default_rng(9)
    hits, trials = 0, 1500
    for _ in range(trials):
        counts = rng.multinomial(300, [0.90, 0.04, 0.02, 0.04])
        interval = paired_difference(*table(*counts))
        assert interval.low is not None
        assert interval.high is not None
        hits += interval.low <= 0.02 <= interval.high
    assert 0.935 < hits / trials < 0.985


def test_mcnemar_is_the_exact_binomial_test():
    assert mcnemar_exact(1, 7) == pytest.approx(2 * (1 + 8) / 2**8)
    assert mcnemar_exact(7, 1) == mcnemar_exact(1, 7)
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5, 5) == 1.0
    assert mcnemar_exact(1000, 1100) == pytest.approx(0.0307207078642, rel=1e-9)


def test_what_means_nothing_is_refused():
    with pytest.raises(ValueError, match="successes"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, confidence=1.0)
    with pytest.raises(ValueError, match="same samples"):
        paired_difference([True], [True, False])
    with pytest.raises(ValueError, match="confidence"):
        paired_difference([True], [True], confidence=0.0)
    with pytest.raises(ValueError, match="negative"):
        mcnemar_exact(-1, 3)
