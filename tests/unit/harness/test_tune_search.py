"""The search for a setting, on a simulated machine whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leptonbench.harness.request import LatencyTarget
from leptonbench.harness.search import (
    Engine,
    Queue,
    Setting,
    ablations,
    best_queue,
    choose,
    halve,
    layouts,
    option_changes,
    sustained_rate,
)
from leptonbench.schema import EngineOptions

DEFAULT = Engine("plain", 4)
SLO = LatencyTarget(percentile=0.9, seconds=0.1)


class Machine:
    """Engines with true rates, measured with noise that all engines of a sweep share and noise of their own."""

    def __init__(self, rates: dict[Engine, float], *, noise: float = 0.0, drift: float = 0.0, seed: int = 0) -> None:
        self.rates = rates
        self.noise, self.drift = noise, drift
        self.rng = np.random.default_rng(seed)
        self.asked: list[list[Engine]] = []

    def sweep(self, engines: Sequence[Engine]) -> dict[Engine, float]:
        self.asked.append(list(engines))
        common = np.exp(self.drift * self.rng.standard_normal())
        own = np.exp(self.noise * self.rng.standard_normal(len(engines)))
        return {e: self.rates[e] * common * factor for e, factor in zip(engines, own, strict=True) if e in self.rates}


def _engines(rates: Sequence[float]) -> dict[Engine, float]:
    return {DEFAULT: rates[0]} | {Engine("other", 1, number): rate for number, rate in enumerate(rates[1:], 1)}


def _search(machine: Machine, *, sweeps: int = 4) -> Engine | None:
    found = halve(list(machine.rates), machine.sweep, default=DEFAULT, sweeps=sweeps, go_on=lambda count: True)
    return choose(found, DEFAULT)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(1.0, 1000.0), min_size=1, max_size=24))
def test_without_noise_the_fastest_is_found_and_ties_go_to_the_default(rates: list[float]) -> None:
    machine = Machine(_engines(rates))
    found = _search(machine)
    assert found is not None
    best = max(rates)
    # Ratios so near to 1 that their logarithm vanishes are ties.
    assert machine.rates[found] == pytest.approx(best, rel=1e-9)
    if rates[0] == best:
        assert found == DEFAULT


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 40))
def test_halving_probes_far_less_than_every_engine_in_every_sweep(count: int) -> None:
    machine = Machine(_engines([float(n) for n in range(1, count + 1)]))
    _search(machine)
    assert len(machine.asked) == 4
    assert sum(map(len, machine.asked)) <= 2 * count + 4 * 3
    assert all(DEFAULT in asked for asked in machine.asked), "every finalist has rounds to be paired with"
    assert len(machine.asked[-1]) <= max(3, count // 8 + 2)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_a_clear_winner_is_found_through_noise_and_drift(seed: int) -> None:
    """Drift of 30 % between sweeps cancels from paired ratios; noise of 3 % within a sweep does not hide a factor 2."""
    rates = _engines([100.0, 60.0, 90.0, 200.0, 80.0, 70.0])
    found = _search(Machine(rates, noise=0.03, drift=0.3, seed=seed))
    assert found is not None
    assert rates[found] == 200.0


def test_equal_engines_are_rarely_preferred_to_the_default() -> None:
    """The best of several equals looks faster; the interval keeps the default in most searches."""
    rates = _engines([100.0] * 6)
    kept = sum(_search(Machine(rates, noise=0.05, seed=seed)) == DEFAULT for seed in range(100))
    assert kept >= 75


def test_an_engine_that_fails_is_left_out_at_once() -> None:
    machine = Machine(_engines([100.0, 300.0]))
    broken = Engine("broken", 1, 9)
    found = halve([*machine.rates, broken], machine.sweep, default=DEFAULT, sweeps=3, go_on=lambda count: True)
    assert found[broken] == []
    assert all(broken not in asked for asked in machine.asked[1:])
    assert choose(found, DEFAULT) == Engine("other", 1, 1)


def test_a_default_that_meets_the_target_at_no_rate_gives_way() -> None:
    machine = Machine(_engines([0.0, 30.0]))
    assert _search(machine) == Engine("other", 1, 1)


def test_nothing_is_chosen_where_nothing_meets_the_target() -> None:
    assert _search(Machine(_engines([0.0, 0.0]))) is None


def test_one_sweep_prefers_nothing_to_the_default() -> None:
    """One value a side has no interval: the budget was too short to tell."""
    assert _search(Machine(_engines([100.0, 400.0])), sweeps=1) == DEFAULT


def test_the_search_ends_when_it_is_told_to() -> None:
    machine = Machine(_engines([1.0, 2.0, 3.0, 4.0, 5.0]))
    counts: list[int] = []

    def go_on(count: int) -> bool:
        counts.append(count)
        return False

    halve(list(machine.rates), machine.sweep, default=DEFAULT, sweeps=4, go_on=go_on)
    assert len(machine.asked) == 1
    assert counts == [3], "the two best and the default would have come next"


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 256))
def test_every_layout_gives_each_thread_a_core(cores: int) -> None:
    found = layouts(cores)
    assert found[0] == (cores, 1)
    assert (1, cores) in found
    assert len(set(found)) == len(found)
    assert all(threads * instances <= cores for threads, instances in found)


def test_option_changes_are_all_single_changes() -> None:
    start = EngineOptions(io_binding=True)
    changes = option_changes(start)
    assert len(set(changes)) == len(changes) == 5
    for changed in changes:
        assert sum(getattr(changed, name) != getattr(start, name) for name in EngineOptions.model_fields) == 1


def _times(base_s: float, growth: float, sizes: Sequence[int] = (1, 2, 4, 8, 16)) -> dict[int, list[float]]:
    """Return service times of batches: `growth` 1 gains nothing by batching, 0 everything."""
    return {size: [base_s * size**growth] * 8 for size in sizes}


def test_a_queue_batches_where_batching_pays() -> None:
    queue, rate = best_queue(_times(0.01, 0.3), Engine("x", 1), SLO, percentile=0.9, seed=0)
    alone = sustained_rate(_times(0.01, 0.3), Setting(Engine("x", 1), Queue(1, 0.0)), SLO, percentile=0.9, seed=0)
    assert queue.max_batch >= 4
    assert rate > 1.5 * alone > 0


def test_a_queue_does_not_batch_where_it_costs() -> None:
    queue, _ = best_queue(_times(0.01, 1.2), Engine("x", 1), SLO, percentile=0.9, seed=0)
    assert queue == Queue(1, 0.0)


def test_more_instances_sustain_more() -> None:
    one, four = (
        sustained_rate(_times(0.01, 1.0), Setting(Engine("x", 1, n), Queue(1, 0.0)), SLO, percentile=0.9, seed=0)
        for n in (1, 4)
    )
    assert 4 * one < four < 8 * one, "a shared queue waits less than four queues do"


def test_no_rate_where_one_batch_takes_longer_than_the_target() -> None:
    queue, rate = best_queue(_times(0.2, 1.0), Engine("x", 1), SLO, percentile=0.9, seed=0)
    assert rate == 0.0
    assert queue.max_batch == 1


def test_a_largest_batch_beyond_the_measured_ones_counts_as_the_largest_measured() -> None:
    """Probing stops at the first size that takes longer than the target; the default queue may be longer still."""
    times = _times(0.01, 0.5, sizes=(1, 2))
    far, near = (
        sustained_rate(times, Setting(Engine("x", 1), Queue(size, 0.0)), SLO, percentile=0.9, seed=0) for size in (8, 2)
    )
    assert far == near > 0


def test_ablations_put_back_one_option_each() -> None:
    default = Setting(Engine("onnxruntime", 2), Queue(4, 0.002))
    winner = Setting(Engine("openvino", 1, 2, EngineOptions(arena=False, io_binding=True)), Queue(8, 0.0))
    found = ablations(winner, default)
    assert list(found) == ["backend", "parallelism", "batching", "arena", "io_binding"]
    assert found["backend"] == winner._replace(engine=winner.engine._replace(backend="onnxruntime"))
    assert found["parallelism"].engine[1:3] == (2, 1)
    assert found["batching"] == Setting(winner.engine, default.queue)
    assert found["arena"].engine.options == EngineOptions(io_binding=True)
    assert ablations(winner, winner) == {}
