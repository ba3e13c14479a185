"""How much faster int8-static inspection is than fp32 on the same engine and than torch eager, and at what quality.

The goals are for a CPU with VNNI. On another the same figures are told without goals, since without these
instructions 8-bit products cost as much as fp32's on some engines.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

from benchmarks.common import COMMAND, Outcome, tell
from leptonbench.backends.base import VNNI_FEATURES
from leptonbench.harness.children import scratch_folder
from leptonbench.harness.system import cpu_features
from leptonbench.schema import CellRecord
from leptonbench.stats.interval import Interval
from leptonbench.stats.summary import ratio_interval
from leptonbench.store import RunStore

GOAL_OVER_FP32, GOAL_OVER_EAGER, GOAL_QUALITY = 2.5, 4.0, 0.99
ENGINES = ("onnxruntime", "openvino")


def main() -> None:
    """Measure one interleaved run and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="fresh processes a cell; default: 7")
    rounds = parser.parse_args().rounds
    with scratch_folder() as folder:
        records = _run(folder / "run", rounds)
    native = bool(cpu_features() & VNNI_FEATURES)
    eager = records["fp32", "torch"]
    outcomes: list[Outcome] = []
    for engine in ENGINES:
        small, plain = records["int8-static", engine], records["fp32", engine]
        quality = (small.metrics["quality"].value or 0.0) / (plain.metrics["quality"].value or 1.0)
        outcomes += [
            _outcome(f"{engine}: over its own fp32", _ratio(plain, small), GOAL_OVER_FP32 if native else None),
            _outcome(f"{engine}: over torch eager fp32", _ratio(eager, small), GOAL_OVER_EAGER if native else None),
            Outcome(f"{engine}: share of fp32's top-1", quality, "", GOAL_QUALITY, at_least=True),
        ]
    tell("int8_speedup", outcomes, rounds=rounds, vnni=native)
    if not native:
        print(
            "  this CPU has no VNNI (avx_vnni, avx512_vnni, AMX or Arm dot products): the speedups have no goal here\n"
        )


def _run(out: Path, rounds: int) -> dict[tuple[str, str], CellRecord]:
    command = [*COMMAND, "run", "--suite", "manufacturing", "--workload", "inspection", "--scenario", "single-stream"]
    for option, names in (("--variant", ("fp32", "int8-static")), ("--backend", ("torch", *ENGINES))):
        for name in names:
            command += [option, name]
    command += ["--rounds", str(rounds), "--out", str(out)]
    ended = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    if ended.returncode not in (0, 3):  # 3: measured, and some cell is invalid or failed
        raise SystemExit(f"the run ended with {ended.returncode}")
    with RunStore.open(out) as store:
        return {(record.cell.variant, record.cell.backend): record for record in store.records()}


def _ratio(slow: CellRecord, fast: CellRecord) -> Interval:
    """Return how many times as long one cell's median latency is as another's, paired by round."""
    medians = [[r.values["latency_p50"] for r in record.rounds] for record in (slow, fast)]
    return ratio_interval(medians[0], medians[1], paired=True)


def _outcome(name: str, ratio: Interval, goal: float | None) -> Outcome:
    return Outcome(name, ratio.value, "x", goal, ratio.low, ratio.high, ratio.n, at_least=True)


if __name__ == "__main__":
    main()
