"""Hold capacity planning against what is known: exact queues, another simulator, published servers, this machine.

`--page` writes what was found last into docs/validation.md, as `python -m benchmarks.validation_page` does.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from typing import Any

from benchmarks import capacity_cases as cases
from benchmarks import capacity_live as live
from benchmarks import capacity_published as published
from benchmarks.common import Outcome, tell
from benchmarks.validation_page import write

NAME = "capacity_validation"
GOAL_FORMULA_PERCENT = 6.0
GOAL_EXACT_PERCENT = 5.0
GOAL_KNOWN_PERCENT = 0.01
GOAL_CIW_PERCENT = 6.0
WIDE = "log-normal, cv 2"


def main() -> None:
    """Compare and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of the live part, 0 leaves it out; default: 3")
    parser.add_argument("--duration", type=float, default=20.0, help="seconds of a live run; default: 20")
    parser.add_argument("--model", help="a model in place of the workload's own")
    parser.add_argument("--page", action="store_true", help="write docs/validation.md from the last results")
    chosen = parser.parse_args()
    if chosen.page:
        write([NAME])
        return
    outcomes, details = _against_theory()
    more = [_against_ciw(), _against_published()]
    if chosen.rounds:
        more.append(_against_this_machine(chosen.rounds, chosen.duration, chosen.model))
    for found, facts in more:
        outcomes += found
        details |= facts
    tell(NAME, outcomes, **details)


Part = tuple[list[Outcome], dict[str, Any]]


def _against_theory() -> Part:
    known, (exact, held) = cases.known_waits(), cases.exact_percentiles()
    by_law = defaultdict(list)
    for law, case in cases.formula_percentiles():
        by_law[law].append(case)
    trusted = [case for law, found in by_law.items() if law != WIDE for case in found]
    units = cases.formula_units()
    outcomes = [
        Outcome("formulas: worst error of printed waits", cases.worst(known), "%", GOAL_KNOWN_PERCENT, n=len(known)),
        Outcome("simulation: mean error of exact p99", cases.mean(exact), "%", GOAL_EXACT_PERCENT, n=len(exact)),
        Outcome("simulation: worst error of exact p99", cases.worst(exact), "%", n=len(exact)),
        Outcome("simulation: exact p99 within the interval of a run", 100 * held, "%", n=len(exact)),
        Outcome("formula: mean error of p99, cv <= 1", cases.mean(trusted), "%", GOAL_FORMULA_PERCENT, n=len(trusted)),
        Outcome("formula: worst error of p99, cv <= 1", cases.worst(trusted), "%", n=len(trusted)),
        Outcome("formula: mean error of p99, cv 2", cases.mean(by_law[WIDE]), "%", n=len(by_law[WIDE])),
        Outcome("formula: units as by simulation", 100 * _same(units), "%", n=len(units)),
    ]
    return outcomes, {
        "known": [one._asdict() for one in known],
        "exact": [one._asdict() for one in exact],
        "formula": {law: {"mean": cases.mean(f), "worst": cases.worst(f), "n": len(f)} for law, f in by_law.items()},
        "units": units,
    }


def _same(units: list[tuple[str, int, int]]) -> float:
    return statistics.fmean(formula == simulated for _, formula, simulated in units)


def _against_ciw() -> Part:
    found = cases.ciw_percentiles()
    outcomes = [
        Outcome("simulation: mean difference from Ciw", cases.mean(found), "%", GOAL_CIW_PERCENT, n=len(found)),
        Outcome("simulation: worst difference from Ciw", cases.worst(found), "%", n=len(found)),
    ]
    return outcomes, {"ciw": [one._asdict() for one in found]}


def _against_published() -> Part:
    if not published.TABLE.exists():
        raise SystemExit(f"{published.TABLE} is missing: the published results are part of the repository")
    found, ratios = published.predictions(), published.ratios()
    errors = [one.error_percent for one in found]
    every = [ratio for values in ratios.values() for ratio in values]
    low, middle, high = published.quantiles(every)
    outcomes = [
        Outcome("published servers: median error of the rate", statistics.median(errors), "%", n=len(errors)),
        Outcome(
            "published servers: median error without sign", statistics.median(map(abs, errors)), "%", n=len(errors)
        ),
        Outcome("published servers: median of server over offline", middle, "", low=low, high=high, n=len(every)),
    ]
    return outcomes, {
        "published": [one._asdict() for one in found],
        "ratios": {name: (*published.quantiles(values), len(values)) for name, values in sorted(ratios.items())},
    }


def _against_this_machine(rounds: int, duration_s: float, model: str | None) -> Part:
    seen = live.measure(rounds=rounds, duration_s=duration_s, model=model)
    outcomes = []
    for load in live.LOADS:
        runs = [pair for pair in seen.runs if pair[0].load == load]
        ratios = [100 * (one.percentile_s / said.value_s - 1) for one, said in runs]
        outcomes.append(
            Outcome(f"live at {load:g} of capacity: median error of p99", statistics.median(ratios), "%", n=len(runs))
        )
    inside = statistics.fmean(said.low_s <= one.percentile_s <= said.high_s for one, said in seen.runs)
    outcomes.append(Outcome("live: p99 within the predicted range", 100 * inside, "%", n=len(seen.runs)))
    runs_told = [one._asdict() | said._asdict() for one, said in seen.runs]
    return outcomes, {"live": runs_told, "capacity_per_s": seen.capacity_per_s, "duration_s": duration_s}


if __name__ == "__main__":
    main()
