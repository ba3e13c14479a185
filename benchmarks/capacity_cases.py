"""What capacity planning is checked against where the truth is known: exact formulas, another simulator, itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.cost.capacity import Arrivals, ServiceModel, Target, size
from leptonbench.cost.capacity.closed import mdc_mean_wait_s, mgc_wait, mmc_wait
from leptonbench.cost.capacity.simulation import Draws, Steady, lay_out, steady
from leptonbench.schema import Provenance

Floats = NDArray[np.float64]
ENGINES = (1, 4, 16)
LOADS = (0.5, 0.7, 0.85, 0.95)
QUERIES = 1_000_000
_HEAVY, _HEAVY_RUNS = 0.9, 10
_POOL = 20_000
_STATES = 1500


def ranks(count: int = _POOL) -> Floats:
    """Return the middles of so many equal parts of (0, 1)."""
    return (np.arange(count) + 0.5) / count


def exponential() -> Floats:
    """Return the quantiles of the exponential distribution with mean 1."""
    return np.asarray(-np.log1p(-ranks()))


def laws() -> dict[str, Floats]:
    """Return service times of mean 1 by what they are called: from none to wide scatter."""
    rng = np.random.default_rng(20)
    wide = np.exp(rng.standard_normal(_POOL) * math.sqrt(math.log(5.0)))
    two = np.concatenate([np.full(9 * _POOL // 10, 0.8), np.full(_POOL // 10, 2.8)])
    found = {
        "constant": np.ones(1),
        "gamma, cv 0.5": rng.gamma(4.0, 0.25, size=_POOL),
        "two lengths, cv 0.6": two,
        "exponential, cv 1": exponential(),
        "log-normal, cv 2": wide,
    }
    return {name: times / times.mean() for name, times in found.items()}


class Compared(NamedTuple):
    """One case twice.

    Attributes:
        truth: What it should be.
        found: What it was found to be.
    """

    case: str
    truth: float
    found: float

    @property
    def error_percent(self) -> float:
        """Return by how much the second is above the first."""
        return 100 * (self.found / self.truth - 1)


def worst(cases: list[Compared]) -> float:
    """Return the largest error without its sign, in per cent."""
    return max(abs(one.error_percent) for one in cases)


def mean(cases: list[Compared]) -> float:
    """Return the mean error without sign, in per cent."""
    return float(np.mean([abs(one.error_percent) for one in cases]))


def run(times: Floats, *, load: float, engines: int, seed: int) -> Steady:
    """Simulate single queries once, in units of the mean service time."""
    rate = load * engines / float(times.mean())
    pools = lay_out({1: times}, 1)
    return steady(pools, Draws(seed), rate_per_s=rate, engines=engines, max_wait_s=0.0, queries=QUERIES)


def latency(times: Floats, *, load: float, engines: int) -> Floats:
    """Simulate single queries; near a load of 1, where one run says little, so many runs that the tail is known."""
    return np.concatenate([run(times, load=load, engines=engines, seed=seed).latency_s for seed in range(_runs(load))])


def _runs(load: float) -> int:
    return 1 if load < _HEAVY else _HEAVY_RUNS


def known_waits() -> list[Compared]:
    """Compare formulas with printed values.

    Hillier and Lieberman, Introduction to Operations Research: the county hospital's emergency room, 2 patients an
    hour and 3 served (one doctor: 2/3 h, two: 1/24 h). Pollaczek-Khinchine for constant service, one engine.
    """
    one, two = (mmc_wait(2.0, 1 / 3, engines=engines) for engines in (1, 2))
    return [
        Compared("M/M/1, county hospital, mean wait (h)", 2 / 3, one.probability * one.mean_s),
        Compared("M/M/2, county hospital, mean wait (h)", 1 / 24, two.probability * two.mean_s),
        *(
            Compared(f"M/D/1, load {load}, mean wait", load / (2 * (1 - load)), mdc_mean_wait_s(load, 1.0, engines=1))
            for load in LOADS
        ),
    ]


def mmc_percentile(load: float, engines: int, percentile: float) -> float:
    """Return the exact percentile of the time in M/M/c, in mean service times: a wait and an exponential service."""
    wait = mmc_wait(load * engines, 1.0, engines=engines)
    rate = engines * (1 - load)

    def late(t: float) -> float:
        if abs(rate - 1) < 1e-9:
            both = (1 + t) * math.exp(-t)
        else:
            both = (rate * math.exp(-t) - math.exp(-rate * t)) / (rate - 1)
        return (1 - wait.probability) * math.exp(-t) + wait.probability * both

    low, high = 0.0, 1000.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if late(middle) > 1 - percentile else (low, middle)
    return high


def mdc_percentile(load: float, engines: int, percentile: float) -> float:
    """Return the exact percentile of the time in M/D/c, in service times (Franx 2001).

    P(W <= x) = sum over j < kc of P(queue <= kc - 1 - j) x Poisson(j; rate x (k - x)), for k - 1 <= x < k.
    """
    rate = load * engines
    queue = np.cumsum(_states(rate, engines))[engines:]

    def within(x: float) -> float:
        k = math.floor(x) + 1
        j = np.arange(k * engines)
        return float(np.sum(queue[k * engines - 1 - j] * _poisson(rate * (k - x), k * engines)))

    low, high = 0.0, (_STATES - 2 * engines) / (2 * engines)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < percentile else (low, middle)
    return 1.0 + high


def _poisson(mean_count: float, count: int) -> Floats:
    j = np.arange(count)
    logs = np.array([math.lgamma(i + 1) for i in j])
    return np.asarray(np.exp(j * math.log(max(mean_count, 1e-300)) - mean_count - logs))


def _states(rate: float, engines: int) -> Floats:
    """Return how likely each number of queries is in M/D/c: N a service time later is max(N - c, 0) + Poisson(rate)."""
    arrivals = _poisson(rate, _STATES)
    step = np.zeros((_STATES, _STATES))
    for state in range(_STATES):
        left = max(state - engines, 0)
        step[state, left:] = arrivals[: _STATES - left]
    step[:, -1] += 1 - step.sum(axis=1)
    equations = (step - np.eye(_STATES)).T
    equations[-1] = 1.0
    return np.asarray(np.linalg.solve(equations, np.eye(_STATES)[-1]))


def exact_percentiles() -> tuple[list[Compared], float]:
    """Compare simulated 99th percentiles with exact ones.

    Returns:
        The cases, and how often the interval of a single run holds the exact value, as a share.
    """
    cases, held = [], []
    for engines in ENGINES:
        for load in LOADS:
            for name, times, exact in (("M/M", exponential(), mmc_percentile), ("M/D", np.ones(1), mdc_percentile)):
                truth = exact(load, engines, 0.99)
                found = float(np.quantile(latency(times, load=load, engines=engines), 0.99))
                cases.append(Compared(f"{name}/{engines}, load {load}", truth, found))
                one = run(times, load=load, engines=engines, seed=100 + len(cases)).percentile(0.99)
                # The pool's quantiles are a thousandth off the exact law's, constant times have a step at the truth.
                held.append(one.low * 0.998 <= truth <= (one.high or math.inf) * 1.002)
    return cases, float(np.mean(held))


def formula_percentiles() -> Iterator[tuple[str, Compared]]:
    """Compare the formula's 99th percentiles with simulated ones, by law of service."""
    for name, times in laws().items():
        for engines in ENGINES:
            for load in LOADS:
                simulated = float(np.quantile(latency(times, load=load, engines=engines), 0.99))
                formula = mgc_wait(load * engines, times, engines=engines).percentile_s(times, 0.99)
                yield name, Compared(f"{name}, {engines} engines, load {load}", simulated, formula)


