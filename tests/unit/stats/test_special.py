from __future__ import annotations

import math

import pytest

from leptonbench.stats.special import binomial_cdf, incomplete_beta, t_critical, t_upper_tail


# Reference values to 13 digits from an independent implementation (Boost's, by way of a scientific library).
@pytest.mark.parametrize(
    ("confidence", "dof", "expected"),
    [
        (0.95, 1, 12.706204736174694),
        (0.95, 2, 4.302652729749462),
        (0.95, 3.7, 2.8675207071911895),
        (0.99, 10, 3.16927267261695),
        (0.9, 1e3, 1.6463788172854643),
        (0.95, 1e6, 1.959966356814107),
        (0.9999, 1, 6366.197671316637),
        (0.95, 0.5, 164.55767348048818),
    ],
)
def test_t_critical_matches_reference(confidence: float, dof: float, expected: float):
    assert t_critical(confidence, dof) == pytest.approx(expected, rel=1e-9)


def test_t_critical_matches_the_closed_forms_of_one_and_two_degrees():
    for confidence in (0.5, 0.8, 0.95, 0.999):
        assert t_critical(confidence, 1) == pytest.approx(math.tan(math.pi * confidence / 2), rel=1e-11)
        assert t_critical(confidence, 2) == pytest.approx(confidence * math.sqrt(2 / (1 - confidence**2)), rel=1e-11)


def test_t_upper_tail_of_zero_is_half():
    assert t_upper_tail(0.0, 3.3) == 0.5


def test_incomplete_beta_of_whole_parameters_is_a_binomial_tail():
    a, b, x = 4, 7, 0.3
    n = a + b - 1
    expected = sum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1))
    assert incomplete_beta(a, b, x) == pytest.approx(expected, rel=1e-13)
    assert (incomplete_beta(a, b, 0.0), incomplete_beta(a, b, 1.0)) == (0.0, 1.0)


def test_binomial_cdf_matches_exact_sum():
    for n, k, p in ((10, 3, 0.3), (40, 0, 0.01), (40, 39, 0.5)):
        expected = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))
        assert binomial_cdf(k, n, p) == pytest.approx(expected, rel=1e-12)
    assert (binomial_cdf(-1, 5, 0.5), binomial_cdf(5, 5, 0.5)) == (0.0, 1.0)


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="t quantile"):
        t_critical(1.0, 3)
    with pytest.raises(ValueError, match="t quantile"):
        t_critical(0.95, 0)
    with pytest.raises(ValueError, match="incomplete beta"):
        incomplete_beta(1.0, 1.0, 1.5)
