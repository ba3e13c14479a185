"""A run's time budget: its shares, and which cells it has room for. The least important are dropped first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from leptonbench.schema import CellSpec, Scenario, SuiteSpec

PREPARE_SHARE = 0.30
SCORE_SHARE = 0.30
SIMULATE_SHARE = 0.10  # what is left measures
RESERVE_S = 8.0  # to write the records: no further round is started
_SHORTEST_S = 0.5  # of a window, unless the suite's own is shorter
# Seconds that a fresh process needs before its timed window, by engine: for estimates only, never for a result.
_START_S = {"torch": 4.0, "torch-compile": 10.0, "onnxruntime": 1.2, "openvino": 1.6}
_START_ELSE_S = 2.0
_AROUND_S = 0.8  # warm-up, calibration and the end of a process
_SERVER_TRIALS = 1.4  # runs a server cell needs for each round it keeps, typically


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a run may take.

    Attributes:
        total_s: Of the whole run; `None` without a limit.
        started: Monotonic time that it counts from.
    """

    total_s: float | None
    started: float

    def left_s(self) -> float | None:
        """Return the seconds left; `None` without a limit."""
        return None if self.total_s is None else self.total_s - (time.monotonic() - self.started)

    def until_s(self, share: float) -> float | None:
        """Return the seconds until a share of the budget is spent, not below zero; `None` without a limit."""
        left = self.left_s()
        return None if left is None or self.total_s is None else max(0.0, left - (1 - share) * self.total_s)


def round_estimate_s(cell: CellSpec, suite: SuiteSpec, sample_s: float = 0.0) -> float:
    """Return a rough time for all rounds of a cell.

    Args:
        cell: What is measured.
        suite: Its rounds, windows and fewest queries.
        sample_s: Of one inference, where it is known: a slow network needs longer for the fewest queries.
    """
    scenario = next((s for s in suite.scenarios if s.kind is cell.scenario), None)
    queries = scenario.min_queries if scenario and cell.scenario is not Scenario.OFFLINE else 0
    samples = cell.batch if cell.scenario is Scenario.MULTI_STREAM else 1
    window_s = max(suite.duration_s, queries * samples * sample_s)
    trials = _SERVER_TRIALS if cell.scenario is Scenario.SERVER else 1.0
    return suite.rounds * trials * (_START_S.get(cell.backend, _START_ELSE_S) + _AROUND_S + 1.1 * window_s)


def by_importance(suite: SuiteSpec) -> Callable[[CellSpec], tuple[int, int, int, int]]:
    """Return a sort key: the suite lists scenarios, variants and engines from the most to the least important."""
    scenarios = [scenario.kind for scenario in suite.scenarios]

    def rank(cell: CellSpec) -> tuple[int, int, int, int]:
        return (
            scenarios.index(cell.scenario),
            suite.variants.index(cell.variant),
            suite.backends.index(cell.backend),
            suite.workloads.index(cell.workload),
        )

    return rank


def groups_by_importance(cells: Sequence[CellSpec], suite: SuiteSpec) -> dict[str, CellSpec]:
    """Return the most important cell of each group of cells that share a score, the most important group first."""
    groups: dict[str, CellSpec] = {}
    for cell in sorted(cells, key=by_importance(suite)):
        groups.setdefault(cell.group, cell)
    return groups


def fit_budget(
    cells: Sequence[CellSpec], suite: SuiteSpec, *, left_s: float, sample_s: Mapping[str, float] | None = None
) -> tuple[tuple[CellSpec, ...], tuple[CellSpec, ...], float]:
    """Cut a run to the time left, by shorter windows and then by fewer cells.

    A scenario or a variant goes for all workloads and engines at once, so that what is left is a complete, smaller
    matrix.

    Args:
        cells: What could be measured.
        suite: Lists scenarios and variants in the order of their importance.
        left_s: Time for all rounds.
        sample_s: Seconds of one inference, by group, as far as they are known.

    Returns:
        The cells kept, the cells dropped, and the window in seconds.
    """
    known = sample_s or {}
    shorter_s = min(suite.duration_s, max(_SHORTEST_S, suite.duration_s / 2))

    def needs_s(kept: Sequence[CellSpec], duration_s: float) -> float:
        trial = suite.model_copy(update={"duration_s": duration_s})
        return sum(round_estimate_s(cell, trial, known.get(cell.group, 0.0)) for cell in kept)

    kept = cut(cells, suite, lambda some: min(needs_s(some, suite.duration_s), needs_s(some, shorter_s)) <= left_s)
    duration_s = suite.duration_s if needs_s(kept, suite.duration_s) <= left_s else shorter_s
    return kept, tuple(cell for cell in cells if cell not in kept), duration_s


def cut(
    cells: Sequence[CellSpec], suite: SuiteSpec, fits: Callable[[Sequence[CellSpec]], bool]
) -> tuple[CellSpec, ...]:
    """Drop whole scenarios from the last, then engines, then variants, until the rest fits.

    Variants stay longest, because they are what a suite compares. The most important cell stays even if it does not
    fit.

    Args:
        cells: What is left to measure.
        suite: Lists scenarios, variants and engines in the order of their importance.
        fits: Whether there is time for some of the cells.

    Returns:
        The cells kept, in the order given.
    """
    cuts: list[Callable[[CellSpec], bool]] = [
        *(lambda cell, kind=scenario.kind: cell.scenario is not kind for scenario in reversed(suite.scenarios[1:])),
        *(lambda cell, name=name: cell.backend != name for name in reversed(suite.backends[1:])),
        *(lambda cell, name=name: cell.variant != name for name in reversed(suite.variants[1:])),
        *(lambda cell, key=one.key: cell.key != key for one in sorted(cells, key=by_importance(suite), reverse=True)),
    ]
    kept = tuple(cells)
    for keep in cuts:
        if fits(kept):
            break
        kept = tuple(cell for cell in kept if keep(cell)) or kept
    return kept
