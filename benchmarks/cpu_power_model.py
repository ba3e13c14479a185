"""How far the CPU's energy model is off on CPUs that it has not seen, with the rules that others use beside it.

`python -m benchmarks.cpu_power_model` leaves out every published result of one CPU, predicts its servers' wall power at
each load from the others, and does so for all CPUs; the same servers go to rules from the thermal design power (TDP)
and to their own curve, known at a few points. It prints the table, writes it to docs/energy.md and needs some seconds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.common import ROOT, Outcome, tell
from leptonbench.atomic import write_atomically
from leptonbench.meters.calibrated import power_of
from leptonbench.meters.server_power import (
    LATER_BAND,
    LIKE_BAND,
    SAME_BAND,
    PublishedServer,
    nearest,
    read_results,
    same_cpu,
)
from leptonbench.schema import LoadPoint, PowerFile

_LOADS = tuple(step / 10 for step in range(11))
_GOAL = 0.15
_LEAST_EARLIER = 30  # servers to look for neighbours among
_PAGE = ROOT / "docs" / "energy.md"
_BEGIN, _END = "<!-- benchmarks/cpu_power_model.py writes this -->", "<!-- end -->"
Predict = Callable[[PublishedServer, Sequence[PublishedServer]], Sequence[float]]


class Error(NamedTuple):
    """How far a method is off.

    Attributes:
        mean: Mean absolute relative error over servers and loads.
        idle: The same at idle.
        full: The same at full load.
        energy_p90: 90th percentile over servers of the error of the sum over loads.
        bias: Mean relative error of that sum, with its sign.
        within: Share of the servers whose sum is within the model's band.
        within_by_cpu: The same with every CPU counted once, however many results it has.
    """

    mean: float
    idle: float
    full: float
    energy_p90: float
    bias: float
    servers: int
    within: float
    within_by_cpu: float


def _total_tdp(held: PublishedServer) -> float:
    return held.server.tdp_w * held.server.sockets


def _rule(shape: Callable[[float], float]) -> Predict:
    return lambda held, others: [_total_tdp(held) * shape(load) for load in _LOADS]


def _curve(load: float) -> float:
    """Return the share of the TDP at a load, between the points of a curve that several tools use."""
    points = ((0.0, 0.12), (0.1, 0.32), (0.5, 0.75), (1.0, 1.02))
    for (left, low), (right, high) in zip(points, points[1:], strict=False):
        if load <= right:
            return low + (high - low) * (load - left) / (right - left)
    return points[-1][1]


def _own_points(loads: Sequence[float]) -> Predict:
    def predict(held: PublishedServer, others: Sequence[PublishedServer]) -> Sequence[float]:
        points = tuple(LoadPoint(load=load, watts=held.watts[round(10 * load)]) for load in loads)
        power = power_of(PowerFile(points=points, hardware_threads=1, source="the table", date="2022"))
        rise_w = power.full_w.value - power.idle_w.value
        return [power.idle_w.value + rise_w * power.fraction_at(load) for load in _LOADS]

    return predict


METHODS: dict[str, tuple[Predict, tuple[float, ...]]] = {
    "nearest servers, CPU left out": (lambda held, others: nearest(held.server, others).watts, ()),
    "share of TDP by load (.12/.32/.75/1.02)": (_rule(_curve), ()),
    "load x TDP": (_rule(lambda load: load), ()),
    "half of TDP, always": (_rule(lambda load: 0.5), ()),
    "TDP x (0.1 + 0.9 load^3)": (_rule(lambda load: 0.1 + 0.9 * load**3), ()),
    "own points at 0 and 100 %": (_own_points((0.0, 1.0)), (0.0, 1.0)),
    "own points at 0, 10, 50 and 100 %": (_own_points((0.0, 0.1, 0.5, 1.0)), (0.0, 0.1, 0.5, 1.0)),
}


def judge(results: Sequence[PublishedServer], predict: Predict, known: Sequence[float] = ()) -> Error:
    """Return the error over all servers; loads that the method was given are left out of the means.

    Args:
        results: Every published server.
        predict: Given a server and the results of other CPUs.
        known: Loads whose watts the method knows.
    """
    every: list[float] = []
    idle: list[float] = []
    full: list[float] = []
    energy: list[float] = []
    shares: list[float] = []
    scored = [index for index, load in enumerate(_LOADS) if load not in known]
    for cpu in sorted({result.cpu for result in results}):
        others = [result for result in results if result.cpu != cpu]
        before = len(energy)
        for held in (result for result in results if result.cpu == cpu):
            found = predict(held, others)
            off = [abs(found[i] - held.watts[i]) / held.watts[i] for i in range(len(_LOADS))]
            every.append(statistics.mean(off[i] for i in scored))
            idle.append(off[0])
            full.append(off[-1])
            energy.append(sum(found) / sum(held.watts) - 1.0)
        shares.append(statistics.mean(abs(error) <= LIKE_BAND for error in energy[before:]))
    sizes = sorted(map(abs, energy))
    within = sum(size <= LIKE_BAND for size in sizes) / len(sizes)
    p90 = sizes[int(0.9 * (len(sizes) - 1))]
    return Error(
        mean=statistics.mean(every),
        idle=statistics.mean(idle),
        full=statistics.mean(full),
        energy_p90=p90,
        bias=statistics.mean(energy),
        servers=len(sizes),
        within=within,
        within_by_cpu=statistics.mean(shares),
    )


def page(errors: dict[str, Error], cpus: int) -> str:
    """Return the table as Markdown."""
    servers = next(iter(errors.values())).servers
    head = (
        "| method | mean error | at idle | at full load | energy, 90th percentile | bias |\n|---|---|---|---|---|---|\n"
    )
    rows = [
        f"| {name} | {e.mean:.1%} | {e.idle:.0%} | {e.full:.0%} | {e.energy_p90:.0%} | {e.bias:+.0%} |"
        for name, e in errors.items()
    ]
    within, by_cpu = next(iter(errors.values()))[-2:]
    return (
        f"Wall power of {servers} published servers with {cpus} CPUs at eleven loads. Every result of the CPU that is\n"
        f"predicted is left out. Within the stated {LIKE_BAND:.0%} band lie {within:.0%} of the servers, and "
        f"{by_cpu:.0%} with\nevery CPU counted once.\n\n" + head + "\n".join(rows) + "\n"
    )


def write_section(text: str) -> None:
    """Put the table into the page, between its marks.

    Raises:
        ValueError: If the marks are not there.
    """
    before, _, rest = _PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    if not mark:
        raise ValueError(f"{_PAGE} has no section for this benchmark")
    write_atomically(_PAGE, f"{before}{_BEGIN}\n\n{text}\n{_END}{after}".encode())


def earlier_years(results: Sequence[PublishedServer]) -> list[float]:
    """Return the relative error of each server's sum over loads, predicted from servers of earlier years alone."""
    found = []
    for held in results:
        earlier = [one for one in results if one.server.year < held.server.year and one.cpu != held.cpu]
        if len(earlier) >= _LEAST_EARLIER:
            found.append(sum(nearest(held.server, earlier).watts) / sum(held.watts) - 1.0)
    return found


