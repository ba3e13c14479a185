"""Cells over many runs: one series a cell and metric, cut where the machine changed, with the changes of its level.

Pure: manifests and records in, series out. A change never blocks anything; it says where to look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from leptonbench.report.compress import speed_metric
from leptonbench.schema import METRICS, CellRecord, CellSpec, Direction, Identity, RunManifest, Status
from leptonbench.stats.changepoint import FEWEST_RUNS, change_points


class Point(NamedTuple):
    """One run's figure, in SI, with its interval."""

    run: str
    created: str
    commit: str
    value: float
    low: float | None
    high: float | None


class Change(NamedTuple):
    """A change of level.

    Attributes:
        start: Index of the first point after it, in the whole series.
        ratio: The level after it over the level before.
        worse: Whether that is the wrong way; `None` for a metric without a better direction.
    """

    start: int
    run: str
    commit: str
    before: float
    after: float
    ratio: float
    p_value: float
    worse: bool | None


class Segment(NamedTuple):
    """Runs on one machine with one set of packages.

    Attributes:
        start: Index of its first point.
        end: Index after its last.
        differs: What is not as in the segment before; empty for the first.
        changes: Of the level inside it.
        why_none: Why none can be found, if so.
    """

    start: int
    end: int
    differs: tuple[str, ...]
    changes: tuple[Change, ...]
    why_none: str


class Series(NamedTuple):
    """One cell's metric over the runs."""

    cell: CellSpec
    metric: str
    points: tuple[Point, ...]
    segments: tuple[Segment, ...]

    @property
    def unit(self) -> str:
        """Return the SI unit of the metric; empty for one that is not declared."""
        return METRICS[self.metric].unit if self.metric in METRICS else ""

    @property
    def changes(self) -> tuple[Change, ...]:
        """Return every change of level, in order."""
        return tuple(change for segment in self.segments for change in segment.changes)


Run = tuple[RunManifest, Sequence[CellRecord]]


def build_history(
    runs: Iterable[Run], *, metric: str | None = None, p_value: float = 0.001, min_segment: int = 3
) -> list[Series]:
    """Return the series of every cell that some run measured.

    Args:
        runs: In any order; they are put in that of their creation.
        metric: Its tag; by default what the cell's scenario is judged by.
        p_value: A change counts if it is at most so likely by chance.
        min_segment: Runs that a level must last.
    """
    found: dict[str, list[tuple[Point, Identity]]] = {}
    cells: dict[str, tuple[CellSpec, str]] = {}
    for manifest, records in sorted(runs, key=lambda run: (run[0].created, run[0].run_id)):
        for record in records:
            tag = metric or speed_metric(record.cell.scenario)
            point = _point(manifest, record, tag)
            if point is not None:
                cells[record.cell.key] = record.cell, tag
                found.setdefault(record.cell.key, []).append((point, manifest.fingerprint.identity))
    return [_series(*cells[key], points, p_value, min_segment) for key, points in sorted(found.items())]


def _point(manifest: RunManifest, record: CellRecord, tag: str) -> Point | None:
    quantity = record.metrics.get(tag)
    if record.status is not Status.OK or quantity is None or quantity.value is None:
        return None
    commit = (manifest.git_commit or "")[:12]
    return Point(manifest.run_id, manifest.created, commit, quantity.value, quantity.low, quantity.high)


def _series(
    cell: CellSpec, tag: str, found: Sequence[tuple[Point, Identity]], p_value: float, min_segment: int
) -> Series:
    points = tuple(point for point, _ in found)
    machines = [identity for _, identity in found]
    starts = [0, *(i for i in range(1, len(machines)) if machines[i] != machines[i - 1])]
    segments = []
    for start, end in zip(starts, [*starts[1:], len(points)], strict=True):
        differs = differing(machines[start - 1], machines[start]) if start else ()
        part = points[start:end]
        few = len(part) < FEWEST_RUNS
        why = f"{len(part)} runs; no change shows at p {p_value:g} in fewer than {FEWEST_RUNS}" if few else ""
        cuts = change_points([point.value for point in part], p_value=p_value, min_segment=min_segment)
        changes = tuple(_change(tag, part[cut.start], start + cut.start, cut) for cut in cuts)
        segments.append(Segment(start, end, differs, changes, why))
    return Series(cell, tag, points, tuple(segments))


def differing(before: Identity, after: Identity) -> tuple[str, ...]:
    """Return the facts of a machine that changed, packages by name."""
    names: list[str] = []
    for field in Identity.model_fields:
        one, other = getattr(before, field), getattr(after, field)
        if one == other:
            continue
        if field == "packages":
            packages = sorted(one.keys() | other.keys())
            names += [
                f"{name} {one.get(name, 'absent')} to {other.get(name, 'absent')}"
                for name in packages
                if one.get(name) != other.get(name)
            ]
        else:
            names.append(field)
    return tuple(names)


def _change(tag: str, point: Point, start: int, cut: Any) -> Change:
    direction = METRICS[tag].direction if tag in METRICS else Direction.NEITHER
    rose = cut.after > cut.before
    worse = None if direction is Direction.NEITHER else rose == (direction is Direction.LOWER)
    ratio = cut.after / cut.before if cut.before else float("inf")
    return Change(start, point.run, point.commit, cut.before, cut.after, ratio, cut.p_value, worse)


def as_document(series: Series) -> dict[str, Any]:
    """Return a series as plain data."""
    return {
        "cell": series.cell.key,
        "metric": series.metric,
        "unit": series.unit,
        "points": [point._asdict() for point in series.points],
        "segments": [
            {**segment._asdict(), "changes": [change._asdict() for change in segment.changes]}
            for segment in series.segments
        ],
    }
