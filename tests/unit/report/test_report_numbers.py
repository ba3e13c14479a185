from __future__ import annotations

import pytest

from leptonbench.report.numbers import clearly_better, figure, plain, ratio, scale_for, ticks, write
from leptonbench.schema import Provenance, Quantity


def q(value: float, low: float | None = None, high: float | None = None, unit: str = "s") -> Quantity:
    return Quantity(value=value, unit=unit, low=low, high=high, provenance=Provenance.MEASURED)


@pytest.mark.parametrize(
    ("value", "unit", "tag", "text"),
    [
        (0.00706, "s", "latency_p50", "7.06\u00a0ms"),
        (0.0000184, "s", "postprocess", "18.4\u00a0µs"),
        (0.9999e-3, "s", "latency_p50", "1.00\u00a0ms"),
        (1.5, "s", "latency_p50", "1.50\u00a0s"),
        (44_795_112, "B", "model_size", "44.8\u00a0MB"),
        (0.152, "J", "energy_per_inference", "152\u00a0mJ"),
        (1234.0, "1/s", "throughput", "1.23\u00a0k/s"),
        (0.9817, "1", "quality", "98.2\u00a0%"),
        (-0.0023, "1", "quality_delta", "\u22120.23\u00a0pp"),
        (0.0041, "1", "quality_delta", "+0.41\u00a0pp"),
        (0.0, "1", "quality_delta", "0.00\u00a0pp"),
        (2.463, "1", "speedup", "2.46\u00a0×"),
        (0.197, "USD", "cost_per_million", "0.197\u00a0USD"),
        (1_814_000_000, "1", "macs", "1.81\u00a0G"),
    ],
)
def test_shows_three_significant_digits_in_a_friendly_unit(value: float, unit: str, tag: str, text: str) -> None:
    assert plain(value, unit, tag) == text


def test_rounding_up_to_the_next_power_keeps_three_digits() -> None:
    assert figure("latency_p50", q(0.009996)).text == "10.0"


def test_thousands_are_set_apart_and_a_rounded_zero_has_no_sign() -> None:
    assert write(12345.6, 0) == "12,346"
    assert write(-0.001, 2, signed=True) == "0.00"


def test_the_interval_is_shown_in_the_unit_and_decimals_of_its_value() -> None:
    shown = figure("latency_p50", q(0.00706, 0.0070049, 0.01213))
    assert (shown.text, shown.low_text, shown.high_text, shown.unit) == ("7.06", "7.00", "12.13", "ms")
    assert (shown.value, shown.low, shown.high) == (0.00706, 0.0070049, 0.01213)


def test_an_absent_value_shows_a_dash_and_keeps_its_reason() -> None:
    shown = figure("latency_p99", Quantity.null("s", "too few"))
    assert (shown.text, shown.value, shown.why, shown.span) == ("\u2014", None, "too few", "")


def test_one_unit_serves_a_column_by_its_median() -> None:
    assert scale_for("latency_p50", "s", [0.0004, 0.02, 3.0]).unit == "ms"
    assert scale_for("latency_p50", "s", []).unit == "s"
    assert scale_for("x", "furlong", [1.0]).unit == "furlong"


def test_better_needs_intervals_clear_of_each_other() -> None:
    assert clearly_better("latency_p50", q(1, 0.9, 1.1), q(2, 1.2, 2.2))
    assert not clearly_better("latency_p50", q(1, 0.9, 1.2), q(2, 1.2, 2.2))
    assert not clearly_better("latency_p50", q(2, 1.9, 2.1), q(1, 0.9, 1.1))
    assert clearly_better("throughput", q(2, 1.9, 2.1, "1/s"), q(1, 0.9, 1.1, "1/s"))
    assert not clearly_better("theoretical_speedup", q(4, unit="1"), q(1, unit="1"))


def test_a_ratio_takes_the_far_ends_of_both_intervals() -> None:
    found = ratio(q(4, 3.8, 4.2), q(2, 1.9, 2.1))
    assert found is not None
    assert found.value == 2
    assert found.low == pytest.approx(3.8 / 2.1)
    assert found.high == pytest.approx(4.2 / 1.9)


def test_a_ratio_without_an_interval_says_so_and_an_impossible_one_is_absent() -> None:
    assert ratio(q(4), q(2, 1.9, 2.1)) == (2.0, None, None)
    assert ratio(q(4), q(0.0)) is None
    assert ratio(q(4, 3, 5), q(2, -1, 3)) is None


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0, 10, False, [0, 2, 4, 6, 8, 10]),
        (0.31, 1.05, False, [0.4, 0.6, 0.8, 1.0]),
        (3, 300, True, [5, 10, 20, 50, 100, 200]),
        (0.5, 20_000, True, [1, 10, 100, 1000, 10_000]),
    ],
)
def test_ticks_are_round_and_within_the_range(low: float, high: float, log: bool, expected: list[float]) -> None:
    assert ticks(low, high, log=log) == pytest.approx(expected)


@pytest.mark.parametrize(("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 10, True)])
def test_ticks_refuse_an_impossible_range(low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match="no ticks"):
        ticks(low, high, log=log)
