"""The comparison table: one per workload and scenario, so that a column has one unit and one meaning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from leptonbench.report.choice import RENTED, comparable, metric_of
from leptonbench.report.compress import floor_state
from leptonbench.report.naming import SCENARIO_ORDER, Namer, ordered
from leptonbench.report.numbers import Figure, Scale, clearly_better, figure, lower_is_better, scale_for
from leptonbench.schema import METRICS, CellRecord, Provenance, Quantity, RunManifest, Scenario, Status

COLUMNS = (
    "latency_p50",
    "latency_p90",
    "latency_p99",
    "real_time_factor",
    "throughput",
    "energy_per_inference",
    "cost_per_million",
    "quality",
    "quality_delta",
    "speedup",
    "theoretical_speedup",
    "peak_memory",
    "model_size",
    "stored_size",
)
_COUNT = re.compile(r"^\d[\d,]*")
STATUS_ORDER = (Status.OK, Status.INVALID, Status.FAILED, Status.SKIPPED)


class Column(NamedTuple):
    """One metric's column: its tag, display unit and which way is better (`None`: neither)."""

    tag: str
    unit: str
    lower_is_better: bool | None


class TableCell(NamedTuple):
    """One figure of a row; `best` only if its interval clears the next; `footnote` numbers the reason of a gap."""

    figure: Figure
    best: bool
    footnote: int | None


class Row(NamedTuple):
    """One configuration; `floor` says where its quality lies (`leptonbench.report.compress.floor_state`)."""

    record: CellRecord
    name: str
    floor: str
    qualifiers: str
    anchor: str
    cells: tuple[TableCell, ...]
    provenances: tuple[Provenance, ...]
    n: int | None


class Group(NamedTuple):
    """All configurations of one workload in one scenario.

    Attributes:
        hidden: Columns that no row has, each with its reasons.
        footnotes: Reasons of the gaps that are left, in order of their numbers (from 1).
    """

    id: str
    workload: str
    scenario: Scenario
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    hidden: tuple[tuple[str, tuple[str, ...]], ...]
    footnotes: tuple[str, ...]


def arrange(manifest: RunManifest, records: Sequence[CellRecord]) -> list[CellRecord]:
    """Return the records as the page shows them: by workload, scenario, present before absent, variant, backend."""
    cells = [record.cell for record in records]
    workloads = ordered((cell.workload for cell in cells), [spec.name for spec in manifest.workloads])
    variants = ordered((cell.variant for cell in cells), [spec.name for spec in manifest.variants])
    backends = ordered((cell.backend for cell in cells), manifest.suite.backends)

    def place(record: CellRecord) -> tuple[int, int, bool, int, int, str]:
        cell = record.cell
        absent = record.status in (Status.FAILED, Status.SKIPPED)
        group = (workloads.index(cell.workload), SCENARIO_ORDER.index(cell.scenario))
        return (*group, absent, variants.index(cell.variant), backends.index(cell.backend), cell.key)

    return sorted(records, key=place)


def build_groups(arranged: Sequence[CellRecord], namer: Namer, *, first: int = 1) -> list[Group]:
    """Return one table per workload and scenario from records in page order; skipped cells have no row.

    Tables are numbered in their ids from `first` on.
    """
    groups: dict[tuple[str, Scenario], list[CellRecord]] = {}
    for record in arranged:
        if record.status is Status.SKIPPED:
            continue
        groups.setdefault((record.cell.workload, record.cell.scenario), []).append(record)
    return [_group(f"t{number}", some, namer) for number, some in enumerate(groups.values(), first)]


def _quantities(records: Sequence[CellRecord], tag: str) -> list[Quantity]:
    return [record.metrics[tag] for record in records if tag in record.metrics]


def _values(records: Sequence[CellRecord], tag: str) -> list[float]:
    return [quantity.value for quantity in _quantities(records, tag) if quantity.value is not None]


