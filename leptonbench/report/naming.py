"""Names of cells: as short as the run allows, with whatever tells two cells apart."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from leptonbench.schema import CellSpec, RunManifest, Scenario

SCENARIO_ORDER = (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM, Scenario.SERVER, Scenario.OFFLINE)


def ordered(values: Iterable[str], declared: Sequence[str]) -> tuple[str, ...]:
    """Return distinct `values` in the order they were declared; undeclared ones follow in order of appearance."""
    seen = dict.fromkeys(values)
    return tuple([name for name in declared if name in seen] + [name for name in seen if name not in declared])


class Namer:
    """Name cells of one run; device, batch, threads and instances appear only where they differ within the run."""

    def __init__(self, cells: Sequence[CellSpec]) -> None:
        self._varying = {
            axis: len({getattr(cell, axis) for cell in cells}) > 1
            for axis in ("device", "batch", "threads", "instances")
        }

    def qualifiers(self, cell: CellSpec) -> str:
        """Return what tells the cell from its siblings beyond variant and backend; empty if nothing does."""
        parts = {
            "device": cell.device,
            "batch": f"b{cell.batch}",
            "threads": f"t{cell.threads}",
            "instances": f"i{cell.instances}",
        }
        return " ".join(text for axis, text in parts.items() if self._varying[axis])

    def short(self, cell: CellSpec) -> str:
        """Return `variant · backend` and the qualifiers, if any."""
        name = f"{cell.variant} · {cell.backend}"
        extra = self.qualifiers(cell)
        return f"{name} · {extra}" if extra else name


def anchor(cell: CellSpec) -> str:
    """Return the page fragment of a cell's details: its key without characters that a fragment would need escaped."""
    return "c-" + "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in cell.key)


def repeat_command(manifest: RunManifest, cell: CellSpec) -> str:
    """Return the command that measures this cell again, quoted for a shell."""
    words = ["leptonbench", "run", "--suite", manifest.suite.name]
    for option in ("workload", "variant", "backend", "device"):
        words += [f"--{option}", getattr(cell, option)]
    return shlex.join([*words, "--scenario", cell.scenario.value])
