"""How wrong projections are: every published result, projected as if it were not there."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from leptonbench.projection.anchors import Kin, Own, Support, Table, support
from leptonbench.projection.model import Point, Variances, held_out, predict
from leptonbench.schema.quantity import Frozen

COVERED = 0.90  # share of the back-tests that a projection's interval covers
_WIDEST = 6  # devices of most published models, from which figures alone are tried: from all would take minutes
_LEAST = 20  # back-tests that a 90th percentile is read from


class Trial(NamedTuple):
    """One back-test.

    Attributes:
        log_error: Logarithm of projected over published.
        anchor: The one other device that was known, where it was one.
    """

    device: str
    benchmark: str
    scenario: str
    support: Support
    log_error: float
    anchor: str = ""

    @property
    def error(self) -> float:
        """Return projected over published, less 1."""
        return math.expm1(self.log_error)


class Claim(Frozen):
    """The back-test error of projections that stand on the same.

    Attributes:
        own: What the device itself published; empty for any.
        kin: How near the nearest relative is; empty for any.
        n: Back-tests.
        mean_abs_error: Mean of |projected / published - 1|.
        median_abs_error: Its median.
        bias: Mean of projected / published - 1.
        factor: Published results lay between projected / factor and projected x factor in 90 % of the back-tests.
    """

    own: str
    kin: str
    by_latency: bool
    n: int
    mean_abs_error: float
    median_abs_error: float
    bias: float
    factor: float


class Check(Frozen):
    """One error over many back-tests: its mean, in percent, with a 95 % interval over devices."""

    name: str
    mean_abs_error_percent: float
    low: float
    high: float
    n: int


class BackTest(Frozen):
    """What projections rest on: the fitted constants, and how wrong they were on what is published.

    Attributes:
        date: When it was made.
        observations: Results that the constants were fitted to, one a device, benchmark and scenario.
        variances: The fitted constants by name.
        claims: Errors of projections from all other devices.
        pairs: Errors of projections from one other device.
        cells: Errors of projections of a model that one other device alone ran.
        checks: The same by stricter splits, and of simpler methods.
    """

    date: str
    observations: int
    variances: dict[str, float]
    claims: tuple[Claim, ...]
    pairs: tuple[Claim, ...]
    cells: tuple[Claim, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def constants(self) -> Variances:
        """Return the fitted constants."""
        return Variances(**self.variances)


Hide = Callable[[Point], Hashable]

# What is hidden together with a result: less than a buyer would miss would flatter the method.
PROTOCOLS: dict[str, Hide] = {
    "one result": lambda point: (point.device, point.column),
    "one model on a device": lambda point: (point.device, point.column.family),
    "one model on a chip": lambda point: (point.traits.chip, point.column.family),
    "a device": lambda point: point.device,
    "a chip": lambda point: point.traits.chip,
}


def leave_out(table: Table, hide: Hide) -> list[Trial]:
    """Project every result from the table without what is hidden together with it.

    A result whose column nobody else published cannot be projected and is no trial.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, point in enumerate(table.points):
        groups[hide(point)].append(index)
    blocks = list(groups.values())
    errors = held_out(table.points, table.log_rates, blocks, table.variances)
    return [trial for block, error in zip(blocks, errors, strict=True) for trial in _trials(table, block, error)]


def _trials(table: Table, block: Sequence[int], errors: Iterable[float]) -> Iterator[Trial]:
    hidden = set(block)
    rest = [point for index, point in enumerate(table.points) if index not in hidden]
    columns = {point.column for point in rest}
    for index, error in zip(block, errors, strict=True):
        point = table.points[index]
        if point.column in columns and supported(point, stands := support(point, rest), rest):
            yield _trial(point, stands, float(error))


def supported(point: Point, stands: Support, rest: Sequence[Point]) -> bool:
    """Tell whether a device has a size: by models that it shares with others, or by figures at this very precision."""
    if stands.own is not Own.NOTHING:
        return True
    return point.traits.stated(point.precision) and any(one.traits.size(one.precision) for one in rest)


def pairs(table: Table) -> list[Trial]:
    """Project from one other device at a time, and from what the device itself published, or not even that.

    It is what a buyer does who owns one card: ratios to it, and nothing else. Hidden are one result, one model, all.
    """
    by_device: dict[str, list[int]] = defaultdict(list)
    for index, point in enumerate(table.points):
        by_device[point.device].append(index)
    found: list[Trial] = []
    for device, ours in by_device.items():
        for other, theirs in by_device.items():
            if device != other:
                found += _pair(table, ours, theirs)
    return found


def _pair(table: Table, ours: Sequence[int], theirs: Sequence[int]) -> Iterator[Trial]:
    columns = {table.points[index].column for index in theirs}
    if not any(table.points[index].column in columns for index in ours):
        return
    both = [*ours, *theirs]
    small = Table(tuple(table.observations[index] for index in both), table.traits, table.variances)
    groups: dict[str, list[int]] = defaultdict(list)
    for place, index in enumerate(ours):
        groups[table.points[index].column.family].append(place)
    alone, whole = [[place] for place in range(len(ours))], list(range(len(ours)))
    blocks = [one for one in (*alone, *groups.values()) if len(one) < len(ours)] + [whole]
    points = [table.points[index] for index in both]
    errors = held_out(points, table.log_rates[both], blocks, table.variances)
    for block, error in zip(blocks, errors, strict=True):
        yield from (trial._replace(anchor=table.points[theirs[0]].device) for trial in _trials(small, block, error))


