"""A gate that was kept: read back, whole and of a known version, for a second runner that confirms it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from leptonbench.errors import StorageError, UsageError
from leptonbench.gate.model import GATE_FILE, GATE_SCHEMA_VERSION, Finding, GateResult, Layer, Pass, Shown, SideInfo
from leptonbench.store_format import read_json


def read_gate(path: Path) -> GateResult:
    """Read a gate's result.

    Args:
        path: Its `gate.json`, or the folder that holds it.

    Raises:
        StorageError: If it cannot be read, is damaged, or was written by a newer leptonbench.
    """
    file = path / GATE_FILE if path.is_dir() else path
    document = read_json(file)
    version = document.get("schema_version")
    if isinstance(version, int) and version > GATE_SCHEMA_VERSION:
        raise StorageError(
            f"`{file}` was written by a newer leptonbench",
            cause=f"its format is version {version}; this leptonbench reads up to {GATE_SCHEMA_VERSION}",
            hint="upgrade with `pip install --upgrade leptonbench`",
        )
    try:
        return GateResult.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise StorageError(
            f"`{file}` is damaged", cause=f"`{key}`: {first['msg']}", hint="run the first pass again"
        ) from error


@dataclass(frozen=True, slots=True)
class First:
    """The first pass of a gate that is confirmed elsewhere.

    Attributes:
        passes: By cell key.
    """

    result: GateResult
    passes: Mapping[str, Pass]

    @classmethod
    def read(cls, path: Path) -> First:
        """Read it from its file.

        Raises:
            StorageError: If it cannot be read.
        """
        result = read_gate(path)
        return cls(result, {cell.cell.key: cell.passes[0] for cell in result.cells if cell.passes})

    def finding(self, key: str) -> Finding | None:
        """Return what the first pass found of a cell's speed."""
        cell = next((cell for cell in self.result.cells if cell.cell.key == key), None)
        return next((item for item in cell.findings if item.layer is Layer.DUET), None) if cell else None

    def shown(self, key: str) -> tuple[Shown, ...]:
        """Return what the first pass told of a cell, for budgets on what is not measured again."""
        return next((cell.shown for cell in self.result.cells if cell.cell.key == key), ())

    def other_cells(self, keys: Iterable[str]) -> str:
        """Say which cells are in one of the two only; empty if they are the same.

        A suspect that is not here would otherwise pass unmeasured.
        """
        then, now = {cell.cell.key for cell in self.result.cells}, set(keys)
        told = {"only in the first pass": then - now, "only here": now - then}
        return "; ".join(f"{where}: {', '.join(sorted(cells))}" for where, cells in told.items() if cells)

    def check(self, base: SideInfo, head: SideInfo) -> None:
        """Refuse to confirm one comparison by another.

        Raises:
            UsageError: If a side is another one than the first pass had.
        """
        for label, before, now in (("base", self.result.base, base), ("head", self.result.head, head)):
            told = [side.commit or side.given for side in (before, now)]
            if told[0] != told[1]:
                raise UsageError(
                    f"the {label} is not the one of the first pass",
                    cause=f"it was `{told[0]}`, and is `{told[1]}`",
                    hint="confirm with the same --base and --head",
                )
