"""Whole networks on whole boards: are the bytes ONNX Runtime's, and how far are composed cycles from simulated ones?

Each network of the suite, in 8 bits, runs in `full` mode on one evaluation sample: every lowered layer in RTL, its
bytes held against those of ONNX Runtime's CPU provider on x86 with exact 8-bit products (`session.x64quantprecision` =
"1"). Beside it the same network is composed, no layer being known from before. Seconds are of this machine, builds
apart. The `full` simulation has a process of its own, whose peak memory is told together with its simulator's; the
simulated DRAM, which both have mapped, counts twice.

Others' published times: VTA's tsim takes 228 s for ResNet-18, without its first layer and with ideal memory
(apache/tvm pull request 4986); FINN's RTL simulation of ResNet-50 had not ended after 7 h (eki-project/finn-plus 102).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common import Outcome, tell
from leptonbench.catalog import load_board, load_variant, load_workload
from leptonbench.errors import UsageError
from leptonbench.fpga import boards
from leptonbench.fpga.execution.compose import ERROR, compose
from leptonbench.fpga.execution.full import run_full
from leptonbench.fpga.execution.host import HostSessions
from leptonbench.fpga.execution.outcome import CoreOutcome
from leptonbench.fpga.execution.reference import every_tensor
from leptonbench.fpga.execution.simulate import compile_for, free_lengths, memory_of
from leptonbench.fpga.lowering import lower
from leptonbench.fpga.sim.build import simulator
from leptonbench.harness.feed import named_for
from leptonbench.harness.jobs import PrepareJob, PrepareTarget, TaskRef
from leptonbench.harness.kitchen import Kitchen
from leptonbench.harness.simulated import typical
from leptonbench.paths import cache_dir
from leptonbench.schema import Board

WORKLOADS = ("inspection", "detection", "speech")
VARIANTS = ("int8-static", "prune50-channel+int8-static", "distill-half+int8-static")
BOARDS = ("kv260", "ulx3s-85f")
HEAD = (
    "| network | variant | board | layers | bytes that differ | cycles | composed | of the peak | bound by | full | "
    "memory | composed | again |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)
GOAL_COMPOSED_S, GOAL_FULL_S, GOAL_BYTES = 10.0, 60.0, 2e9


class Spent(NamedTuple):
    """Seconds on the clock, and of processors: on a machine with other work the first say little."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} s ({self.cpu:.1f})"


class Watch:
    """Reads both."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu_s()

    def spent(self) -> Spent:
        """Return the seconds since it was made."""
        return Spent(time.perf_counter() - self._wall, _cpu_s() - self._cpu)


def _cpu_s() -> float:
    """Return the processor seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Case(NamedTuple):
    """One network on one board."""

    name: str
    full: CoreOutcome
    composed: CoreOutcome
    full_s: Spent
    full_bytes: int
    composed_s: Spent
    again_s: Spent

    @property
    def error(self) -> float:
        """Return by what share composed cycles differ."""
        return self.composed.cycles / self.full.cycles - 1


def main() -> None:
    """Run all networks and tell."""
    chosen = _options()
    print(HEAD)
    outcomes: list[Outcome] = []
    details: dict[str, Any] = {}
    for workload in chosen.workloads:
        for variant in chosen.variants:
            path, feeds = artifact(workload, variant)
            for board in chosen.boards:
                name = f"{workload}, {variant}, {board}"
                try:
                    case = run(name, path, feeds, board)
                except UsageError as error:
                    print(f"{name}: not run: {error.message}")
                    details[name] = {"refused": error.message, "cause": error.cause}
                    continue
                outcomes += told(case)
                details[name] = facts(case)
                print(row(case), flush=True)
    tell("fpga_networks", outcomes, **details)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, names in (("workloads", WORKLOADS), ("variants", VARIANTS), ("boards", BOARDS)):
        parser.add_argument(f"--{name}", nargs="+", default=names, help=f"default: {' '.join(names)}")
    return parser.parse_args()


def artifact(workload: str, variant: str) -> tuple[Path, dict[str, Any]]:
    """Return a workload's 8-bit model, from the cache that a run uses, and one evaluation sample of median length."""
    spec, folder = load_workload(workload)
    model = folder / spec.model
    task = TaskRef(name=spec.task, model_dir=str(model), data=spec.data, workload_dir=str(folder))
    target = PrepareTarget(variant=load_variant(variant), format="onnx")
    job = PrepareJob(model=str(model), base=None, task=task, targets=(target,), cache=str(cache_dir()))
    kitchen = Kitchen(job, print)
    made = kitchen.make(target)
    index, _ = typical(kitchen.evaluation)
    feeds = named_for(kitchen.task.encode(kitchen.evaluation.raw(index)), made.inputs)
    return Path(made.path), {name: np.ascontiguousarray(value) for name, value in feeds.items()}