def formula_units() -> list[tuple[str, int, int]]:
    """Return the case, the formula's units and the simulation's, where queries go alone and where they are batched."""
    cases = []
    for name, times in laws().items():
        tight = float(np.quantile(times, 0.99))
        for factor in (1.3, 2.0, 4.0):
            model = ServiceModel.measured([{1: times}], method=name)
            sizing = size(model, Arrivals.steady(12.0), Target(0.99, factor * tight))
            if sizing.required is not None and sizing.closed_form is not None:
                cases.append((f"{name}, target {factor} x its p99", sizing.closed_form, sizing.required))
    batched = {size_: 0.4 + 0.6 * size_**0.8 for size_ in (1, 2, 4, 8)}
    for factor in (2.0, 3.0, 6.0):
        model = ServiceModel.constant(
            batched, provenance=Provenance.ASSUMED, method="batched", max_batch=8, max_wait_s=0.1
        )
        sizing = size(model, Arrivals.steady(40.0), Target(0.99, factor * batched[8] / 2))
        if sizing.required is not None and sizing.closed_form is not None:
            cases.append((f"batches of 8, target {factor / 2} x theirs", sizing.closed_form, sizing.required))
    return cases


def ciw_percentiles(customers: int = 60_000) -> list[Compared]:
    """Compare percentiles with those of Ciw, another simulator, with luck of its own."""
    import ciw

    cases = []
    for name, engines, load in (
        ("gamma, cv 0.5", 1, 0.8),
        ("exponential, cv 1", 3, 0.85),
        ("log-normal, cv 2", 4, 0.7),
    ):
        times = laws()[name]
        ciw.seed(11)
        network = ciw.create_network(
            arrival_distributions=[ciw.dists.Exponential(rate=load * engines)],
            service_distributions=[ciw.dists.Empirical(times.tolist())],
            number_of_servers=[engines],
        )
        simulation = ciw.Simulation(network)
        simulation.simulate_until_max_customers(customers)
        records = sorted(simulation.get_all_records(), key=lambda record: record.arrival_date)[customers // 10 :]
        theirs = np.array([record.waiting_time + record.service_time for record in records])
        ours = latency(times, load=load, engines=engines)
        for percentile in (0.5, 0.9, 0.99):
            cases.append(
                Compared(
                    f"{name}, {engines} engines, load {load}, p{100 * percentile:g}",
                    float(np.quantile(theirs, percentile)),
                    float(np.quantile(ours, percentile)),
                )
            )
    return cases
