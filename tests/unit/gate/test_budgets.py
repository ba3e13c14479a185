"""Budgets as people write them."""

from __future__ import annotations

import pytest

from leptonbench.errors import UsageError
from leptonbench.gate.budgets import judge_budget, parse_budget
from leptonbench.gate.model import Verdict
from leptonbench.schema import Provenance, Quantity


def _seconds(value: float, low: float | None = None, high: float | None = None, unit: str = "s") -> Quantity:
    return Quantity(value=value, low=low, high=high, unit=unit, n=5, provenance=Provenance.MEASURED)


@pytest.mark.parametrize(
    ("name", "text", "metric", "at_least", "value", "of_base"),
    [
        ("p99", "50ms", "latency_p99", False, 0.05, False),
        ("latency_p50", "<= 250 us", "latency_p50", False, 0.00025, False),
        ("quality", ">= 0.98 x base", "quality", True, 0.98, True),
        ("quality", "97%", "quality", True, 0.97, False),
        ("throughput", "120/s", "throughput", True, 120.0, False),
        ("memory", "1.5 GiB", "peak_memory", False, 1.5 * 2**30, False),
        ("energy", "20mJ", "energy_per_inference", False, 0.02, False),
        ("size", "<= 1.1 * base", "model_size", False, 1.1, True),
    ],
)
def test_a_budget_is_read(name: str, text: str, metric: str, at_least: bool, value: float, of_base: bool) -> None:
    found = parse_budget(name, text)
    assert (found.metric, found.at_least, found.of_base) == (metric, at_least, of_base)
    assert found.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p99", "fast", "is no budget"),
        ("p99", "50kg", "no unit"),
        ("p99", "50mJ", "no unit"),
        ("lattency_p50", "50ms", "no budget can be set"),
        ("quality", ">= 0.98 x bass", "is no budget"),
        ("quality", "", "is no budget"),
    ],
)
def test_what_is_no_budget_is_told(name: str, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_budget(name, text)


def test_a_budget_is_judged_by_the_value_and_the_interval_tells_how_sure() -> None:
    budget = parse_budget("p50", "50ms")
    assert judge_budget(budget, _seconds(0.04, 0.03, 0.06), None).verdict is Verdict.PASS
    assert judge_budget(budget, _seconds(0.055, 0.045, 0.06), None).verdict is Verdict.INCONCLUSIVE
    broken = judge_budget(budget, _seconds(0.06, 0.055, 0.065), None)
    assert broken.verdict is Verdict.REGRESSED
    assert "0.06 s, at most 0.05 s wanted (`50ms`)" in broken.reason
    assert judge_budget(budget, _seconds(0.06), None).verdict is Verdict.REGRESSED


def test_a_share_of_the_base_wants_a_base() -> None:
    budget = parse_budget("quality", ">= 0.98 x base")
    assert judge_budget(budget, _seconds(0.97, unit="1"), _seconds(0.98, unit="1")).verdict is Verdict.PASS
    assert judge_budget(budget, _seconds(0.9, unit="1"), _seconds(0.98, unit="1")).verdict is Verdict.REGRESSED
    assert judge_budget(budget, _seconds(0.9, unit="1"), None).verdict is Verdict.INCOMPARABLE


def test_a_figure_that_is_absent_is_told_with_its_reason() -> None:
    found = judge_budget(parse_budget("p99", "50ms"), Quantity.null("s", "p99 needs 662 queries"), None)
    assert found.verdict is Verdict.INCOMPARABLE
    assert "p99 needs 662 queries" in found.reason
