"""CSV, one row a cell, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from leptonbench.exports.rows import record_row
from leptonbench.schema import CellRecord, RunManifest


def export_csv(manifest: RunManifest, records: Sequence[CellRecord]) -> str:
    """Write a run as CSV: run, cell axes, status, reason, then each metric's value, interval, unit, n and provenance.

    Values are in SI and written in full, so that reading them back gives the same numbers; what is absent is empty,
    with its reason in `<metric>_why_null`.
    """
    rows = [{"run": manifest.run_id, **record_row(record)} for record in records]
    columns = list(dict.fromkeys(column for row in rows for column in row)) or ["run"]
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
