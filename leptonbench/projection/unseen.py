"""What would have been projected before a result was published, or without its submitter: harder than leaving it out.

A result that is left out leaves its round's and its submitter's others in the table. Here they go, too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from leptonbench.projection.anchors import Table, support
from leptonbench.projection.backtest import supported, trial_of
from leptonbench.projection.claims import Trial
from leptonbench.projection.model import predict
from leptonbench.projection.results import Submission, typical


def earlier_rounds(
    table: Table, submissions: Sequence[Submission], devices: Collection[str] | None = None
) -> list[Trial]:
    """Project each round's new results from the rounds before it: what a buyer of that time would have been told.

    Args:
        table: For its traits and constants.
        submissions: That may be used, and are asked for.
        devices: To project; all, if not given.
    """
    found: list[Trial] = []
    for now in sorted({one.round for one in submissions})[1:]:
        known = [one for one in submissions if one.round < now]
        found += _unseen(table, known, _of([one for one in submissions if one.round == now], devices))
    return found


def other_submitters(
    table: Table, submissions: Sequence[Submission], devices: Collection[str] | None = None
) -> list[Trial]:
    """Project what one submitter alone published from what all others did.

    Args:
        table: For its traits and constants.
        submissions: That may be used, and are asked for.
        devices: To project; all, if not given.
    """
    found: list[Trial] = []
    for name in sorted({one.submitter for one in submissions}):
        known = [one for one in submissions if one.submitter != name]
        found += _unseen(table, known, _of([one for one in submissions if one.submitter == name], devices))
    return found


def _of(submissions: Sequence[Submission], devices: Collection[str] | None) -> list[Submission]:
    return [one for one in submissions if devices is None or one.device in devices]


def _unseen(table: Table, known: Sequence[Submission], asked: Sequence[Submission]) -> list[Trial]:
    """Project the device and column of each asked result that the known ones lack."""
    past = Table(tuple(typical(known)), table.traits, table.variances)
    seen = {(one.device, one.column) for one in past.observations}
    columns = {one.column for one in past.observations}
    fresh = [one for one in typical(asked) if (one.device, one.column) not in seen and one.column in columns]
    points = [table.point(one.device, one.column) for one in fresh]
    stands = [support(point, past.points) for point in points]
    chosen = [i for i, point in enumerate(points) if supported(point, stands[i], past.points)]
    if not chosen:
        return []
    found = predict(past.points, past.log_rates, [points[i] for i in chosen], past.variances)
    return [
        trial_of(points[i], stands[i], prediction.mean - fresh[i].log_rate)
        for i, prediction in zip(chosen, found, strict=True)
    ]