def same_cpus(results: Sequence[PublishedServer]) -> list[float]:
    """Return the same, predicted from other servers with the very CPU, by hardware thread as the meter does."""
    found = []
    for held in results:
        others = [one for one in results if one is not held]
        power = same_cpu(held.cpu, others, sockets=held.server.sockets)
        if power is None:
            continue
        rise_w = power.full_w.value - power.idle_w.value
        watts = sum(power.idle_w.value + rise_w * power.fraction_at(load) for load in _LOADS)
        found.append(watts * held.server.threads / power.hardware_threads / sum(held.watts) - 1.0)
    return found


def told(name: str, errors: Sequence[float], band: float | None = None) -> Outcome:
    """Return the 90th percentile of the size of some errors."""
    sizes = sorted(map(abs, errors))
    return Outcome(f"{name}: energy, 90th percentile", sizes[int(0.9 * (len(sizes) - 1))], "1", band, n=len(sizes))


def main() -> None:
    """Judge every method, print and write the table."""
    results = read_results()
    cpus = len({result.cpu for result in results})
    errors = {name: judge(results, predict, known) for name, (predict, known) in METHODS.items()}
    outcomes = [
        Outcome(name, error.mean, "1", _GOAL if number == 0 else None, n=error.servers)
        for number, (name, error) in enumerate(errors.items())
    ]
    best = next(iter(errors.values()))
    outcomes += [
        Outcome("energy, 90th percentile", best.energy_p90, "1", LIKE_BAND, n=best.servers),
        told("nearest servers of earlier years", earlier_years(results), LATER_BAND),
        told("other servers with the very CPU", same_cpus(results), SAME_BAND),
    ]
    write_section(page(errors, cpus))
    tell("cpu power model", outcomes, errors={name: error._asdict() for name, error in errors.items()}, cpus=cpus)


if __name__ == "__main__":
    main()
