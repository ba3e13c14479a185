"""What a cell is judged by in tools that take one figure a benchmark."""

from __future__ import annotations

from leptonbench.schema import CellRecord, CellSpec, Scenario, Status


def headline(record: CellRecord) -> str:
    """Return the metric that a scenario is judged by: throughput where many queries are open, else median latency."""
    return "throughput" if record.cell.scenario in (Scenario.OFFLINE, Scenario.SERVER) else "latency_p50"


def measured(record: CellRecord) -> bool:
    """Return whether a cell has figures that count: other tools have no word for those that do not."""
    return record.status is Status.OK


def title(cell: CellSpec) -> str:
    """Return a cell's name, the same in every run."""
    return cell.key.replace("--", "/")
