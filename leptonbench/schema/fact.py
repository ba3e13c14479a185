"""A published figure with its source and date."""

from __future__ import annotations

from pydantic import Field

from leptonbench.schema.quantity import Frozen


class Fact(Frozen):
    """A published figure with its source and date; an assumed one says so.

    Attributes:
        value: In `unit`.
        low: Lower end of the plausible range, if known.
        high: Upper end of the plausible range, if known.
        source: Where it was read.
        date: When it was published or read (ISO, `YYYY-MM-DD` or a coarser prefix).
        assumed: True where it is a judgement rather than a published figure.
    """

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    source: str
    date: str = Field(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")
    assumed: bool = False
    note: str | None = None
