"""What moves a choice: swings by figure, and the value at which a rival overtakes it."""

from __future__ import annotations

import pytest

from leptonbench.cost.sensitivity import Costing, effects, thresholds
from leptonbench.schema import Fact


def fact(value: float, low: float | None = None, high: float | None = None, unit: str = "USD") -> Fact:
    return Fact(value=value, unit=unit, low=low, high=high, source="a test", date="2026")


RENT = Costing({"rent": fact(10.0, 8.0, 16.0), "hours": fact(0.5, unit="1")}, lambda v: v["rent"] * v["hours"] * 20)
BUY = Costing({"price": fact(90.0, 60.0, 100.0), "power": fact(1.0, 0.5, 2.0)}, lambda v: v["price"] + 20 * v["power"])


def test_effects_are_of_figures_with_a_range_the_largest_first() -> None:
    found = effects(BUY)
    assert [(one.name, one.usd_at_low, one.usd_at_high) for one in found] == [
        ("price", 80.0, 120.0),
        ("power", 100.0, 130.0),
    ]
    assert [one.name for one in effects(RENT)] == ["rent"]


def test_thresholds_are_where_both_cost_the_same_the_least_change_first() -> None:
    found = {one.name: one for one in thresholds(RENT, [BUY])}
    assert RENT.usd(RENT.values) == 100.0
    assert BUY.usd(BUY.values) == 110.0
    assert found["rent"].value == pytest.approx(11.0, rel=1e-5)
    assert found["rent"].within
    assert found["hours"].value == pytest.approx(0.55, rel=1e-5)
    assert not found["hours"].within
    assert found["price"].value == pytest.approx(80.0, rel=1e-5)
    assert found["power"].value == pytest.approx(0.5, rel=1e-5)
    order = [one.name for one in thresholds(RENT, [BUY])]
    assert set(order[:2]) == {"rent", "hours"}  # ten per cent each
    assert order[2:] == ["price", "power"]


def test_the_nearest_rival_is_named() -> None:
    dearer = Costing({"other": fact(300.0)}, lambda v: v["other"])
    found = {one.name: one.rival for one in thresholds(RENT, [dearer, BUY])}
    assert found["rent"] == 1
    assert found["other"] == 0


def test_a_figure_that_both_share_moves_both() -> None:
    one = Costing({"tariff": fact(1.0)}, lambda v: 50 + v["tariff"] * 10)
    other = Costing({"tariff": fact(1.0)}, lambda v: 20 + v["tariff"] * 50)
    (found,) = thresholds(one, [other])
    assert found.value == pytest.approx(0.75, rel=1e-5)


def test_what_cannot_flip_the_choice_within_twentyfold_is_left_out() -> None:
    assert thresholds(Costing({"a": fact(1.0)}, lambda v: v["a"]), [Costing({}, lambda v: 1e3)]) == []


def test_a_building_s_overhead_does_not_fall_below_none() -> None:
    own = Costing({"pue": fact(1.5, unit="1")}, lambda v: 100 * v["pue"])
    assert thresholds(Costing({}, lambda v: 90.0), [own]) == []
    (found,) = thresholds(Costing({}, lambda v: 120.0), [own])
    assert found.value == pytest.approx(1.2, rel=1e-5)


def test_a_fraction_stays_below_one() -> None:
    half = Costing({"share": fact(0.5, unit="1")}, lambda v: 100 * v["share"])
    assert thresholds(half, [Costing({}, lambda v: 120.0)]) == []
