"""Names of cells: as short as the run allows, with whatever tells two cells apart."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from leptonbench.schema import CellSpec, RunManifest, Scenario, SuiteSpec

_AXES = ("device", "batch", "threads", "instances")
_HERE = "host-cpu"  # a cell elsewhere always says where
SCENARIO_ORDER = (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM, Scenario.SERVER, Scenario.OFFLINE)


def ordered(values: Iterable[str], declared: Sequence[str]) -> tuple[str, ...]:
    """Return distinct `values` in the order they were declared; undeclared ones follow in order of appearance."""
    seen = dict.fromkeys(values)
    return tuple([name for name in declared if name in seen] + [name for name in seen if name not in declared])


class Namer:
    """Name cells of one run; device, batch, threads and instances appear only where two cells differ in nothing else.

    What was set apart from the defaults always appears: it is not what the names alone stand for. Also gives every cell
    its page fragment, numbered in the order of `cells`.
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
        """Return what tells the cell from its siblings and the defaults beyond variant and backend; maybe nothing."""
        parts = {
            "device": cell.device,
            "batch": f"b{cell.batch}",
            "threads": f"t{cell.threads}",
            "instances": f"i{cell.instances}",
        }
        varying = self._varying[_place(cell)] | ({"device"} if cell.device != _HERE else set())
        shown = [text for axis, text in parts.items() if axis in varying]
        return " ".join((*shown, *cell.settings_tags))

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
    cores = manifest.fingerprint.identity.logical_cores
    words += ["--scenario", cell.scenario.value, *setting_words(cell, manifest.suite, cores=cores)]
    slo = manifest.settings.effective.get("overrides", {}).get("slo")
    if slo:
        words += ["--slo", slo_word(slo["percentile"], slo["seconds"])]
    return shlex.join(words)


def slo_word(percentile: float, seconds: float) -> str:
    """Return a latency target as the command line takes it: `p99=20ms`."""
    return f"p{100 * percentile:.6g}={1e3 * seconds:.9g}ms"


def setting_words(cell: CellSpec, suite: SuiteSpec, *, cores: int) -> list[str]:
    """Return the options of `leptonbench run` for what a cell has apart from the defaults.

    Args:
        cell: The cell.
        suite: Says what its queue would be by default.
        cores: Of the machine: the threads of a single instance by default.
    """
    words: list[str] = []
    if cell.threads * cell.instances != cores or cell.instances > 1:
        words += ["--threads", str(cell.threads)]
    words += ["--instances", str(cell.instances)] if cell.instances > 1 else []
    usual = {scenario.kind: scenario.max_batch for scenario in suite.scenarios}
    if cell.scenario in (Scenario.SERVER, Scenario.OFFLINE) and cell.batch != usual.get(cell.scenario):
        words += ["--max-batch", str(cell.batch)]
    if cell.max_wait_s is not None:
        words += ["--max-wait", f"{1e3 * cell.max_wait_s:.9g}ms"]
    if cell.options.graph_optimisation != "all":
        words += ["--graph-optimisation", cell.options.graph_optimisation]
    words += [] if cell.options.arena else ["--no-arena"]
    return [*words, "--io-binding"] if cell.options.io_binding else words