def run(name: str, path: Path, feeds: dict[str, Any], board_name: str) -> Case:
    """Simulate one network on one board, composed and in full."""
    board = load_board(board_name).board
    if board is None:
        raise ValueError("a board has a part `board`")
    simulator(boards.core_shape(board), progress=print)  # builds are apart
    with tempfile.TemporaryDirectory() as cache:
        composed, composed_s = _composed(path, feeds, board, Path(cache))
        _, again_s = _composed(path, feeds, board, Path(cache))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        full, full_s, full_bytes = fresh.submit(_full, path, feeds, board).result()
    return Case(name, full, composed, full_s, full_bytes, composed_s, again_s)


def _full(path: Path, feeds: dict[str, Any], board: Board) -> tuple[CoreOutcome, Spent, int]:
    """Simulate in full; return what it took of the core, of time and of memory in this process and its child."""
    watch = Watch()
    network = lower(path, lengths=free_lengths(path, feeds), host=board.host is not None)
    compiled = compile_for(network, board, active_cores=1)
    found, _ = run_full(
        compiled,
        memory_of(board, active_cores=1),
        {one: feeds[one] for one in network.inputs},
        host=HostSessions(network, threads=1).run,
        wanted=every_tensor(path, feeds),
    )
    spent = watch.spent()
    peak = sum(resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return found, spent, peak


def _composed(path: Path, feeds: dict[str, Any], board: Board, cache: Path) -> tuple[CoreOutcome, Spent]:
    watch = Watch()
    network = lower(path, lengths=free_lengths(path, feeds), host=board.host is not None)
    compiled = compile_for(network, board, active_cores=1)
    found = compose(compiled, memory_of(board, active_cores=1), cache=cache)
    return found, watch.spent()


def told(case: Case) -> list[Outcome]:
    """Return the figures that have goals."""
    return [
        Outcome(f"{case.name}: bytes that differ", float(case.full.mismatches or 0), "B", 0.0),
        Outcome(f"{case.name}: composed less full", 100 * case.error, "%", 100 * ERROR),
        Outcome(f"{case.name}: full", case.full_s.wall, "s", GOAL_FULL_S),
        Outcome(f"{case.name}: full, peak memory", float(case.full_bytes), "B", GOAL_BYTES),
        Outcome(f"{case.name}: composed, nothing known", case.composed_s.wall, "s", GOAL_COMPOSED_S),
        Outcome(f"{case.name}: of the array's peak", 100 * case.full.utilisation, "%"),
    ]


def facts(case: Case) -> dict[str, Any]:
    """Return what is kept of a case."""
    return {
        "bytes_that_differ": case.full.mismatches,
        "layers": len(case.full.layers),
        "programs": case.full.programs,
        "cycles_full": case.full.cycles,
        "cycles_composed": case.composed.cycles,
        "error": case.error,
        "utilisation": case.full.utilisation,
        "binding": case.full.binding(),
        "full_s": case.full_s._asdict(),
        "full_peak_bytes": case.full_bytes,
        "full_rtl_cpu_s": case.full.cpu_s,
        "composed_s": case.composed_s._asdict(),
        "composed_again_s": case.again_s._asdict(),
        "composed_simulated_cycles": case.composed.simulated_cycles,
        "layer_errors": [
            round(one.cycles / other.cycles - 1, 4)
            for one, other in zip(case.composed.layers, case.full.layers, strict=True)
        ],
    }


def row(case: Case) -> str:
    """Return a case as a row of a table."""
    binds = ", ".join(f"{name} {share:.0%}" for name, share in case.full.binding().items() if share >= 0.05)
    cells = [
        case.name.replace(", ", " | "),
        str(len(case.full.layers)),
        str(case.full.mismatches),
        f"{case.full.cycles:,.0f}",
        f"{100 * case.error:+.2f} %",
        f"{case.full.utilisation:.0%}",
        binds,
        str(case.full_s),
        f"{case.full_bytes / 1e9:.2f} GB",
        str(case.composed_s),
        str(case.again_s),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
