"""How often the gate is wrong: identical sides, injected slowdowns, and ten thousand gates at the noise recorded.

    python -m benchmarks.gate_error_rates --identical 60 --slowed-10 20 --slowed-5 20

Each gate is a line in `results/benchmarks/gate_error_rates.jsonl`, written when it ends, so the benchmark can be run in
pieces and goes on where it stopped; the numbers are how many gates of each kind there shall be in all. Lines of another
window, other rules or another processor stay in the file and out of the rates. A gate that cannot be judged is a line
too. It ends with the rates over everything recorded, where the time of a gate goes, and the simulation at the recorded
noise; with no gates asked for (`--identical 0 --slowed-10 0 --slowed-5 0`) it does just that, in seconds.

    python -m benchmarks.gate_error_rates --study

measures one schedule of identical sides and says how noisy a pair would be with fewer queries a process: how short the
window may be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import RESULTS, Outcome, of_interval, tell
from benchmarks.slowed_engine import SHARES, install
from leptonbench.errors import LeptonError
from leptonbench.gate.config import GateConfig
from leptonbench.gate.decide import confirmed, suspects, wants_more
from leptonbench.gate.match import match
from leptonbench.gate.model import GateResult, Layer, Pass, Rules, Verdict
from leptonbench.gate.run import Gate, GateRequest, run_gate
from leptonbench.gate.sides import Resolver
from leptonbench.harness.children import scratch_folder
from leptonbench.harness.system import fingerprint
from leptonbench.stats.paired import log_ratios, robust_sd
from leptonbench.stats.proportion import wilson

LINES = RESULTS / "gate_error_rates.jsonl"
KINDS = ("identical", *SHARES)
CELL = ("inspection", "fp32", "onnxruntime", "single-stream")
_RULES = Rules()
_GATE_GOAL_S = 240.0
_TYPICAL_S = 0.03  # of the made-up latencies: far above the floor of 50 us
_NOISES = ((0.01, False), (0.03, False), (0.05, False), (0.08, False), (0.03, True))  # of a pair; with spikes or not
_RARER = 5  # times as many gates without a change: their errors are rare
_FEWEST_GATES = 5  # recorded, before their noise is replayed
_PREFIXES = (4, 8, 12, 16, 24)  # queries a process


class _Clock:
    """Progress that says nothing and keeps when the first pair began: all before it is preparation."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.prepared_s: float | None = None

    def phase(self, text: str) -> None:
        """Say nothing."""

    def pair(self, cell: str, done: int, total: int) -> None:
        """Keep the time of the first."""
        if self.prepared_s is None:
            self.prepared_s = time.monotonic() - self._started


def setting(window_s: float) -> dict[str, Any]:
    """Return what lines must have in common to be counted together."""
    return {"window_s": window_s, "rules": _RULES.model_dump(mode="json"), "cpu": fingerprint().identity.cpu_model}


def request(backend: str, folder: Path, *, seed: int, window_s: float) -> GateRequest:
    """Ask for a gate of the cell on ONNX Runtime against itself on another backend."""
    for label, name in (("base", "onnxruntime"), ("head", backend)):
        text = f'[gate]\nworkload = "{CELL[0]}"\nvariants = ["{CELL[1]}"]\nbackends = ["{name}"]\n'
        (folder / f"{label}.toml").write_text(text, encoding="utf-8")
    config = GateConfig(seed=seed, rules=_RULES, window_s=window_s)
    return GateRequest(str(folder / "base.toml"), str(folder / "head.toml"), config)


def one_gate(kind: str, folder: Path, seed: int, window_s: float) -> dict[str, Any]:
    """Run one gate and return its line; an error that the gate explains is one, too."""
    backend = "onnxruntime" if kind == "identical" else kind
    line: dict[str, Any] = {"kind": kind, "seed": seed, "created": datetime.now(UTC).isoformat(timespec="seconds")}
    line |= {"load": os.getloadavg()[0]}
    clock, started = _Clock(), time.monotonic()
    try:
        result = run_gate(request(backend, folder, seed=seed, window_s=window_s), clock)
    except LeptonError as error:
        return line | {"wall_s": time.monotonic() - started, "prepared_s": clock.prepared_s} | _nothing(str(error))
    return line | {"wall_s": result.wall_s, "prepared_s": clock.prepared_s} | _told(result)