def measured_elsewhere(table: Table) -> list[Trial]:
    """Project every model as if one device alone had run it, to every other device that did.

    It is what a buyer does who measured a model of their own on one device: all that is published of other models
    helps. Each device is projected from what it published of others, and, from the widest published sources, by its
    figures alone, as if nothing of its chip were known. Throughput only.
    """
    families: dict[str, set[str]] = defaultdict(set)
    for point in table.points:
        families[point.device].add(point.column.family)
    widest = sorted(families, key=lambda name: (-len(families[name]), name))[:_WIDEST]
    found: list[Trial] = []
    for source in sorted(families):
        for family in sorted(families[source]):
            found += _elsewhere(table, source, family, by_figures=source in widest)
    return found


def _elsewhere(table: Table, source: str, family: str, *, by_figures: bool) -> Iterator[Trial]:
    points = table.points
    known = [i for i, one in enumerate(points) if one.device == source or one.column.family != family]
    columns = {points[index].column for index in known}
    asked = [i for i, one in enumerate(points) if one.device != source and one.column.family == family]
    asked = [i for i in asked if points[i].column in columns and not points[i].column.by_latency]
    yield from _known_alone(table, known, asked, source)
    chips = {points[index].traits.chip for index in asked} - {table.traits[source].chip}
    for chip in sorted(chips) if by_figures else ():
        rest = [index for index in known if points[index].traits.chip != chip]
        yield from _known_alone(table, rest, [index for index in asked if points[index].traits.chip == chip], source)


def _known_alone(table: Table, known: Sequence[int], asked: Sequence[int], source: str) -> Iterator[Trial]:
    """Project some results from some others."""
    rest = [table.points[index] for index in known]
    stands = {index: support(table.points[index], rest) for index in asked}
    asked = [index for index in asked if supported(table.points[index], stands[index], rest)]
    if not asked:
        return
    targets = [table.points[index] for index in asked]
    predictions = predict(rest, table.log_rates[known], targets, table.variances)
    for index, point, one in zip(asked, targets, predictions, strict=True):
        yield _trial(point, stands[index], one.mean - float(table.log_rates[index]), anchor=source)


def _trial(point: Point, stands: Support, log_error: float, *, anchor: str = "") -> Trial:
    column = point.column
    return Trial(point.device, column.benchmark, column.scenario.value, stands, log_error, anchor)


def claims(trials: Iterable[Trial]) -> list[Claim]:
    """Return the errors by what the projections stood on, and over any kin, where there are enough of them."""
    groups: dict[tuple[str, str, bool], dict[Hashable, Trial]] = defaultdict(dict)
    for trial in trials:
        own, kin, latency = trial.support
        for named in (kin.value, ""):
            # One result may be hidden in several ways and stand on the same each time: it counts once.
            place = (trial.device, trial.benchmark, trial.scenario, trial.anchor, kin)
            groups[own.value, named, latency].setdefault(place, trial)
    order = {value: place for place, value in enumerate([*(one.value for one in Own), *(one.value for one in Kin), ""])}
    return [
        summarise(list(group.values()), own=own, kin=kin, by_latency=latency)
        for (own, kin, latency), group in sorted(
            groups.items(), key=lambda item: (item[0][2], order[item[0][0]], order[item[0][1]])
        )
        if len(group) >= _LEAST
    ]


def summarise(trials: Sequence[Trial], *, own: str = "", kin: str = "", by_latency: bool = False) -> Claim:
    """Return the errors of some trials together."""
    errors = [trial.error for trial in trials]
    return Claim(
        own=own,
        kin=kin,
        by_latency=by_latency,
        n=len(trials),
        mean_abs_error=round(statistics.fmean(map(abs, errors)), 4),
        median_abs_error=round(statistics.median(map(abs, errors)), 4),
        bias=round(statistics.fmean(errors), 4),
        factor=round(math.exp(float(np.quantile([abs(trial.log_error) for trial in trials], COVERED))), 4),
    )


def claim_for(found: Support, known: Iterable[Claim]) -> Claim | None:
    """Return the error of back-tests that stood on the same, or on the same of the device's own with any kin."""
    own, kin, latency = found
    by_class = {(claim.own, claim.kin, claim.by_latency): claim for claim in known}
    return by_class.get((own.value, kin.value, latency)) or (
        by_class.get((own.value, "", latency)) if kin is not Kin.NONE else None
    )


def ratio_trials(table: Table, method: str) -> list[Trial]:
    """Project every result from every other device by a ratio of published figures alone, for comparison.

    Args:
        table: What is published.
        method: `peak`, `bandwidth` or `root of both`.
    """
    found = []
    for left, target in enumerate(table.points):
        ours = target.traits.size(target.precision)
        for right, anchor in enumerate(table.points):
            theirs = anchor.traits.size(anchor.precision)
            if target.column != anchor.column or target.device == anchor.device or ours is None or theirs is None:
                continue
            peak, bandwidth = ours[0] - theirs[0], ours[1] - theirs[1]
            ratio = {"peak": peak, "bandwidth": bandwidth, "root of both": (peak + bandwidth) / 2}[method]
            error = float(table.log_rates[right] + ratio - table.log_rates[left])
            found.append(_trial(target, support(target, [anchor]), error, anchor=anchor.device))
    return found
