"""How wrong projections are: every published result, projected as if it were not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace

from leptonbench.projection.anchors import Own, Support, Table, support
from leptonbench.projection.claims import Fold, Trial
from leptonbench.projection.model import Point, held_out, predict

_WIDEST = 6  # devices of most published models, from which figures alone are tried: from all would take minutes

Hide = Callable[[Point], Hashable]

# What is hidden together with a result: less than a buyer would miss would flatter the method.
PROTOCOLS: dict[str, Hide] = {
    "one result": lambda point: (point.device, point.column),
    "one model on a device": lambda point: (point.device, point.column.family),
    "one model on a chip": lambda point: (point.traits.chip, point.column.family),
    "a device": lambda point: point.device,
    "a chip": lambda point: point.traits.chip,
}


Method = Callable[[Table, Collection[str]], list[Trial]]


def under_folds(table: Table, folds: Iterable[Fold], method: Method) -> list[Trial]:
    """Back-test each fold's devices under its own constants, so that no result helped to fit what projects it."""
    return [
        trial for fold in folds for trial in method(replace(table, variances=fold.constants), frozenset(fold.devices))
    ]


def leave_out(table: Table, hide: Hide, devices: Collection[str] | None = None) -> list[Trial]:
    """Project every result from the table without what is hidden together with it.

    A result whose column nobody else published cannot be projected and is no trial.

    Args:
        table: What is published.
        hide: What goes together.
        devices: To project; all, if not given.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, point in enumerate(table.points):
        if devices is None or point.device in devices:
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
            yield trial_of(point, stands, float(error))


def supported(point: Point, stands: Support, rest: Sequence[Point]) -> bool:
    """Tell whether a device has a size: by models that it shares with others, or by figures at this very precision."""
    if stands.own is not Own.NOTHING:
        return True
    return point.traits.stated(point.precision) and any(one.traits.size(one.precision) for one in rest)


def pairs(table: Table, devices: Collection[str] | None = None) -> list[Trial]:
    """Project from one other device at a time, and from what the device itself published, or not even that.

    It is what a buyer does who owns one card: ratios to it, and nothing else. Hidden are one result, one model, all.

    Args:
        table: What is published.
        devices: To project; all, if not given.
    """
    by_device: dict[str, list[int]] = defaultdict(list)
    for index, point in enumerate(table.points):
        by_device[point.device].append(index)
    found: list[Trial] = []
    for device, ours in by_device.items():
        if devices is not None and device not in devices:
            continue
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


def measured_elsewhere(table: Table, devices: Collection[str] | None = None) -> list[Trial]:
    """Project every model as if one device alone had run it, to every other device that did.

    It is what a buyer does who measured a model of their own on one device: all that is published of other models
    helps. Each device is projected from what it published of others, and, from the widest published sources, by its
    figures alone, as if nothing of its chip were known. Throughput only.

    Args:
        table: What is published.
        devices: To project; all, if not given.
    """
    families: dict[str, set[str]] = defaultdict(set)
    for point in table.points:
        families[point.device].add(point.column.family)
    widest = sorted(families, key=lambda name: (-len(families[name]), name))[:_WIDEST]
    found: list[Trial] = []
    for source in sorted(families):
        for family in sorted(families[source]):
            found += _elsewhere(table, source, family, devices, by_figures=source in widest)
    return found


def _elsewhere(
    table: Table, source: str, family: str, devices: Collection[str] | None, *, by_figures: bool
) -> Iterator[Trial]:
    points = table.points
    known = [i for i, one in enumerate(points) if one.device == source or one.column.family != family]
    columns = {points[index].column for index in known}
    asked = [i for i, one in enumerate(points) if one.device != source and one.column.family == family]
    asked = [i for i in asked if devices is None or points[i].device in devices]
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
        yield trial_of(point, stands[index], one.mean - float(table.log_rates[index]), anchor=source)


def trial_of(point: Point, stands: Support, log_error: float, *, anchor: str = "") -> Trial:
    """Return a back-test of a point."""
    column = point.column
    return Trial(point.device, column.benchmark, column.scenario.value, stands, log_error, anchor)


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
            found.append(trial_of(target, support(target, [anchor]), error, anchor=anchor.device))
    return found
