"""Names of cells: as short as the run allows, with whatever tells two cells apart."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from leptonbench.schema import CellSpec, RunManifest, Scenario

_AXES = ("device", "batch", "threads", "instances")
SCENARIO_ORDER = (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM, Scenario.SERVER, Scenario.OFFLINE)


def ordered(values: Iterable[str], declared: Sequence[str]) -> tuple[str, ...]:
    """Return distinct `values` in the order they were declared; undeclared ones follow in order of appearance."""
    seen = dict.fromkeys(values)
    return tuple([name for name in declared if name in seen] + [name for name in seen if name not in declared])


class Namer:
    """Name cells of one run; device, batch, threads and instances appear only where two cells differ in nothing else.

    Also gives every cell its page fragment, numbered in the order of `cells`.
    """

    def __init__(self, cells: Sequence[CellSpec]) -> None:
        values: dict[tuple[str, ...], dict[str, set[object]]] = {}
        for cell in cells:
            axes = values.setdefault(_place(cell), {axis: set() for axis in _AXES})
            for axis, seen in axes.items():
                seen.add(getattr(cell, axis))
        self._varying = {
            place: {axis for axis, seen in axes.items() if len(seen) > 1} for place, axes in values.items()
        }
        self._anchors = {cell.key: f"c{number}" for number, cell in enumerate(cells, 1)}

    def anchor(self, cell: CellSpec) -> str:
        """Return the page fragment of the cell's details."""
        return self._anchors[cell.key]

    def qualifiers(self, cell: CellSpec) -> str:
        """Return what tells the cell from its siblings beyond variant and backend; empty if nothing does."""
        parts = {
            "device": cell.device,
            "batch": f"b{cell.batch}",
            "threads": f"t{cell.threads}",
            "instances": f"i{cell.instances}",
        }
        return " ".join(text for axis, text in parts.items() if axis in self._varying[_place(cell)])

    def short(self, cell: CellSpec) -> str:
        """Return `variant · backend` and the qualifiers, if any."""
        name = f"{cell.variant} · {cell.backend}"
        extra = self.qualifiers(cell)
        return f"{name} · {extra}" if extra else name


def _place(cell: CellSpec) -> tuple[str, ...]:
    return (cell.workload, cell.scenario.value, cell.variant, cell.backend)


def repeat_command(manifest: RunManifest, cell: CellSpec) -> str:
    """Return the command that measures this cell again, quoted for a shell."""
    words = ["leptonbench", "run", "--suite", manifest.suite.name]
    for option in ("workload", "variant", "backend", "device"):
        words += [f"--{option}", getattr(cell, option)]
    return shlex.join([*words, "--scenario", cell.scenario.value])
