"""What a buyer needs: a rate of answers, and when."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from leptonbench.schema.quantity import Frozen

Text = dict[Literal["en", "zh"], str]
HOURS_PER_DAY = 24


class DemandSpec(Frozen):
    """What the buyer needs: the same rate in all of the demand's hours, or a curve by the hour.

    Attributes:
        rate_per_s: In the demand's hours; with a curve, in its busiest hour.
        utilisation: Fraction of its sustained rate that a paid unit is loaded with at `rate_per_s`; the rest is
            headroom for peaks and failures.
        hours_per_day: Hours of a working day with any demand; a curve says so itself.
        days_per_week: Working days.
        working_day: Share of `rate_per_s` in each hour of a working day, from midnight; the largest share is 1.
        other_day: Likewise of the other days; `None` where they ask for nothing.
        curve_source: Where the curve was read; `None` where it is assumed.
    """

    description: Text
    rate_per_s: float = Field(gt=0)
    utilisation: float = Field(default=0.7, gt=0, le=1)
    hours_per_day: float = Field(gt=0, le=24)
    days_per_week: float = Field(gt=0, le=7)
    working_day: tuple[float, ...] | None = None
    other_day: tuple[float, ...] | None = None
    curve_source: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _hours_of_the_curve(cls, data: Any) -> Any:
        day = data.get("working_day") if isinstance(data, dict) else None
        if not isinstance(day, list | tuple) or not all(isinstance(share, int | float) for share in day):
            return data
        asked = sum(share > 0 for share in day)
        stated = data.get("hours_per_day", asked)
        if stated != asked:
            raise ValueError(f"`working_day` has {asked} hours with demand and `hours_per_day` says {stated}")
        return {**data, "hours_per_day": asked}

    @field_validator("working_day", "other_day")
    @classmethod
    def _shares(cls, day: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if day is not None and len(day) != HOURS_PER_DAY:
            raise ValueError(f"a day has {HOURS_PER_DAY} hours, and here are {len(day)} values")
        if day is not None and not all(0 <= share <= 1 for share in day):
            raise ValueError("each hour is a share of the busiest hour's rate, from 0 to 1")
        return day

    @model_validator(mode="after")
    def _busiest_is_one(self) -> DemandSpec:
        if self.working_day is None:
            if self.other_day is not None:
                raise ValueError("`other_day` belongs to a curve, and there is no `working_day`")
        elif max(self.working_day + (self.other_day or ())) != 1:
            raise ValueError("the busiest hour of `working_day` and `other_day` is 1, which stands for `rate_per_s`")
        if self.other_day is not None and self.days_per_week == 7:
            raise ValueError("`other_day` has no day: all seven are working days (`days_per_week`)")
        return self

    @property
    def full_hours_per_week(self) -> float:
        """Return how many hours at `rate_per_s` would ask for as many answers as a whole week does."""
        if self.working_day is None:
            return self.hours_per_day * self.days_per_week
        others = sum(self.other_day or ()) * (7 - self.days_per_week)
        return sum(self.working_day) * self.days_per_week + others
