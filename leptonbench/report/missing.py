"""What is not there, and why: failed, invalid and skipped cells under their reasons, in as few lines as that takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from leptonbench.report.choice import absent_cells
from leptonbench.report.naming import SCENARIO_ORDER, Namer
from leptonbench.schema import CellRecord, Scenario, Status


class Place(NamedTuple):
    """Cells that differ in variant only: each variant listed, on each of these engines, in each of these scenarios."""

    variants: tuple[str, ...]
    backends: tuple[str, ...]
    scenarios: tuple[Scenario, ...]


class Missing(NamedTuple):
    """One reason, and the cells it holds for."""

    status: Status
    code: str
    message: str
    hint: str
    cells: int
    places: tuple[Place, ...]


def missing_cells(records: Sequence[CellRecord], namer: Namer) -> list[Missing]:
    """Group cells that failed, are invalid or were skipped by status and reason: failures first, most cells first."""
    groups = absent_cells(records)
    order = (Status.FAILED, Status.INVALID, Status.SKIPPED)
    groups.sort(key=lambda group: (order.index(group.status), -len(group.records)))
    return [
        Missing(group.status, group.code, group.message, group.hint, len(group.records), _places(group.records, namer))
        for group in groups
    ]


def _places(records: Sequence[CellRecord], namer: Namer) -> tuple[Place, ...]:
    """Fold cells into products of variants, engines and scenarios, without losing or adding one."""
    scenarios: dict[tuple[str, str], set[Scenario]] = {}
    for record in records:
        extra = namer.qualifiers(record.cell)
        variant = f"{record.cell.variant} ({extra})" if extra else record.cell.variant
        scenarios.setdefault((variant, record.cell.backend), set()).add(record.cell.scenario)
    backends: dict[tuple[str, tuple[Scenario, ...]], list[str]] = {}
    for (variant, backend), found in scenarios.items():
        in_order = tuple(scenario for scenario in SCENARIO_ORDER if scenario in found)
        backends.setdefault((variant, in_order), []).append(backend)
    variants: dict[tuple[tuple[str, ...], tuple[Scenario, ...]], list[str]] = {}
    for (variant, in_order), names in backends.items():
        variants.setdefault((tuple(sorted(names)), in_order), []).append(variant)
    return tuple(Place(tuple(names), places, in_order) for (places, in_order), names in variants.items())
