"""Other tools' formats: each exporter is one function from a run's records to text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leptonbench.registry import Registry
from leptonbench.schema import CellRecord, RunManifest

Exporter = Callable[[RunManifest, Sequence[CellRecord]], str]

EXPORTERS: Registry[Exporter] = Registry(
    "export format", {"csv": "leptonbench.exports.csv:export_csv"}, group="leptonbench.exports"
)

__all__ = ["EXPORTERS", "Exporter"]
