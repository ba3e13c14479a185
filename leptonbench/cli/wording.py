"""How numbers, cells and times are worded on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from leptonbench.cli.console import Column
from leptonbench.report.compress import floor_state
from leptonbench.report.i18n import Translator
from leptonbench.report.missing import missing_cells
from leptonbench.report.naming import Namer
from leptonbench.report.numbers import figure, plain
from leptonbench.report.verdicts import build_variants
from leptonbench.schema import METRICS, CellRecord, CellSpec, Provenance, Quantity, Reason, RunManifest, Scenario

HEADLINES = ("latency_p50", "throughput", "quality", "speedup", "cost_per_million")
_FLOOR = {
    "": "",
    "meets": "meets",
    "meets_unsure": "meets, not certain",
    "below": "below",
    "below_unsure": "below, not certain",
}


def amount(tag: str, quantity: Quantity | None, *, full: bool = False) -> str:
    """Word a quantity as `7.06 ms [7.01, 7.13] n=3`, marked if it was not measured.

    Args:
        tag: The metric.
        quantity: The number, or `None` where the record has none.
        full: Say why where there is no value.
    """
    if quantity is None or quantity.value is None:
        return f"- ({quantity.why_null})" if full and quantity else "-"
    shown = figure(tag, quantity)
    text = f"{shown.text} {shown.unit}".rstrip()
    if shown.has_interval:
        text += f" [{shown.low_text}, {shown.high_text}]"
    if shown.n is not None:
        text += f" n={shown.n}"
    return text if shown.provenance is Provenance.MEASURED else f"{text} ({shown.provenance})"


def number(tag: str, value: float | None) -> str:
    """Word one value of a metric with its friendly unit."""
    if value is None:
        return "-"
    return plain(value, METRICS[tag].unit if tag in METRICS else "", tag).replace("\u00a0", " ")


def duration(seconds: float) -> str:
    """Word a time span as `45 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def counted(count: int, thing: str) -> str:
    """Word a count: `1 cell`, `2 cells`."""
    return f"{count} {thing}" + ("" if count == 1 else "s")


def because(reason: Reason | None) -> str:
    """Word why a cell is not ok: `code: message`."""
    return f"{reason.code}: {reason.message}" if reason else ""


class CellNames:
    """Names of a run's cells, without what is equal for all: `fp32 · onnxruntime · offline`."""

    def __init__(self, cells: Iterable[CellSpec]) -> None:
        listed = list(cells)
        self._several_workloads = len({cell.workload for cell in listed}) > 1
        self._namers = {
            scenario: Namer([cell for cell in listed if cell.scenario is scenario]) for scenario in Scenario
        }

    def __call__(self, cell: CellSpec) -> str:
        """Name one cell."""
        name = f"{self._namers[cell.scenario].short(cell)} · {cell.scenario.value}"
        return f"{cell.workload} · {name}" if self._several_workloads else name


def overview(records: Sequence[CellRecord]) -> tuple[list[Column], list[list[str]]]:
    """Return a table of the cells: name, status, those headline metrics that any of them has, and the quality floor."""
    name = CellNames(record.cell for record in records)
    tags = [tag for tag in HEADLINES if any(_has(record, tag) for record in records)]
    columns = [Column("cell"), Column("status"), *(Column(METRICS[tag].title_en, right=True) for tag in tags)]
    rows = [
        [name(record.cell), record.status.value]
        + [amount(tag, record.metrics.get(tag)) for tag in tags]
        + [_FLOOR[floor_state(record)]]
        for record in records
    ]
    return [*columns, Column("floor")], rows


def by_workload(records: Iterable[CellRecord]) -> dict[str, list[CellRecord]]:
    """Return records by workload, in order of appearance."""
    found: dict[str, list[CellRecord]] = {}
    for record in records:
        found.setdefault(record.cell.workload, []).append(record)
    return found


def verdicts(manifest: RunManifest, workload: str, records: Sequence[CellRecord]) -> list[str]:
    """Say which compression pays on a workload and which does not, in the report's own sentences."""
    table = build_variants(manifest, workload, records, Translator("en"), Namer([record.cell for record in records]))
    return [plain_text(sentence) for _, sentence in table.sentences] if table else []


def plain_text(text: Markup) -> str:
    """Return markup as a terminal shows it."""
    return text.striptags().replace("\u00a0", " ")


def absences(records: Sequence[CellRecord]) -> tuple[list[Column], list[list[str]]]:
    """Return a table of what failed, is invalid or was skipped: one row a reason, with its cells folded."""
    columns = [Column("workload"), Column("status"), Column("cells", right=True), Column("why"), Column("where")]
    rows = []
    for workload, some in by_workload(records).items():
        for item in missing_cells(some, Namer([record.cell for record in records])):
            where = "; ".join(
                f"{', '.join(place.variants)}: {', '.join(place.backends)} ({', '.join(place.scenarios)})"
                for place in item.places
            )
            rows.append([workload, item.status.value, str(item.cells), f"{item.code}: {item.message}", where])
    return columns, rows


def _has(record: CellRecord, tag: str) -> bool:
    quantity = record.metrics.get(tag)
    return quantity is not None and quantity.value is not None
