"""A buyer's demand as 168 hourly rates: from one line of text, from a CSV file, or from a suite. Pure.

One line reads `40 lines x 30/s, 16 h x 5 d`: how many sources, what each asks for, and when. What it does not say (the
hour at which a working day begins) is assumed and listed.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from leptonbench.cost.capacity import Arrivals
from leptonbench.errors import UsageError
from leptonbench.schema import Assumption, DemandSpec

HOURS_PER_DAY, DAYS_PER_WEEK = 24, 7
HOURS_PER_WEEK = HOURS_PER_DAY * DAYS_PER_WEEK
START_HOUR = 6  # of a working day, where nothing else is said

_SECONDS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0}
_NUMBER = r"(\d[\d,_]*(?:\.\d+)?|\.\d+)"
_RATE = re.compile(
    rf"(?:{_NUMBER}\s*(?P<thing>[^\W\d]+(?:\s+[^\W\d]+)*)?\s*[x×*]\s*)?{_NUMBER}\s*/\s*(?P<unit>[^\s,]+)"
)
_HOURS = re.compile(rf"{_NUMBER}\s*h(?:ours?)?\s*[x×*]\s*{_NUMBER}\s*d(?:ays?)?")
_EXAMPLE = "write it like `40 lines x 30/s, 16 h x 5 d` or `12/s`, or give a CSV file"
_RATES = {"rate_per_s": 1.0, "rate_per_min": 60.0, "rate_per_h": 3600.0}
_INTENSITIES = {"g_per_kwh": 1.0, "kg_per_kwh": 1e-3}


class Demand(NamedTuple):
    """What is asked for, hour by hour.

    Attributes:
        rates_per_s: 168 rates from Monday's midnight on.
        source: Where they come from, fit to be shown.
        assumptions: What was not said and is taken for granted.
    """

    rates_per_s: tuple[float, ...]
    source: str
    assumptions: tuple[Assumption, ...] = ()

    @property
    def arrivals(self) -> Arrivals:
        """Return the week as capacity planning takes it: Poisson within each hour."""
        return Arrivals(self.rates_per_s)


def parse_demand(text: str, *, date: str) -> Demand:
    """Return the demand that one line of text states.

    Args:
        text: `[N things x] R/unit[, H h x D d]`; without hours, around the clock.
        date: Of the plan, for what is assumed.

    Raises:
        UsageError: If it is no demand, a unit is unknown, a number is not positive, or a week has not so many hours.
    """
    rate_text, comma, hours_text = text.strip().partition(", ")
    if not comma:
        rate_text, comma, hours_text = _split_bare_comma(rate_text)
    rate_per_s = _rate(text, rate_text)
    if not comma:
        return Demand((rate_per_s,) * HOURS_PER_WEEK, f"`{text}`", (_taken("hours a week", 168, "h", date),))
    hours, days = _hours(text, hours_text)
    start = 0 if hours == HOURS_PER_DAY else min(START_HOUR, HOURS_PER_DAY - hours)
    day = tuple(rate_per_s if start <= hour < start + hours else 0.0 for hour in range(HOURS_PER_DAY))
    rates = day * days + (0.0,) * (HOURS_PER_DAY * (DAYS_PER_WEEK - days))
    rows = () if hours == HOURS_PER_DAY else (_taken("first hour of a working day", start, "h", date),)
    return Demand(rates, f"`{text}`", rows)


def _split_bare_comma(text: str) -> tuple[str, str, str]:
    """Split `30/s,16 h x 5 d`; a comma within a number is followed by three digits and stays."""
    parts = re.split(r"(?<=[a-z]),\s*", text, maxsplit=1)
    return (parts[0], ",", parts[1]) if len(parts) == 2 else (text, "", "")


def _taken(what: str, value: float, unit: str, date: str) -> Assumption:
    return Assumption(
        name=f"demand: {what}", value=value, unit=unit, source="not stated, assumed", date=date, assumed=True
    )


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("_", ""))


def _rate(whole: str, text: str) -> float:
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"`{whole}` is not a demand", cause=f"`{text.strip()}` is no rate", hint=_EXAMPLE)
    unit = match["unit"]
    if unit not in _SECONDS:
        known = ", ".join(f"/{name}" for name in ("s", "min", "h", "d"))
        raise UsageError(f"`{whole}` is not a demand", cause=f"`/{unit}` is no unit of a rate", hint=f"known: {known}")
    count = _number(match[1]) if match[1] else 1.0
    rate_per_s = count * _number(match[3]) / _SECONDS[unit]
    if not 0 < rate_per_s < math.inf:
        raise UsageError(f"`{whole}` asks for nothing", cause=f"its rate is {rate_per_s:g}/s", hint=_EXAMPLE)
    return rate_per_s


def _hours(whole: str, text: str) -> tuple[int, int]:
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        cause = f"`{text.strip()}` is not hours a day and days a week"
        raise UsageError(f"`{whole}` is not a demand", cause=cause, hint=_EXAMPLE)
    hours, days = _number(match[1]), _number(match[2])
    if not (0 < hours <= HOURS_PER_DAY and 0 < days <= DAYS_PER_WEEK and hours == int(hours) and days == int(days)):
        cause = f"{hours:g} h x {days:g} d: whole hours from 1 to 24, whole days from 1 to 7"
        raise UsageError(f"`{whole}` is not a demand", cause=cause, hint="a CSV file states any other week")
    return int(hours), int(days)


def of_suite(demand: DemandSpec, *, suite: str, date: str) -> Demand:
    """Return a suite's own demand over the week; its working days come first.

    Its rate is an assumption about the buyer, and so is its curve unless the suite says where that was read.

    Args:
        demand: Of the suite.
        suite: Its name.
        date: Of the plan.
    """
    source = f"suite `{suite}`" + (f"; shares of the hours: {demand.curve_source}" if demand.curve_source else "")
    rate = Assumption(
        name="demand: rate in the busiest hour",
        value=demand.rate_per_s,
        unit="1/s",
        source=source,
        date=date,
        assumed=True,
    )
    told = f"suite `{suite}`: {demand.description.get('en', suite)}"
    return Demand(Arrivals.of_demand(demand).rates_per_s, told, (rate,))


def parse_curve(text: str, *, name: str) -> Demand:
    """Return the demand that a CSV file states.

    Columns are `hour` or `time`, and one rate that names its unit: `rate_per_s`, `rate_per_min` or `rate_per_h`. 24
    hours are every day's, 168 are a week's from Monday's midnight; times run on hour by hour over whole weeks, and each
    hour of the week is asked for at the highest rate of its weeks.

    Args:
        text: Of the file.
        name: For errors.

    Raises:
        UsageError: If a column is missing or has no unit, a value is no number or negative, or an hour is missing.
    """
    file = _File(name, "demand curve", _RATES)
    week = file.week(text)
    if not any(week):
        raise file.error("every rate is 0", "state the rate of at least one hour")
    return Demand(tuple(week), f"`{name}`")


def parse_grid(text: str, *, name: str) -> tuple[float, ...]:
    """Return the grid's carbon in g/kWh for each hour of the week, from a CSV file as `parse_curve` reads it.

    Its column is `g_per_kwh` or `kg_per_kwh`.

    Raises:
        UsageError: As `parse_curve`.
    """
    return tuple(_File(name, "carbon curve", _INTENSITIES).week(text))


class _File(NamedTuple):
    """A CSV file with one value an hour.

    Attributes:
        name: For errors.
        kind: What it is to be.
        columns: What a column's value is divided by, by the names that it may have.
    """

    name: str
    kind: str
    columns: Mapping[str, float]

    def error(self, cause: str, hint: str = "") -> UsageError:
        """Build the error that names the file."""
        columns = ", ".join(f"`{known}`" for known in self.columns)
        usual = f"columns `hour` (0 to 23, or 0 to 167 from Monday's midnight) or `time` (ISO), and one of {columns}"
        return UsageError(f"`{self.name}` is not a {self.kind}", cause=cause, hint=hint or usual)

    def week(self, text: str) -> list[float]:
        """Return 168 values from Monday's midnight on."""
        rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
        header = [cell.strip() for cell in rows[0]] if rows else []
        where, value = self._columns(header)
        factor = self.columns[header[value]]
        values = [self._value(row, value, line) / factor for line, row in enumerate(rows[1:], 2)]
        marks = [row[where].strip() if where < len(row) else "" for row in rows[1:]]
        return self._of_times(marks, values) if header[where] == "time" else self._of_hours(marks, values)

    def _columns(self, header: Sequence[str]) -> tuple[int, int]:
        found = [column for column in header if column in self.columns]
        where = [column for column in header if column in ("hour", "time")]
        if len(where) != 1:
            raise self.error(f"it has columns {', '.join(header) or 'none'}, and wants one of `hour` and `time`")
        if len(found) != 1:
            other = next((column for column in header if column not in ("hour", "time")), "")
            cause = f"column `{other}` has no unit that is known" if other else "it has no column of values"
            raise self.error(cause, f"call it {', '.join(f'`{known}`' for known in self.columns)}")
        return header.index(where[0]), header.index(found[0])

    def _value(self, row: Sequence[str], index: int, line: int) -> float:
        text = row[index].strip() if index < len(row) else ""
        try:
            value = float(text)
        except ValueError:
            raise self.error(
                f"line {line}: `{text}` is no number", "write a number in every hour, 0 for none"
            ) from None
        if not math.isfinite(value) or value < 0:
            raise self.error(f"line {line}: {text} is out of range", "values are finite and not negative")
        return value

    def _of_hours(self, marks: Sequence[str], values: Sequence[float]) -> list[float]:
        expected = HOURS_PER_DAY if len(marks) <= HOURS_PER_DAY else HOURS_PER_WEEK
        for index in range(max(expected, len(marks))):
            found = marks[index] if index < len(marks) else "the end of the file"
            if index >= expected or found != str(index):
                wanted = f"hour {index}" if index < expected else "the end of the file"
                cause = f"line {index + 2}: expected {wanted}, found {found}"
                raise self.error(cause, "list 24 or 168 hours in order, from 0")
        return list(values) * (HOURS_PER_WEEK // expected)

    def _of_times(self, marks: Sequence[str], values: Sequence[float]) -> list[float]:
        times = [self._time(mark, line) for line, mark in enumerate(marks, 2)]
        if len({when.tzinfo is None for when in times}) > 1:
            raise self.error("some times have a time zone, and others have none", "write all of them alike")
        for index in range(1, len(times)):
            if times[index] - times[index - 1] != timedelta(hours=1):
                cause = f"line {index + 2}: {marks[index]} does not follow {marks[index - 1]} by one hour"
                raise self.error(cause, "every hour once, in order")
        if not times or len(times) % HOURS_PER_WEEK:
            raise self.error(f"it has {len(times)} hours", f"whole weeks have multiples of {HOURS_PER_WEEK}")
        week = [0.0] * HOURS_PER_WEEK
        for when, value in zip(times, values, strict=True):
            hour = when.weekday() * HOURS_PER_DAY + when.hour
            week[hour] = max(week[hour], value)
        return week

    def _time(self, mark: str, line: int) -> datetime:
        try:
            when = datetime.fromisoformat(mark)
        except ValueError:
            raise self.error(f"line {line}: `{mark}` is no time", "write it like 2026-03-02T06:00") from None
        if when.minute or when.second:
            raise self.error(f"line {line}: {mark} is no full hour", "one value an hour, on the hour")
        return when
