"""A number that never travels alone: value, unit, interval, n and how it was obtained."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, model_validator


class Frozen(BaseModel):
    """Base of every schema model: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", protected_namespaces=())


class Provenance(StrEnum):
    """How a number was obtained, from the strongest to the weakest evidence."""

    MEASURED = "measured"
    SIMULATED = "simulated"
    PROJECTED = "projected"
    ASSUMED = "assumed"

    @property
    def rank(self) -> int:
        """Return 0 for the strongest evidence, 3 for the weakest."""
        return list(Provenance).index(self)


def weakest(provenances: Iterable[Provenance]) -> Provenance:
    """Return the weakest of several provenances: what a combination of numbers may claim.

    Raises:
        ValueError: If there is none.
    """
    return max(provenances, key=lambda provenance: provenance.rank)


class Boundary(StrEnum):
    """What a joule includes."""

    DEVICE = "device"
    PACKAGE = "package"
    BOARD = "board"
    WALL = "wall"


class Quantity(Frozen):
    """One number with everything needed to defend it.

    Attributes:
        value: The number in SI (`unit`), or `None` with `why_null`.
        unit: SI unit as text: `s`, `J`, `W`, `B`, `1/s`, `USD`, `1`.
        low: Lower end of the interval, same unit; `None` where there is no interval.
        high: Upper end of the interval.
        own_low: As `low`, without what all cells of a run have in common (a price, a meter's band): cells of one run
            are compared by it. `None` where nothing is in common.
        own_high: As `high`, likewise.
        n: How many observations stand behind it: rounds for times, queries for percentiles pooled over rounds, samples
            for quality.
        confidence: Coverage of the interval (0.95), at least, or `None` where it is a stated range.
        provenance: How it was obtained; required when there is a value.
        method: One phrase that says how, shown to the reader.
        boundary: For energies, what the joules include.
        name: For quality, the metric's name (`top-1`).
        why_null: Why there is no value; required when there is none.
    """

    value: float | None = None
    unit: str
    low: float | None = None
    high: float | None = None
    own_low: float | None = None
    own_high: float | None = None
    n: int | None = None
    confidence: float | None = None
    provenance: Provenance | None = None
    method: str | None = None
    boundary: Boundary | None = None
    name: str | None = None
    why_null: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Quantity:
        if self.value is None:
            if not self.why_null:
                raise ValueError("a quantity without a value says why (`why_null`)")
            return self
        if self.provenance is None:
            raise ValueError("a quantity with a value has a provenance")
        for part in (self.value, self.low, self.high, self.own_low, self.own_high):
            if part is not None and not math.isfinite(part):
                raise ValueError("a quantity is finite; a non-finite number is a failure, not a value")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"interval is upside down: {self.low} > {self.high}")
        return self

    @classmethod
    def null(cls, unit: str, why: str, **rest: str | None) -> Quantity:
        """Build an absent quantity with its reason."""
        return cls.model_validate({"unit": unit, "why_null": why, **rest})
