"""How fast capacity planning is: events a second, two hundred cells over a week, a fleet of ten thousand units."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.common import ROOT, Outcome, of_interval, tell
from leptonbench.cost.capacity import Arrivals, ServiceModel, Target, size
from leptonbench.cost.capacity.simulation import Draws, lay_out, steady
from leptonbench.schema import Provenance

GOAL_PER_S, GOAL_CELLS_S, GOAL_FLEET_S, GOAL_FLEET_MIB = 2e6, 5.0, 10.0, 1024.0
CELLS = 200
_QUERIES = 2_000_000
_CURVE = (2, 1, 1, 1, 2, 5, 15, 35, 70, 95, 100, 95, 85, 90, 95, 90, 80, 70, 60, 50, 40, 25, 12, 5)


def main() -> None:
    """Time and tell; with the name of a part as the only argument, be a fresh process of it."""
    if len(sys.argv) == 2 and sys.argv[1] in PARTS:
        print(json.dumps(PARTS[sys.argv[1]]()))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=5, help="fresh processes of each part; default: 5")
    chosen = parser.parse_args()
    found = {name: [_fresh(name) for _ in range(chosen.processes)] for name in PARTS}
    outcomes = [
        _fast("arrivals a second, single queries", [run["single"] for run in found["events"]]),
        _fast("arrivals a second, batches of 8 on 4 engines", [run["batched"] for run in found["events"]]),
        of_interval(f"{CELLS} cells over a week", [run["seconds"] for run in found["cells"]], "s", goal=GOAL_CELLS_S),
        of_interval(
            "a million a second on ten thousand units",
            [run["seconds"] for run in found["fleet"]],
            "s",
            goal=GOAL_FLEET_S,
        ),
        of_interval("peak memory of that", [run["mib"] for run in found["fleet"]], "MiB", goal=GOAL_FLEET_MIB),
    ]
    tell("capacity_speed", outcomes, runs=found)


def _fast(name: str, values: list[float]) -> Outcome:
    told = of_interval(name, values, "1/s")
    return Outcome(name, told.value, "1/s", GOAL_PER_S, told.low, told.high, told.n, at_least=True)


def _fresh(part: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.capacity_speed", part]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def events() -> dict[str, float]:
    """Time long runs, arrivals drawn and percentile taken; compiled before."""
    times = np.random.default_rng(1).gamma(25.0, 0.01 / 25, size=2000)
    single, batched = lay_out({1: times}, 1), lay_out({1: times, 8: 3 * times}, 8)

    def rate(run: Callable[[], object]) -> float:
        began = time.perf_counter()
        run()
        return _QUERIES / (time.perf_counter() - began)

    def one(queries: int) -> object:
        return steady(single, Draws(1), rate_per_s=320.0, engines=4, max_wait_s=0.0, queries=queries).percentile(0.99)

    def eight(queries: int) -> object:
        return steady(batched, Draws(1), rate_per_s=900.0, engines=4, max_wait_s=0.002, queries=queries).percentile(
            0.99
        )

    one(1000), eight(1000)
    return {"single": rate(lambda: one(_QUERIES)), "batched": rate(lambda: eight(_QUERIES))}


def cells() -> dict[str, float]:
    """Plan cells that differ in speed, scatter, batching and instances, each against all hours of a week."""
    rng = np.random.default_rng(2)
    arrivals = Arrivals(tuple(5.0 * share for share in _CURVE) * 5 + tuple(2.0 * share for share in _CURVE) * 2)
    models = []
    for index in range(CELLS):
        mean_s, largest = rng.uniform(0.002, 0.03), (1, 1, 4, 8)[index % 4]
        sizes = [2**power for power in range(largest.bit_length())]
        rounds = [
            {b: mean_s * b**0.7 * rng.normal(1, 0.02) * rng.gamma(30.0, 1 / 30, size=300) for b in sizes}
            for _ in range(3)
        ]
        models.append(
            ServiceModel.measured(
                rounds, method="drawn", instances=1 + index % 2, max_batch=largest, max_wait_s=0.001 * (largest > 1)
            )
        )
    began = time.perf_counter()
    sizings = [size(model, arrivals, Target(0.99, 0.1)) for model in models]
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "feasible": float(sum(sizing.units is not None for sizing in sizings))}


def fleet() -> dict[str, float]:
    """Plan a million queries a second on units of a hundred a second."""
    times = {1: 0.0099 * np.random.default_rng(3).gamma(100.0, 1 / 100, size=1000)}
    model = ServiceModel.measured([times, times, times], method="drawn", provenance=Provenance.ASSUMED)
    began = time.perf_counter()
    sizing = size(model, Arrivals.steady(1e6), Target(0.99, 0.02))
    seconds = time.perf_counter() - began
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "units": float(sizing.units or 0), "mib": mib}


PARTS: dict[str, Callable[[], dict[str, float]]] = {"events": events, "cells": cells, "fleet": fleet}

if __name__ == "__main__":
    main()
