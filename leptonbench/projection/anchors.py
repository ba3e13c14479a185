"""A device in a benchmark that it has no published result for, from the results of others and its own elsewhere."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np

from leptonbench.projection.model import Array, Point, Traits, Variances, predict
from leptonbench.projection.results import Column, Observation, precision_of


class Kin(StrEnum):
    """How near the nearest relative is that published the model asked for, in the same kind of scenario."""

    CHIP = "same chip"
    ARCHITECTURE = "same architecture"
    VENDOR = "same vendor"
    NONE = "other vendors only"


class Own(StrEnum):
    """What the device published that others of the asked model did, too, in the same kind of scenario."""

    MODEL = "the same model"
    SEVERAL = "3 or more other models"
    FEW = "1 or 2 other models"
    NOTHING = "nothing"


SEVERAL = 3


class Support(NamedTuple):
    """What a projection stands on; its error is that of back-tests that stood on the same."""

    own: Own
    kin: Kin
    by_latency: bool


class Input(NamedTuple):
    """A published result that a projection leans on; `weight` is the power that its rate enters with."""

    observation: Observation
    weight: float


class Projected(NamedTuple):
    """A projected rate of one device in samples per second, and all that it stands on, the heaviest first."""

    rate_per_s: float
    support: Support
    inputs: tuple[Input, ...]
    precision: str


@dataclass(frozen=True)
class Table:
    """What is published, as the model reads it.

    Attributes:
        observations: In one order.
        traits: By device.
        variances: The fitted constants.
    """

    observations: tuple[Observation, ...]
    traits: Mapping[str, Traits]
    variances: Variances

    @cached_property
    def precisions(self) -> dict[str, str]:
        """Return each benchmark's precision."""
        names = {one.column.benchmark for one in self.observations}
        return {name: precision_of(self.observations, name) for name in names}

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Return the observations as points, in their order."""
        return tuple(self.point(one.device, one.column, len(one.submissions)) for one in self.observations)

    @cached_property
    def log_rates(self) -> Array:
        """Return the observed log rates in their order, `(n,)`."""
        return np.array([one.log_rate for one in self.observations])

    def point(self, device: str, column: Column, submissions: int = 1) -> Point:
        """Return a device in a column as the model sees it."""
        return Point(device, column, self.traits[device], self.precisions.get(column.benchmark, ""), submissions)

    def restricted(self, devices: Collection[str]) -> Table:
        """Return the table with these devices alone."""
        kept = tuple(one for one in self.observations if one.device in devices)
        return Table(kept, self.traits, self.variances)

    def has(self, column: Column, *, besides: str) -> bool:
        """Tell whether any other device published the column."""
        return any(one.column == column and one.device != besides for one in self.observations)


def support(asked: Point, known: Sequence[Point]) -> Support:
    """Return what a projection of a point stands on.

    The device's own results count where a device that published the asked model published them, too: without a shared
    model there is no ratio between the two. Without any, only relatives with published figures count as such.
    """
    latency, family = asked.column.by_latency, asked.column.family
    families: dict[str, set[str]] = defaultdict(set)
    others: dict[str, Traits] = {}
    for point in known:
        if point.column.by_latency == latency:
            families[point.device].add(point.column.family)
            if point.column.family == family and point.device != asked.device:
                others[point.device] = point.traits
    shared = {one for name in others for one in families[name]} & families[asked.device]
    own = _own(shared, family)
    relatives = [one for one in others.values() if own is not Own.NOTHING or one.size(asked.precision) is not None]
    return Support(own, _kin(asked.traits, relatives), latency)


def _own(families: set[str], asked: str) -> Own:
    if asked in families:
        return Own.MODEL
    if len(families) >= SEVERAL:
        return Own.SEVERAL
    return Own.FEW if families else Own.NOTHING


def _kin(traits: Traits, others: Sequence[Traits]) -> Kin:
    vendor = [one for one in others if one.vendor == traits.vendor]
    if any(one.chip == traits.chip for one in vendor):
        return Kin.CHIP
    if any(one.architecture == traits.architecture for one in vendor):
        return Kin.ARCHITECTURE
    return Kin.VENDOR if vendor else Kin.NONE


def project(table: Table, device: str, column: Column) -> Projected:
    """Project a device in a column from everything in the table but that very result.

    Args:
        table: What is published; it holds the column for some other device.
        device: With traits in the table.
        column: Asked for.
    """
    known = [i for i, one in enumerate(table.observations) if (one.device, one.column) != (device, column)]
    points = [table.points[i] for i in known]
    asked = table.point(device, column)
    (found,) = predict(points, table.log_rates[known], [asked], table.variances)
    order = np.argsort(-np.abs(found.weights))
    inputs = tuple(Input(table.observations[known[i]], float(found.weights[i])) for i in order)
    return Projected(math.exp(found.mean), support(asked, points), inputs, asked.precision)
