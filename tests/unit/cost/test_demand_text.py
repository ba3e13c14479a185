"""A demand as text or as a CSV file: what it means, and what is refused."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from leptonbench import catalog
from leptonbench.cost.demand import HOURS_PER_WEEK, of_suite, parse_curve, parse_demand, parse_grid
from leptonbench.errors import UsageError

DAY = "2026-11-23"


def hours(count: int, value: str = "1", unit: str = "rate_per_s") -> str:
    return f"hour,{unit}\n" + "".join(f"{hour},{value}\n" for hour in range(count))


def times(count: int, *, first: str = "2026-03-02", skip: int | None = None) -> str:
    start = datetime.fromisoformat(first)
    rows = [f"{(start + timedelta(hours=h)).isoformat()},{h % 5}" for h in range(count) if h != skip]
    return "\n".join(["time,rate_per_s", *rows])


def test_forty_lines_in_two_shifts() -> None:
    demand = parse_demand("40 lines x 30/s, 16 h x 5 d", date=DAY)
    assert len(demand.rates_per_s) == HOURS_PER_WEEK
    assert set(demand.rates_per_s) == {0.0, 1200.0}
    assert sum(rate > 0 for rate in demand.rates_per_s) == 80
    assert demand.rates_per_s[5:7] == (0.0, 1200.0)  # Monday, from six o'clock
    assert not any(demand.rates_per_s[5 * 24 :])
    assert [row.value for row in demand.assumptions] == [6]


@pytest.mark.parametrize(
    ("text", "rate_per_s", "busy"),
    [
        ("12/s", 12, 168),
        ("1,200/s", 1200, 168),
        ("86400/day", 1, 168),
        ("60/min, 24 h x 7 d", 1, 168),
        ("300 street cameras x 1/s,8 h x 7 d", 300, 56),
        ("0.5/s, 23 h x 1 d", 0.5, 23),
    ],
)
def test_a_line_of_text_says_rate_and_hours(text: str, rate_per_s: float, busy: int) -> None:
    demand = parse_demand(text, date=DAY)
    assert max(demand.rates_per_s) == pytest.approx(rate_per_s)
    assert sum(rate > 0 for rate in demand.rates_per_s) == busy


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("40 lines", "is no rate"),
        ("30 fps", "is no rate"),
        ("-3/s", "is no rate"),
        ("0/s", "its rate is 0/s"),
        ("0 lines x 3/s", "its rate is 0/s"),
        ("30/fortnight", "no unit"),
        ("30/s, 25 h x 5 d", "from 1 to 24"),
        ("30/s, 16 h x 8 d", "from 1 to 7"),
        ("30/s, 7.5 h x 5 d", "whole hours"),
        ("30/s, mornings", "hours a day"),
    ],
)
def test_a_line_that_is_no_demand_is_refused_in_three_parts(text: str, cause: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_demand(text, date=DAY)
    assert cause in caught.value.cause
    assert caught.value.hint


def test_a_file_of_24_hours_is_every_day() -> None:
    text = "hour,rate_per_min\n" + "".join(f"{hour},{60 * hour}\n" for hour in range(24))
    assert parse_curve(text, name="c.csv").rates_per_s == tuple(float(h) for h in range(24)) * 7


def test_a_file_of_weeks_asks_for_the_highest_of_each_hour() -> None:
    demand = parse_curve(times(2 * HOURS_PER_WEEK), name="c.csv")
    expected = [max(h % 5, (h + HOURS_PER_WEEK) % 5) for h in range(HOURS_PER_WEEK)]
    assert list(demand.rates_per_s) == expected


def test_times_with_and_without_a_zone_do_not_mix() -> None:
    text = times(HOURS_PER_WEEK).replace("T05:00", "T05:00+00:00", 1)
    with pytest.raises(UsageError) as caught:
        parse_curve(text, name="c.csv")
    assert "time zone" in caught.value.cause


def test_a_file_that_begins_midweek_is_put_on_its_weekdays() -> None:
    one = parse_curve(times(HOURS_PER_WEEK, first="2026-03-05"), name="c.csv")  # a Thursday
    assert one.rates_per_s[3 * 24 : 3 * 24 + 5] == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "wants one of `hour` and `time`"),
        ("hour,rate\n0,1\n", "`rate` has no unit"),
        ("hour,rate_per_week\n0,1\n", "`rate_per_week` has no unit"),
        ("hour\n0\n", "no column of values"),
        (hours(24, "-1"), "line 2: -1 is out of range"),
        (hours(24, "nan"), "line 2: nan is out of range"),
        (hours(24, "many"), "line 2: `many` is no number"),
        (hours(24, ""), "line 2: `` is no number"),
        (hours(23), "line 25: expected hour 23, found the end of the file"),
        (hours(25), "line 27: expected hour 25, found the end of the file"),
        (hours(169), "line 170: expected the end of the file, found 168"),
        (hours(24, "0"), "every rate is 0"),
        (times(HOURS_PER_WEEK, skip=30), "line 32"),
        (times(100), "it has 100 hours"),
        ("time,rate_per_s\nnoon,1\n", "`noon` is no time"),
        ("time,rate_per_s\n2026-03-02T00:30,1\n", "no full hour"),
    ],
)
def test_a_curve_with_gaps_negatives_or_a_wrong_unit_is_refused(text: str, cause: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_curve(text, name="c.csv")
    assert cause in caught.value.cause
    assert "c.csv" in caught.value.message
    assert caught.value.hint


def test_the_grid_by_the_hour_may_be_zero_and_is_in_grams() -> None:
    assert parse_grid(hours(24, "0.4", "kg_per_kwh"), name="g.csv") == pytest.approx([400.0] * 168)
    assert set(parse_grid(hours(168, "0", "g_per_kwh"), name="g.csv")) == {0.0}
    with pytest.raises(UsageError, match="not a carbon curve"):
        parse_grid(hours(24), name="g.csv")


@pytest.mark.parametrize("suite", catalog.suite_names())
def test_every_suite_has_a_week(suite: str) -> None:
    spec = catalog.load_suite(suite).demand
    demand = of_suite(spec, suite=suite, date=DAY)
    assert max(demand.rates_per_s) == pytest.approx(spec.rate_per_s)
    assert sum(demand.rates_per_s) == pytest.approx(spec.rate_per_s * spec.full_hours_per_week)
