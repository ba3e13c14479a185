"""Parquet, one row a cell, typed: for frames and query engines."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

from leptonbench.exports.rows import AXES, PARTS, record_row
from leptonbench.schema import METRICS, CellRecord, RunManifest

_INTEGERS = ("batch", "threads", "instances")
_NUMBERS = ("max_wait_s",)
_TRUTHS = ("meets_target", "meets_quality")


def export_parquet(manifest: RunManifest, records: Sequence[CellRecord]) -> bytes:
    """Write a run as Parquet: the columns of the CSV, with types; values are in SI, absent ones null.

    Every run has the same columns of the same types, so files of many runs are one data set.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"run": manifest.run_id, "created": manifest.created, **record_row(record)} for record in records]
    fields = {
        "run": pa.string(),
        "created": pa.string(),
        **{axis: _axis_type(axis, pa) for axis in AXES},
        "status": pa.string(),
        "reason": pa.string(),
        **{name: pa.bool_() for name in _TRUTHS},
    }
    extra = sorted({tag for record in records for tag in record.metrics} - set(METRICS))
    for tag in (*METRICS, *extra):
        fields[tag] = pa.float64()
        fields |= {f"{tag}_{part}": _part_type(part, pa) for part in PARTS}
    schema = pa.schema(list(fields.items()))
    plain = [{name: _plain(row.get(name)) for name in fields} for row in rows]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(plain, schema=schema), buffer)
    return buffer.getvalue()


def _axis_type(axis: str, pa: Any) -> Any:
    if axis in _INTEGERS:
        return pa.int64()
    return pa.float64() if axis in _NUMBERS else pa.string()


def _part_type(part: str, pa: Any) -> Any:
    if part == "n":
        return pa.int64()
    return pa.float64() if part in ("low", "high", "confidence") else pa.string()


def _plain(value: Any) -> Any:
    """Return nested values (an engine's options) as JSON."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list | tuple) else value
