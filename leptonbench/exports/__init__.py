"""Other tools' formats: each exporter is one function from a run's records to what the tool reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from leptonbench.registry import Registry
from leptonbench.schema import CellRecord, RunManifest


class Folder(NamedTuple):
    """A format of several files.

    Attributes:
        files: Text by path inside the folder.
        copies: Paths inside the folder of files to copy there, by where they lie in the run's own folder.
    """

    files: Mapping[str, str]
    copies: Mapping[str, str] = {}


Exported = str | bytes | Folder
"""One text, one binary file, or a folder."""

Exporter = Callable[[RunManifest, Sequence[CellRecord]], Exported]

EXPORTERS: Registry[Exporter] = Registry(
    "export format",
    {
        "csv": "leptonbench.exports.csv:export_csv",
        "parquet": "leptonbench.exports.parquet:export_parquet",
        "pytest-benchmark": "leptonbench.exports.pytest_benchmark:export_pytest_benchmark",
        "github": "leptonbench.exports.github_benchmark:export_github",
        "mlperf": "leptonbench.exports.mlperf:export_mlperf",
    },
    group="leptonbench.exports",
)

__all__ = ["EXPORTERS", "Exported", "Exporter", "Folder"]
