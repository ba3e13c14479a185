"""Measure both sides in turn: fresh processes, one median each, in an order that no drift can take sides in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import MeasurementError
from leptonbench.gate.decide import wants_more
from leptonbench.gate.model import Candidate, Pass, Rules, SideCell
from leptonbench.gate.shown import EnergyFacts
from leptonbench.gate.sides import Side
from leptonbench.harness.children import scratch_folder
from leptonbench.harness.jobs import JOB_FILE, LATENCIES_FILE, RESULT_FILE
from leptonbench.harness.process import Start, run_child

WORKER = "leptonbench.harness.worker"
PADDING = "LEPTONBENCH_PADDING"
_MOST_PADDING = 4096  # bytes of environment: where the stack begins moves with it (Mytkowicz et al., ASPLOS 2009)
# All orders of base (A), head (B) and control (C). A and B alternate AB, BA; each order's reverse follows it, so that a
# steady drift cancels in every pair of the three.
ORDERS = ("ABC", "CBA", "CAB", "BAC", "ACB", "BCA")

_LATENCIES = "latencies_s"  # beside what the worker's own result says

Tell = Callable[[str, int, int], None]


@dataclass
class Samples:
    """The values of one cell as they come in.

    Attributes:
        base: One process's figures each, by metric tag in SI; `latency_p50` is what the gate judges.
        head: Likewise.
        control: Likewise, of the base once more.
        energy: What stands behind their joules, where they were metered.
        latencies_s: Of every query, by process, of base (A) and head (B): for percentiles over all of them.
    """

    base: list[dict[str, float]] = field(default_factory=list)
    head: list[dict[str, float]] = field(default_factory=list)
    control: list[dict[str, float]] = field(default_factory=list)
    energy: EnergyFacts | None = None
    latencies_s: dict[str, list[NDArray[np.float64]]] = field(default_factory=lambda: {"A": [], "B": []})

    def judged(self) -> Pass:
        """Return what the gate judges."""
        sides = (self.base, self.head, self.control)
        base, head, control = (tuple(values["latency_p50"] for values in side) for side in sides)
        return Pass(base_s=base, head_s=head, control_s=control)


class DuetFailure(MeasurementError):
    """A process of one side that gave no figure."""


class Duet:
    """A schedule of processes over both sides.

    Args:
        base: Whose processes are A and C.
        head: Whose processes are B.
        rules: How many pairs.
        seed: Of samples and paddings; another pass takes another one.
        tell: Told the cell, the pairs that are done and those that are planned.
    """

    def __init__(self, base: Side, head: Side, rules: Rules, *, seed: int, tell: Tell) -> None:
        self._sides = {"A": base, "B": head, "C": base}
        self._rules = rules
        self._seed = seed
        self._tell = tell
        self._padding = np.random.default_rng(seed)

    def measure(self, candidates: Sequence[Candidate]) -> tuple[dict[str, Samples], dict[str, str]]:
        """Measure every candidate, interleaved pair by pair; the noisy ones get more pairs.

        Returns:
            The samples by key, and why a candidate has none.
        """
        found = {candidate.key: Samples() for candidate in candidates}
        failed: dict[str, str] = {}
        with scratch_folder() as folder:
            for index, candidate in self._order(candidates, found, failed):
                try:
                    self._pair(candidate, index, found[candidate.key], folder)
                except DuetFailure as error:
                    failed[candidate.key] = f"{error.message}: {error.cause}" if error.cause else error.message
        return {key: samples for key, samples in found.items() if key not in failed}, failed

    def _order(
        self, candidates: Sequence[Candidate], found: Mapping[str, Samples], failed: Mapping[str, str]
    ) -> Iterator[tuple[int, Candidate]]:
        fewest, most = self._rules.pairs
        for index in range(most):
            for candidate in candidates:
                if candidate.key in failed:
                    continue
                # Once, at the usual number: asking again and again until it looks quiet would choose what is seen.
                if index == fewest and not wants_more(found[candidate.key].judged(), self._rules):
                    continue
                if index > fewest and len(found[candidate.key].base) < index:
                    continue
                self._tell(candidate.key, index, most if index >= fewest else fewest)
                yield index, candidate

    def _pair(self, candidate: Candidate, index: int, samples: Samples, folder: Path) -> None:
        """Measure one pair and its control; what belongs together has the same samples and the same seed."""
        values: dict[str, dict[str, float]] = {}
        result: dict[str, Any] = {}
        for letter in ORDERS[index % len(ORDERS)]:
            cell = candidate.head if letter == "B" else candidate.base
            result = self._process(self._sides[letter], cell, index, folder / "one")
            values[letter] = figures(result, side=self._sides[letter].label)
            if letter in samples.latencies_s and _LATENCIES in result:
                samples.latencies_s[letter].append(result[_LATENCIES])
        if (energy := result.get("energy")) is not None:
            samples.energy = EnergyFacts(*(str(energy[name]) for name in EnergyFacts._fields))
        samples.base.append(values["A"])
        samples.head.append(values["B"])
        samples.control.append(values["C"])

    def _process(self, side: Side, cell: SideCell, index: int, folder: Path) -> dict[str, Any]:
        """Run one process and return what it left."""
        folder.mkdir(exist_ok=True)
        if cell.job is None:
            raise DuetFailure(f"the {side.label} has nothing to measure")
        job = {**cell.job, "round_index": index, "seed": self._seed, "out": str(folder)}
        (folder / JOB_FILE).write_text(json.dumps(job), encoding="utf-8")
        for name in (RESULT_FILE, LATENCIES_FILE):
            (folder / name).unlink(missing_ok=True)
        start = Start(
            WORKER,
            folder,
            cell.timeout_s,
            cell.cell.threads,
            python=side.python or sys.executable,
            environment={**side.environment, PADDING: "x" * int(self._padding.integers(_MOST_PADDING))},
            cwd=side.cwd,
        )
        ended = run_child(start)
        try:
            found: dict[str, Any] = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            why = "; ".join(filter(None, (ended.message, *ended.stderr[-1:])))
            raise DuetFailure(f"a process of the {side.label} left no result", cause=why) from error
        if (folder / LATENCIES_FILE).exists():
            found[_LATENCIES] = np.asarray(np.load(folder / LATENCIES_FILE), dtype=np.float64)
        return found


def figures(result: Mapping[str, Any], *, side: str) -> dict[str, float]:
    """Return one process's figures from its result, which another leptonbench may have written.

    Raises:
        DuetFailure: If it failed, LoadGen found it invalid, or it has no median.
    """
    if failure := result.get("error"):
        raise DuetFailure(f"a process of the {side} failed: {failure.get('message')}", cause=failure.get("cause") or "")
    if not result.get("valid", True):
        reasons = "; ".join(map(str, result.get("invalid_reasons", ())))
        raise DuetFailure(f"LoadGen found a process of the {side} invalid", cause=reasons)
    values = {str(name): float(value) for name, value in result.get("values", {}).items()}
    if "latency_p50" not in values and values.get("throughput"):
        values["latency_p50"] = 1.0 / values["throughput"]  # offline: the time of one sample
    if not values.get("latency_p50", 0.0) > 0.0:
        raise DuetFailure(f"a process of the {side} measured no median", cause=", ".join(sorted(values)))
    energy, inferences = result.get("energy"), result.get("inferences")
    if energy and inferences:
        for name in ("energy_j", "low_j", "high_j"):
            values[name] = float(energy[name]) / float(inferences)
    return values
