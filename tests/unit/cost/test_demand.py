"""A demand by the hour: what is refused, and what it does to the price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from leptonbench import catalog
from leptonbench.cost.use import HOURS_PER_WEEK, demand_assumptions, utilisation
from leptonbench.errors import UsageError
from leptonbench.schema import DemandSpec

OFFICE = (0.0,) * 8 + (0.5, 1.0, 1.0, 0.5) + (0.0,) * 12
QUIET = (0.0,) * 9 + (0.25,) * 2 + (0.0,) * 13


def demand(**changes: Any) -> DemandSpec:
    stated = {"description": {"en": "d"}, "rate_per_s": 12, "days_per_week": 5, "working_day": OFFICE}
    return DemandSpec.model_validate(stated | changes)


def test_a_curve_says_how_many_hours_a_day_ask_for_anything() -> None:
    assert demand().hours_per_day == 4
    assert demand(hours_per_day=4).hours_per_day == 4


def test_a_week_is_its_working_and_its_other_days() -> None:
    assert demand().full_hours_per_week == pytest.approx(5 * 3.0)
    assert demand(other_day=QUIET).full_hours_per_week == pytest.approx(5 * 3.0 + 2 * 0.5)


def test_a_flat_curve_is_the_same_as_hours_and_days() -> None:
    flat = demand(working_day=(1.0,) * 16 + (0.0,) * 8)
    plain = DemandSpec(description={"en": "d"}, rate_per_s=12, hours_per_day=16, days_per_week=5)
    for always_on in (True, False):
        assert utilisation(flat, always_on=always_on) == pytest.approx(utilisation(plain, always_on=always_on))


def test_owned_units_are_used_by_the_mean_of_the_curve_and_rented_ones_follow_it() -> None:
    assert utilisation(demand(other_day=QUIET), always_on=True) == pytest.approx(0.7 * 16 / HOURS_PER_WEEK)
    assert utilisation(demand(other_day=QUIET), always_on=False) == pytest.approx(0.7)


def test_the_mean_is_listed_among_the_assumptions() -> None:
    rows = {row.name: row for row in demand_assumptions("office", demand(), date="2026-11-23")}
    mean = rows["demand: mean over the week / busiest hour"]
    assert mean.value == pytest.approx(15 / 168) and mean.assumed
    published = demand_assumptions("office", demand(curve_source="a table"), date="2026-11-23")[1]
    assert not published.assumed and published.source == "suite `office`, from a table"


def test_it_survives_being_written_and_read() -> None:
    given = demand(other_day=QUIET)
    assert DemandSpec.model_validate_json(given.model_dump_json()) == given


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"working_day": OFFICE[:23]}, "a day has 24 hours, and here are 23 values"),
        ({"working_day": (*OFFICE[:23], 1.5)}, "from 0 to 1"),
        ({"working_day": (*OFFICE[:23], -0.1)}, "from 0 to 1"),
        ({"working_day": (0.5,) * 24}, "the busiest hour"),
        ({"working_day": (*OFFICE[:23], float("nan"))}, "from 0 to 1"),
        ({"working_day": ("x",) * 24}, "valid number"),
        ({"hours_per_day": 5}, "has 4 hours with demand and `hours_per_day` says 5"),
        ({"other_day": (2.0,) * 24}, "from 0 to 1"),
        ({"other_day": QUIET, "days_per_week": 7}, "`other_day` has no day"),
        ({"working_day": None, "other_day": QUIET, "hours_per_day": 4}, "there is no `working_day`"),
        ({"working_day": None}, "hours_per_day"),
    ],
)
def test_what_is_no_curve_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        demand(**changes)
    assert problem in str(caught.value)


def test_a_wrong_curve_in_a_suite_is_named_by_line(tmp_path: Path) -> None:
    text = (catalog.data_root() / "workloads" / "suites" / "manufacturing.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("  hours_per_day: 16\n", "  working_day: [1, 1, 0.5]\n"), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        catalog.load_suite(str(path))
    assert "`demand.working_day`: a day has 24 hours, and here are 3 values" in caught.value.cause