def _nothing(reason: str) -> dict[str, Any]:
    return {"verdict": "invalid", "reason": reason, "flagged": False, "change": None, "noise": None, "passes": []}


def _told(result: GateResult) -> dict[str, Any]:
    if not result.cells:
        return _nothing("; ".join(notice.message for notice in result.notices)) | {"verdict": result.verdict.value}
    (cell,) = result.cells
    found = next(finding for finding in cell.findings if finding.layer is Layer.DUET)
    return {
        "verdict": result.verdict.value,
        "reason": found.reason,
        "flagged": len(cell.passes) > 1,
        "change": found.change.value if found.change else None,
        "noise": found.noise,
        "passes": [one.model_dump() for one in cell.passes],
    }


def read_lines(same: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return what was recorded in a setting; a line that a kill cut off is not one."""
    found = []
    for text in LINES.read_text(encoding="utf-8").splitlines() if LINES.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(text))
    return [line for line in found if same is None or line.get("setting") == same]


def record(line: dict[str, Any]) -> None:
    """Keep one gate, on a line of its own whatever was cut off before."""
    LINES.parent.mkdir(parents=True, exist_ok=True)
    whole = not LINES.exists() or LINES.read_bytes()[-1:] in (b"", b"\n")
    with LINES.open("a", encoding="utf-8") as stream:
        stream.write(("" if whole else "\n") + json.dumps(line) + "\n")


def measure(wanted: dict[str, int], *, limit_s: float, window_s: float) -> None:
    """Run the gates that are missing, the kinds in turn, until there are as many as wanted or the time is up."""
    same = setting(window_s)
    ends = time.monotonic() + limit_s
    with scratch_folder() as folder:
        plugins = str(install(folder / "plugins"))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (plugins, os.environ.get("PYTHONPATH"))))
        while time.monotonic() < ends:
            done = {kind: sum(line["kind"] == kind for line in read_lines(same)) for kind in KINDS}
            missing = [kind for kind in KINDS if done[kind] < wanted[kind]]
            if not missing:
                break
            kind = min(missing, key=lambda kind: done[kind] / wanted[kind])
            line = one_gate(kind, folder, seed=1000 * KINDS.index(kind) + done[kind], window_s=window_s)
            record(line | {"setting": same})
            print(f"{datetime.now(UTC):%H:%M:%S} {kind} {done[kind] + 1}/{wanted[kind]}: {line['verdict']}", end="")
            print(f" {line['reason']} ({line['wall_s']:.0f} s, noise {line['noise'] or 0:.1%})", flush=True)


def share(name: str, hits: int, n: int, *, goal: float, at_least: bool = False) -> Outcome:
    """Return a rate with its Wilson interval."""
    interval = wilson(hits, n)
    return Outcome(name, interval.value, "", goal, interval.low, interval.high, n, at_least)


def rates(lines: Sequence[dict[str, Any]]) -> list[Outcome]:
    """Return the error rates over everything recorded."""
    outcomes = []
    same = [line for line in lines if line["kind"] == "identical"]
    if same:
        verdicts = [Verdict(line["verdict"]) for line in same]
        undecided = sum(verdict in (Verdict.INCONCLUSIVE, Verdict.INVALID) for verdict in verdicts)
        flagged = sum(line["flagged"] for line in same)
        outcomes += [
            share("identical sides: red", verdicts.count(Verdict.REGRESSED), len(same), goal=0.0),
            share("identical sides: flagged in the first pass", flagged, len(same), goal=0.02),
            share("identical sides: inconclusive or invalid", undecided, len(same), goal=0.10),
        ]
        outcomes += times(same)
        noises = [line["noise"] for line in same if line["noise"] is not None]
        if noises:
            outcomes.append(Outcome("noise of a pair, median", float(np.median(noises)), "", n=len(noises)))
    for kind, goal in (("slowed-10", 0.95), ("slowed-5", 0.85)):
        slowed = [line for line in lines if line["kind"] == kind]
        if slowed:
            red = sum(line["verdict"] == Verdict.REGRESSED.value for line in slowed)
            outcomes.append(share(f"{SHARES[kind]:.0%} slower: red", red, len(slowed), goal=goal, at_least=True))
    return outcomes


def times(lines: Sequence[dict[str, Any]]) -> list[Outcome]:
    """Return how long gates without a second pass take, and what of it is preparation and what a process."""
    once = [line for line in lines if not line["flagged"] and line["passes"] and line["prepared_s"] is not None]
    if not once:
        return []
    walls = [line["wall_s"] for line in once]
    processes = [
        (line["wall_s"] - line["prepared_s"]) / sum(len(values) for values in line["passes"][0].values())
        for line in once
    ]
    return [
        Outcome("longest gate without a second pass", max(walls), "s", _GATE_GOAL_S, n=len(walls)),
        of_interval("a gate without a second pass", walls, "s"),
        of_interval("  of which preparing both sides", [line["prepared_s"] for line in once], "s"),
        of_interval("  each of its processes", processes, "s"),
    ]


def study(window_s: float) -> list[Outcome]:
    """Measure one schedule of identical sides and return the noise of a pair over the first queries of each process."""
    with scratch_folder() as folder:
        asked = request("onnxruntime", folder, seed=0, window_s=window_s)
        resolver = Resolver(asked.config, None, changed={}, say=print)
        with resolver.both(asked.base, asked.head or asked.base) as (base, head):
            gate = Gate(asked, base, head, None, _Clock())
            reports = [gate.prepare(side, folder / side.label) for side in (base, head)]
            candidates, _ = match(reports[0], reports[1])
            found, failed = gate.duet(candidates, 0, "")
    if failed:
        sys.exit("; ".join(failed.values()))
    (samples,) = found.values()
    return prefix_noises(samples.latencies_s["A"], samples.latencies_s["B"])


def prefix_noises(base: Sequence[NDArray[np.float64]], head: Sequence[NDArray[np.float64]]) -> list[Outcome]:
    """Return the noise of a pair if each process had stopped after so many queries, as far as all have them."""
    most = min(one.size for one in (*base, *head))
    outcomes = []
    for count in (*(count for count in _PREFIXES if count < most), most):
        sides = [[float(np.median(one[:count])) for one in side] for side in (base, head)]
        noise = float(np.expm1(robust_sd(log_ratios(*sides))))
        outcomes.append(Outcome(f"noise of a pair, first {count} queries a process", noise, "", n=len(base)))
    return outcomes


def replayed(recorded: Sequence[Pass], pairs: int, random: np.random.Generator) -> Pass:
    """Draw a pass from the pairs of one recorded gate, chosen by chance: what all of its pairs have in common stays."""
    chosen = recorded[int(random.integers(len(recorded)))]
    index = random.integers(len(chosen.base_s), size=pairs)
    base, head, control = (np.asarray(side)[index] for side in (chosen.base_s, chosen.head_s, chosen.control_s))
    return Pass(base_s=tuple(base.tolist()), head_s=tuple(head.tolist()), control_s=tuple(control.tolist()))


def simulate(recorded: Sequence[Pass], gates: int, *, seed: int = 0) -> tuple[int, int]:
    """Run gates over replayed pairs of identical sides; return how many were flagged, and how many came out red."""
    random = np.random.default_rng(seed)

    def one() -> Pass:
        first = replayed(recorded, _RULES.pairs[0], random)
        return replayed(recorded, _RULES.pairs[1], random) if wants_more(first, _RULES) else first

    flags = reds = 0
    for _ in range(gates):
        if suspects({"cell": one()}, _RULES):
            flags += 1
            reds += bool(confirmed({"cell": one()}, _RULES))
    return flags, reds


def synthetic(noise: float, random: np.random.Generator, *, spiky: bool, slower: float) -> Pass:
    """Draw a pass of normal noise, with a tenth of the processes disturbed by 12 % where it is spiky."""

    def draw(pairs: int) -> Pass:
        sides = random.normal(0, noise / np.sqrt(2), size=(3, pairs))
        if spiky:
            sides += 0.12 * (random.random(sides.shape) < 0.1)
        sides[1] += slower
        base, head, control = (tuple((_TYPICAL_S * np.exp(side)).tolist()) for side in sides)
        return Pass(base_s=base, head_s=head, control_s=control)

    first = draw(_RULES.pairs[0])
    return draw(_RULES.pairs[1]) if wants_more(first, _RULES) else first


def simulated_rates(gates: int, *, seed: int = 0) -> list[Outcome]:
    """Return how often gates flag and come out red at noise that is made up, over sizes of a true slowdown."""
    outcomes = []
    for noise, spiky in _NOISES:
        for slower in (0.0, 0.03, 0.05, 0.10):
            random = np.random.default_rng((seed, round(1000 * noise), round(1000 * slower)))
            flags = reds = 0
            count = gates if slower else _RARER * gates
            for _ in range(count):
                shift = float(np.log1p(slower))
                if suspects({"cell": synthetic(noise, random, spiky=spiky, slower=shift)}, _RULES):
                    flags += 1
                    second = synthetic(noise, random, spiky=spiky, slower=shift)
                    reds += bool(confirmed({"cell": second}, _RULES))
            name = f"simulated, noise {noise:.0%}{' and spikes' if spiky else ''}, {slower:.0%} slower"
            outcomes += [_rate(f"{name}: flagged", flags, count), _rate(f"{name}: red", reds, count)]
    return outcomes


def _rate(name: str, hits: int, n: int) -> Outcome:
    interval = wilson(hits, n)
    return Outcome(name, interval.value, "", None, interval.low, interval.high, n)


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the figures as a table of a page."""
    rows = ["| | result | 95 % interval | n | goal |", "|---|---|---|---|---|"]
    for one in outcomes:
        value, low, high = (
            "-" if x is None else f"{x:.3g} s" if one.unit else f"{x:.2%}" for x in (one.value, one.low, one.high)
        )
        span = "-" if "-" in (low, high) else f"{low} to {high}"
        bound = "-" if one.goal is None else f"{one.goal:g} s" if one.unit else f"{one.goal:.1%}"
        sign = "" if one.goal is None else "at least " if one.at_least else "at most "
        rows.append(f"| {one.name.strip()} | {value} | {span} | {one.n} | {sign}{bound} |")
    return "\n".join(rows)


def main() -> None:
    """Run what is missing, and tell the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for kind, default in (("identical", 60), ("slowed-10", 20), ("slowed-5", 20)):
        parser.add_argument(f"--{kind}", type=int, default=default, help=f"gates in all; default: {default}")
    parser.add_argument("--limit", type=float, default=86_400.0, help="seconds after which no gate is begun")
    parser.add_argument("--simulated", type=int, default=10_000, help="gates at the recorded noise; default: 10000")
    parser.add_argument("--synthetic", type=int, default=0, help="gates at made-up noise of each kind and size")
    parser.add_argument("--window", type=float, default=0.5, help="seconds of a process's window; default: 0.5")
    parser.add_argument("--markdown", action="store_true", help="print the rates as a table for docs/gating.md, too")
    parser.add_argument("--study", action="store_true", help="measure how noisy shorter windows would be, and no gate")
    asked = parser.parse_args()
    if asked.study:
        tell("gate_window", study(max(1.0, asked.window)))
        return
    measure(
        {kind: getattr(asked, kind.replace("-", "_")) for kind in KINDS}, limit_s=asked.limit, window_s=asked.window
    )
    lines = read_lines(setting(asked.window))
    outcomes = rates(lines)
    same = [line for line in lines if line["kind"] == "identical" and line["passes"]]
    recorded = [Pass.model_validate(line["passes"][0]) for line in same]
    if len(recorded) >= _FEWEST_GATES and asked.simulated:
        flags, reds = simulate(recorded, asked.simulated)
        outcomes.append(share("simulated, identical sides: flagged", flags, asked.simulated, goal=0.02))
        outcomes.append(share("simulated, identical sides: red", reds, asked.simulated, goal=0.001))
    if asked.synthetic:
        outcomes += simulated_rates(asked.synthetic)
    if not outcomes:
        sys.exit("no gate is recorded: allow some, and some time")
    if asked.markdown:
        print(markdown(outcomes))
    tell("gate_error_rates", outcomes, gates=[{k: v for k, v in line.items() if k != "passes"} for line in lines])


if __name__ == "__main__":
    main()
