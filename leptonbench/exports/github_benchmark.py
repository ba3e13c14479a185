"""github-action-benchmark's two files: `customSmallerIsBetter` and `customBiggerIsBetter`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from leptonbench.exports import Folder
from leptonbench.exports.headline import measured, title
from leptonbench.schema import METRICS, CellRecord, Direction, Quantity, RunManifest

SMALLER, BIGGER = "smaller-is-better.json", "bigger-is-better.json"
# What is worth a chart a cell: the action draws one for every entry.
_TAGS = (
    "latency_p50",
    "latency_p90",
    "throughput",
    "quality",
    "peak_memory",
    "energy_per_inference",
    "cost_per_million",
)


def export_github(manifest: RunManifest, records: Sequence[CellRecord]) -> Folder:
    """Write a run as the two lists that the action reads, by which way is better.

    An entry has `name`, `value` and `unit`, and where there is an interval its `range`; `extra` says how the figure
    was obtained.
    """
    entries: dict[str, list[dict[str, Any]]] = {SMALLER: [], BIGGER: []}
    for record in filter(measured, records):
        for tag in _TAGS:
            quantity = record.metrics.get(tag)
            if quantity is not None and quantity.value is not None:
                file = BIGGER if METRICS[tag].direction is Direction.HIGHER else SMALLER
                entries[file].append(_entry(record, tag, quantity, manifest))
    return Folder({file: json.dumps(found, indent=1, allow_nan=False) + "\n" for file, found in entries.items()})


def _entry(record: CellRecord, tag: str, quantity: Quantity, manifest: RunManifest) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": f"{title(record.cell)} {METRICS[tag].title_en}",
        "value": quantity.value,
        "unit": quantity.unit,
    }
    if quantity.low is not None and quantity.high is not None:
        entry["range"] = f"{quantity.low:.6g} to {quantity.high:.6g}"
    said = [quantity.provenance.value if quantity.provenance else "", quantity.method or ""]
    entry["extra"] = "\n".join([*filter(None, said), f"n={quantity.n}", f"run {manifest.run_id}"])
    return entry
