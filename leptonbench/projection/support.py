"""When not to project: what a device lacks, what nobody published, what no back-test speaks of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from leptonbench.errors import UsageError
from leptonbench.projection.anchors import Own, Support, Table, support
from leptonbench.projection.claims import Claim, claim_for
from leptonbench.projection.results import Column
from leptonbench.registry import unknown
from leptonbench.schema import AcceleratorSpec, Scenario

_AXES: tuple[tuple[str, float, Callable[[tuple[float, float]], float]], ...] = (
    ("peak arithmetic (TOP/s)", 1e12, lambda size: size[0]),
    ("memory bandwidth (TB/s)", 1e12, lambda size: size[1]),
    ("peak arithmetic over memory bandwidth (OP/B)", 1.0, lambda size: size[0] - size[1]),
)
WIDEST = 4.0  # times either way: a wider interval spans slow and fast cards alike (judgement)
RANGE = 1.5  # how far beyond the published devices' figures a device may lie (judgement: a clock bin, not a generation)


def check_benchmark(table: Table, column: Column) -> None:
    """Refuse a benchmark that nobody published.

    Raises:
        UsageError: With the nearest one.
    """
    benchmarks = sorted({one.column.benchmark for one in table.observations})
    if column.benchmark not in benchmarks:
        raise unknown("benchmark", column.benchmark, benchmarks)


def check_column(table: Table, device: str, column: Column) -> None:
    """Refuse a benchmark that no other device published in this scenario.

    Raises:
        UsageError: With what is published instead.
    """
    if table.has(column, besides=device):
        return
    there = {one.column.scenario for one in table.observations if one.column.benchmark == column.benchmark}
    scenarios = [one.value for one in Scenario if one in there and one is not column.scenario]
    others = {one.device for one in table.observations} - {device}
    raise UsageError(
        f"`{column.benchmark}` cannot be projected to `{device}` in scenario `{column.scenario.value}`",
        cause=f"no other device among the {len(others)} considered published it",
        hint=f"published of it: {', '.join(scenarios)}" if scenarios else "leave `--from` out, or name more devices",
    )


def check_precision(table: Table, device: str, spec: AcceleratorSpec, column: Column, asked: str | None) -> None:
    """Refuse a precision that the device lacks, or in which the benchmark was not published.

    Raises:
        UsageError: Naming the precision.
    """
    published = table.precisions.get(column.benchmark, "")
    if asked and asked != published:
        raise UsageError(
            f"`{column.benchmark}` cannot be projected at `{asked}`",
            cause=f"its published results are {published or 'of no stated precision'}",
            hint=f"`--precision {published}`, or leave it out" if published else "leave `--precision` out",
        )
    check_lacks(device, spec, published)


def check_lacks(device: str, spec: AcceleratorSpec, precision: str) -> None:
    """Refuse a precision that the device has no arithmetic for.

    Raises:
        UsageError: Naming what it has.
    """
    if precision and precision in spec.lacks:
        runs = sorted(spec.peak_ops_per_s)
        raise UsageError(
            f"`{device}` has no {precision} arithmetic",
            cause=f"its profile lists {', '.join(runs) or 'no precision'}, and that it lacks {', '.join(spec.lacks)}",
            hint="choose what was published or measured in another precision, or another device",
        )


def check_size(table: Table, device: str, column: Column) -> None:
    """Refuse a device without results to share whose figures are unknown, or far from those of any that has some.

    Raises:
        UsageError: Naming what is missing or out of range.
    """
    asked = table.point(device, column)
    known = [one for one in table.points if (one.device, one.column) != (device, column)]
    if support(asked, known).own is not Own.NOTHING:
        return
    size = asked.traits.size(asked.precision)
    if size is None or not asked.traits.stated(asked.precision):
        raise UsageError(
            f"`{device}` cannot be projected",
            cause="it published no result that ties it to others, and its profile lacks memory bandwidth or peak "
            f"arithmetic in {asked.precision or 'any precision'}",
            hint=f"add both, with their sources, to the profile `{device}.yaml`",
        )
    published = {one.device: one.traits for one in table.points}
    sizes = [one.size(asked.precision) for one in published.values() if one.stated(asked.precision)]
    for name, scale, of in _AXES:
        values = [of(one) for one in sizes if one is not None]
        if not values:
            raise UsageError(
                f"`{device}` cannot be projected in `{column.benchmark}`",
                cause="it published no result that ties it to others, and none of those has figures in "
                f"{asked.precision}",
                hint="name other devices by `--from`, or leave it out",
            )
        low, high = min(values) - math.log(RANGE), max(values) + math.log(RANGE)
        if not low <= of(size) <= high:
            raise UsageError(
                f"`{device}` is out of the range of published devices",
                cause=f"its {name} in {asked.precision} is {math.exp(of(size)) / scale:.3g}; projections reach from "
                f"{math.exp(low) / scale:.3g} to {math.exp(high) / scale:.3g}, {RANGE:g}x beyond published devices",
                hint="a result that it published in any benchmark would anchor it",
            )


def check_claim(stands: Support, claims: Sequence[Claim], device: str, column: Column) -> Claim:
    """Return the back-test error of what a projection stands on.

    Raises:
        UsageError: If there are too few back-tests that stood on the same, since a number without an error is none, or
            if they were so wrong that it would help nobody.
    """
    claim = claim_for(stands, claims)
    if claim is None:
        kind = "latency" if stands.by_latency else "throughput"
        own = "no result of its own" if stands.own is Own.NOTHING else f"{stands.own.value} of its own"
        raise UsageError(
            f"`{column.benchmark}` cannot be projected to `{device}` with a known error",
            cause=f"it would stand on {own} and on {stands.kin.value}, in {kind}; too few back-tests do",
            hint="choose a benchmark that a relative of the device published",
        )
    if claim.factor > WIDEST:
        raise UsageError(
            f"`{column.benchmark}` cannot be projected to `{device}` to any use",
            cause=f"back-tests on the same support ({stands.own.value} of its own; {stands.kin.value}) were wrong by "
            f"up to {claim.factor:.3g} times",
            hint="choose a benchmark that a relative of the device published",
        )
    return claim


def check_peak(used: float, device: str, column: Column, precision: str) -> None:
    """Refuse a rate that the device's arithmetic cannot reach.

    Args:
        used: Share of its peak arithmetic that the rate would use.
        device: Its name.
        column: Asked for.
        precision: Of the arithmetic.

    Raises:
        UsageError: If it is more than all.
    """
    if used > 1:
        raise UsageError(
            f"`{column.benchmark}` cannot be projected to `{device}`",
            cause=f"it would take {used:.2g} times its {precision} peak: the model does not scale as published ones",
            hint="measure it on a nearer relative of the device",
        )
