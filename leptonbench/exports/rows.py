"""A record as one flat row: what tables, frames and CSV files are made of."""

from __future__ import annotations

from typing import Any

from leptonbench.schema import METRICS, CellRecord, CellSpec, Quantity

AXES = tuple(CellSpec.model_fields)
PARTS = ("low", "high", "unit", "n", "confidence", "provenance", "boundary", "method", "why_null")


def record_row(record: CellRecord) -> dict[str, Any]:
    """Flatten a record: its axes, status and reason, then each metric and its `PARTS` as `<metric>_<part>`.

    Every declared metric has its columns, so rows of different runs fit together; values are in SI.
    """
    row: dict[str, Any] = record.cell.model_dump(mode="json")
    row |= {
        "status": record.status.value,
        "reason": record.reason.code if record.reason else None,
        "meets_target": record.meets_target,
        "meets_quality": record.meets_quality,
    }
    for tag in [*METRICS, *sorted(set(record.metrics) - set(METRICS))]:
        row |= _quantity_columns(tag, record.metrics.get(tag))
    return row


def _quantity_columns(tag: str, quantity: Quantity | None) -> dict[str, Any]:
    if quantity is None:
        return dict.fromkeys([tag, *(f"{tag}_{part}" for part in PARTS)])
    fields = quantity.model_dump(mode="json")
    return {tag: fields["value"]} | {f"{tag}_{part}": fields[part] for part in PARTS}