def _group(group_id: str, records: list[CellRecord], namer: Namer) -> Group:
    # A price of renting stays beside the price of owning by which cells are compared.
    tags = list(
        dict.fromkeys(t for tag in COLUMNS for t in (*((tag,) if tag == RENTED else ()), comparable(tag, records)))
    )
    shown = [tag for tag in tags if _values(records, tag)]
    present = [record for record in records if record.metrics]
    hidden = tuple((tag, _reasons(present, tag)) for tag in tags if tag not in shown) if present else ()
    scales = {tag: scale_for(tag, METRICS[tag].unit, _values(records, tag)) for tag in shown}
    best = {tag: best_key(records, tag) for tag in shown}
    footnotes: dict[str, list[str]] = {}
    rows = tuple(_row(record, scales, best, footnotes, namer) for record in records)
    columns = tuple(Column(tag, scales[tag].unit, lower_is_better(tag)) for tag in shown)
    cell = records[0].cell
    notes = tuple(merged(reasons) for reasons in footnotes.values())
    return Group(group_id, cell.workload, cell.scenario, columns, rows, hidden, notes)


def _reasons(records: Sequence[CellRecord], tag: str) -> tuple[str, ...]:
    reasons = dict.fromkeys(quantity.why_null or "" for quantity in _quantities(records, tag))
    kinds: dict[str, list[str]] = {}
    for reason in filter(None, reasons):
        kinds.setdefault(_kind(reason), []).append(reason)
    return tuple(merged(some) for some in kinds.values())


def _kind(reason: str) -> str:
    """Return a reason without the count that it starts with: reasons of one kind share a note."""
    return _COUNT.sub("#", reason)


def merged(reasons: Sequence[str]) -> str:
    """Return reasons of one kind as one, with the range of the counts that they start with.

    `145 queries; p99 needs 662` and `616 queries; p99 needs 662` make `145\u2013616 queries; p99 needs 662`.
    """
    counts = {int(found[0].replace(",", "")): found[0] for reason in reasons if (found := _COUNT.match(reason))}
    if len(counts) < 2:
        return reasons[0]
    return _COUNT.sub(f"{counts[min(counts)]}\u2013{counts[max(counts)]}", reasons[0])


def best_key(records: Sequence[CellRecord], tag: str) -> str | None:
    """Return the key of the cell whose metric clears every other's interval; `None` if none does or it is alone.

    Only valid cells compete, and only those not known to be too inaccurate. Server cells are each measured at a rate of
    their own, so their latencies do not compete.
    """
    if tag.startswith("latency_") and records[0].cell.scenario is Scenario.SERVER:
        return None
    rivals = [
        record
        for record in records
        if record.status is Status.OK and record.meets_quality is not False and metric_of(record, tag) is not None
    ]
    for one in rivals:
        others = [record.metrics[tag] for record in rivals if record is not one]
        if others and all(clearly_better(tag, one.metrics[tag], other) for other in others):
            return one.cell.key
    return None


def _row(
    record: CellRecord,
    scales: dict[str, Scale],
    best: dict[str, str | None],
    footnotes: dict[str, list[str]],
    namer: Namer,
) -> Row:
    cells = []
    for tag, scale in scales.items():
        quantity = record.metrics.get(tag)
        if quantity is None:
            quantity = Quantity.null(METRICS[tag].unit, "not recorded")
        shown = figure(tag, quantity, scale)
        note = _footnote(shown.why, footnotes) if record.metrics and shown.value is None else None
        cells.append(TableCell(shown, best[tag] == record.cell.key, note))
    provenances = {cell.figure.provenance for cell in cells if cell.figure.value is not None}
    return Row(
        record,
        namer.short(record.cell),
        floor_state(record),
        namer.qualifiers(record.cell),
        namer.anchor(record.cell),
        tuple(cells),
        tuple(kind for kind in Provenance if kind in provenances),
        _rounds_behind(record),
    )


def _footnote(why: str, footnotes: dict[str, list[str]]) -> int:
    footnotes.setdefault(_kind(why), []).append(why)
    return list(footnotes).index(_kind(why)) + 1


def _rounds_behind(record: CellRecord) -> int | None:
    for tag in ("latency_p50", "throughput"):
        quantity = record.metrics.get(tag)
        if quantity is not None and quantity.value is not None:
            return quantity.n
    return None
