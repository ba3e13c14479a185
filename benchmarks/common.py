"""What the benchmarks share: a result with its goal, the machine it is of, jobs for real workers, how all is shown."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from leptonbench import __version__
from leptonbench.atomic import write_atomically
from leptonbench.harness.children import scratch_folder
from leptonbench.harness.manifest import new_manifest
from leptonbench.harness.plan import plan_run
from leptonbench.harness.request import RunRequest, Silent
from leptonbench.harness.run import Run
from leptonbench.harness.system import fingerprint, git_state
from leptonbench.schema import CellSpec
from leptonbench.stats.summary import Interval, round_interval
from leptonbench.store import RunStore

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "benchmarks"
COMMAND = (sys.executable, "-m", "leptonbench")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One figure and what it should be.

    Attributes:
        value: In `unit`, with its interval where there is one.
        goal: The most it may be; `None` for a figure that is only told.
        at_least: The goal is the least it may be instead.
        n: Independent observations behind it.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 1
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Return whether the goal is met; `None` without one."""
        return None if self.goal is None else self.meets(self.value)

    def meets(self, value: float) -> bool:
        """Return whether a value would meet the goal."""
        return self.goal is None or (value >= self.goal if self.at_least else abs(value) <= self.goal)


def of_interval(name: str, values: Sequence[float], unit: str, *, goal: float | None = None) -> Outcome:
    """Return the median of several observations with its interval."""
    interval: Interval = round_interval(values)
    return Outcome(name, interval.value, unit, goal, interval.low, interval.high, interval.n)


def tell(benchmark: str, outcomes: Sequence[Outcome], **details: Any) -> None:
    """Print a table and write everything to `results/benchmarks/<benchmark>.json`."""
    machine = fingerprint()
    commit, dirty = git_state()
    rows = [("", "result", "interval", "n", "goal", "met")]
    for one in outcomes:
        span = f"[{one.low:.4g}, {one.high:.4g}]" if one.low is not None and one.high is not None else ""
        goal = f"{'>=' if one.at_least else '<='} {one.goal:g} {one.unit}" if one.goal is not None else ""
        rows.append((one.name, f"{one.value:.4g} {one.unit}", span, str(one.n), goal, _verdict(one)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    identity, state = machine.identity, machine.state
    load = f"{state.load_average[0]:.2f}" if state.load_average else "unknown"
    print(f"{benchmark}: {identity.cpu_model}, {identity.logical_cores} cores, {identity.os}, load {load}")
    for row in rows:
        print("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    document = {
        "benchmark": benchmark,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "leptonbench_version": __version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "outcomes": [{**{name: getattr(one, name) for name in one.__slots__}, "met": one.met} for one in outcomes],
        "details": details,
        "machine": machine.model_dump(mode="json"),
    }
    path = RESULTS / f"{benchmark.replace(' ', '_')}.json"
    write_atomically(path, json.dumps(document, indent=1).encode() + b"\n")
    print(f"  written to {path.relative_to(ROOT)}\n")


def _verdict(one: Outcome) -> str:
    """Word whether the goal is met, and whether the interval leaves it open."""
    if one.goal is None:
        return ""
    ends = [one.meets(end) for end in (one.low, one.high) if end is not None]
    return ("yes" if one.met else "no") + (", but the interval is wider" if any(end != one.met for end in ends) else "")


def options(description: str, **counts: int) -> argparse.Namespace:
    """Parse a benchmark's own options: its counts, and the model in place of the workload's."""
    parser = argparse.ArgumentParser(description=description)
    for name, default in counts.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    parser.add_argument("--duration", type=float, default=2.0, help="seconds of one timed window; default: 2")
    parser.add_argument("--model", help="a model in place of the workload's own")
    return parser.parse_args()


@contextmanager
def one_cell(
    variant: str, backend: str, scenario: str = "single-stream", *, model: str | None = None, duration_s: float = 2.0
) -> Iterator[tuple[Run, CellSpec]]:
    """Give a run of one cell that can make jobs for workers, in a folder that is gone afterwards."""
    filters: dict[str, tuple[str, ...]] = {"workload": ("inspection",), "variant": (variant,)}
    filters |= {"backend": (backend,), "scenario": (scenario,)}
    request = RunRequest(filters=filters, model=model, duration_s=duration_s)
    machine = fingerprint()
    decided = plan_run(request, machine)
    with scratch_folder() as folder:
        manifest = new_manifest(request, decided, machine, "benchmark")
        with RunStore.create(folder / "run", manifest) as store:
            run = Run(request, decided, store, progress=Silent(), started=time.monotonic())
            yield run, decided.cells[0]
