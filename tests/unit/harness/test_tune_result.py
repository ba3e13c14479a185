"""What a search says of what it found: ratios, verdicts, and what the queries can certify."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leptonbench.harness.request import LatencyTarget
from leptonbench.harness.search import Engine, Queue, Setting
from leptonbench.harness.tuning import (
    Described,
    certifiable,
    contributions,
    rate_verdict,
    ratio_of,
    window_queries,
)
from leptonbench.schema import EngineOptions, Provenance, Quantity
from leptonbench.stats.early_stopping import minimum_queries

BEST = Setting(Engine("openvino", 1, 2), Queue(4, 0.0))
WITHOUT = Setting(Engine("openvino", 2, 1), Queue(4, 0.0))


def test_a_ratio_is_paired_by_round_so_that_drift_cancels() -> None:
    drift = [1.0, 0.5, 2.0, 0.7, 1.4]
    ratio, word = ratio_of([150 * d for d in drift], [100 * d for d in drift])
    assert ratio.value == pytest.approx(1.5)
    assert ratio.low == pytest.approx(1.5)
    assert word == "faster"
    assert ratio.provenance is Provenance.SIMULATED, "modelled rates are not measured ones"


def test_a_ratio_whose_interval_holds_one_is_no_difference() -> None:
    _, word = ratio_of([100.0, 110.0, 95.0], [102.0, 100.0, 101.0])
    assert word == "no significant difference"


def test_an_option_that_costs_is_called_slower() -> None:
    assert ratio_of([80.0, 81.0, 79.0], [100.0, 101.0, 99.0])[1] == "slower"


def test_an_option_without_which_the_target_is_missed_has_no_ratio_and_is_faster() -> None:
    ratio, word = ratio_of([80.0, 81.0, 79.0], [0.0, 0.0, 0.0])
    assert ratio.value is None
    assert "no rate meets the target" in (ratio.why_null or "")
    assert word == "faster"


@pytest.mark.parametrize(
    ("mine", "other"), [([], []), ([5.0], [4.0]), ([0.0, 0.0], [0.0, 0.0]), ([5.0, 0.0], [4.0, 4.0])]
)
def test_fewer_than_two_rounds_say_nothing(mine: list[float], other: list[float]) -> None:
    ratio, word = ratio_of(mine, other)
    assert ratio.value is None
    assert word == "no significant difference"


def test_contributions_keep_the_settings_and_their_order() -> None:
    rates = {BEST: [200.0, 210.0, 205.0], WITHOUT: [100.0, 104.0, 101.0]}
    (found,) = contributions({"parallelism": WITHOUT}, rates, BEST)
    assert found.option == "parallelism"
    assert found.without.setting() == WITHOUT
    assert found.ratio.value == pytest.approx(2.02, abs=0.02)
    assert found.verdict == "faster"


def test_a_setting_survives_its_description() -> None:
    setting = Setting(Engine("onnxruntime", 3, 5, EngineOptions(io_binding=True)), Queue(8, 0.0025))
    assert Described.model_validate_json(Described.of(setting).model_dump_json()).setting() == setting


@pytest.mark.parametrize(
    ("value", "low", "high", "word"),
    [
        (1.3, 1.1, 1.5, "faster"),
        (0.7, 0.6, 0.9, "slower"),
        (1.1, 0.95, 1.3, "no significant difference"),
        (1.1, 1.0, 1.3, "no significant difference"),
    ],
)
def test_a_verified_ratio_is_judged_by_its_range(value: float, low: float, high: float, word: str) -> None:
    ratio = Quantity(value=value, low=low, high=high, unit="1", provenance=Provenance.MEASURED, method="m")
    assert rate_verdict(ratio) == word


def test_an_unverified_ratio_is_no_verdict() -> None:
    assert rate_verdict(Quantity.null("1", "too few rounds")) == "not verified"


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 20_000))
def test_the_certifiable_percentile_is_the_highest_that_the_rule_allows(queries: int) -> None:
    found = certifiable(queries)
    if found is None:
        assert queries < minimum_queries(0.5, 1)
        return
    assert minimum_queries(found, 1) <= queries
    assert found == 0.999 or minimum_queries(found + 0.001, 1) > queries


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999]), st.floats(0.1, 1e4), st.floats(0.5, 60.0))
def test_a_verifying_run_can_always_certify_its_percentile(percentile: float, rate: float, window_s: float) -> None:
    queries = window_queries(LatencyTarget(percentile=percentile, seconds=0.1), rate_per_s=rate, window_s=window_s)
    assert certifiable(queries) is not None
    assert minimum_queries(percentile, 1) <= queries <= minimum_queries(percentile, 20)
