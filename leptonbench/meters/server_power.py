"""Wall power of a server that nobody metered, from published results of servers like it.

The table holds 395 SPECpower results with their CPU, sockets, cores, threads, memory, year and clock. A server's curve
is the geometric mean of its nearest neighbours' curves, weighted by closeness; closeness is the Euclidean distance over
those figures, each divided by its spread in the table. Nothing is fitted: the columns are all there are, and the number
of neighbours is fixed. Leaving out every result of the CPU that is asked for, the mean error is 14 %, where rules from
the thermal design power make 31 to 60 % (`benchmarks/cpu_power_model.py`).
"""

from __future__ import annotations

import csv
import math
import re
import statistics
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from leptonbench.errors import UsageError
from leptonbench.paths import data_root
from leptonbench.schema import Fact, PowerProfile, ServerSpec

NEIGHBOURS = 7
"""How many published servers a curve is made from; fixed beforehand, not tuned."""
LIKE_BAND = 0.30
"""Relative band of a curve by neighbours: the 90th percentile of the energy error on CPUs left out is 25 %."""
LATER_BAND = 0.40
"""The same for a server that is newer than every result: by those of earlier years the 90th percentile is 39 %."""
SAME_BAND = 0.20
"""The same where the very CPU has results: the servers around one CPU differ so much, 20 % in the 90th percentile."""
_CLOSEST = 1e-2
"""Added to distances, in spreads: a neighbour that is the same in every figure does not outweigh all others."""
_STRETCH = 1.25
"""How far beyond the table a figure may lie: further out there are no neighbours to speak of."""
_LOADS = tuple(f"watts_{load:03d}" for load in range(0, 101, 10))
_SOURCE = (
    "green-coding-solutions/spec-power-model data/spec_data_cleaned_unmelted.csv (published/specpower_servers.csv)"
)
_DATE = "2022"
_NOISE = re.compile(r"\(r\)|\(tm\)|\b(intel|amd|cpu|processor|\d+-core)\b|@.*|[^a-z0-9-]")


class PublishedServer(NamedTuple):
    """One published result: its CPU, what the server is, and its wall watts at 0, 10, .. 100 % load."""

    cpu: str
    server: ServerSpec
    watts: tuple[float, ...]


class Curve(NamedTuple):
    """Wall watts at 0, 10, .. 100 % load, and the results that they come from."""

    watts: tuple[float, ...]
    results: tuple[PublishedServer, ...]


def read_results(path: Path | None = None) -> tuple[PublishedServer, ...]:
    """Return every published result.

    Args:
        path: The table; leptonbench's own, if not given.

    Raises:
        UsageError: If the table is not there or a row is not a result.
    """
    return _read(path or data_root() / "hardware_profiles" / "published" / "specpower_servers.csv")


@cache
def _read(path: Path) -> tuple[PublishedServer, ...]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple(_result(row) for row in csv.DictReader(file))
    except (OSError, KeyError, ValueError) as error:
        raise UsageError(f"`{path}` is no table of servers", cause=str(error), hint="reinstall leptonbench") from error


def _result(row: dict[str, str]) -> PublishedServer:
    server = ServerSpec(
        tdp_w=float(row["tdp_w"]),
        sockets=round(float(row["sockets"])),
        cores=round(float(row["cores"])),
        threads=round(float(row["threads"])),
        ram_gb=float(row["ram_gb"]),
        year=round(float(row["year"])),
        freq_mhz=float(row["freq_mhz"]),
    )
    return PublishedServer(row["cpu"], server, tuple(float(row[load]) for load in _LOADS))


def _position(server: ServerSpec) -> tuple[float, ...]:
    """Return a server as a point: sizes on a logarithmic scale, for twice as much is the same step everywhere."""
    sizes = (server.tdp_w, server.sockets, server.cores, server.threads, server.ram_gb, server.freq_mhz)
    return (*map(math.log, sizes), float(server.year))


def nearest(server: ServerSpec, results: Sequence[PublishedServer], *, neighbours: int = NEIGHBOURS) -> Curve:
    """Return the curve of a server from the results most like it.

    Args:
        server: What is known of it.
        results: To choose among.
        neighbours: How many.

    Raises:
        UsageError: If there are too few results.
    """
    if len(results) < max(2, neighbours):
        raise UsageError(f"{len(results)} results are too few for {neighbours} neighbours")
    points = [_position(result.server) for result in results]
    spreads = [statistics.pstdev(column) or 1.0 for column in zip(*points, strict=True)]
    here = _position(server)

    def distance(point: tuple[float, ...]) -> float:
        return math.hypot(*((a - b) / spread for a, b, spread in zip(point, here, spreads, strict=True)))

    order = sorted(range(len(results)), key=lambda index: distance(points[index]))[:neighbours]
    weights = [1.0 / (distance(points[index]) + _CLOSEST) for index in order]
    chosen = tuple(results[index] for index in order)
    watts = tuple(
        math.exp(sum(w * math.log(r.watts[i]) for w, r in zip(weights, chosen, strict=True)) / sum(weights))
        for i in range(len(_LOADS))
    )
    return Curve(watts, chosen)


def _sizes(server: ServerSpec) -> dict[str, float]:
    """Return what makes a server large, by the name that an error gives it."""
    return {
        "total thermal design power, W": server.tdp_w * server.sockets,
        "cores": server.cores,
        "sockets": server.sockets,
    }


def check_in_range(server: ServerSpec, results: Sequence[PublishedServer]) -> None:
    """Refuse a server that is larger than any result: neighbours would understate it.

    Raises:
        UsageError: Naming the figure.
    """
    sizes = [_sizes(result.server) for result in results]
    for name, size in _sizes(server).items():
        most = max(one[name] for one in sizes)
        if size > _STRETCH * most:
            raise UsageError(
                f"no published server is like this one: {name} is {size:g}",
                cause=f"the largest among the results has {most:g}, and power is not carried on beyond {_STRETCH:g}x",
                hint="measure its power at 0, 10, 50 and 100 % load and give the points (docs/energy.md)",
            )


def power_like(server: ServerSpec, results: Sequence[PublishedServer]) -> PowerProfile:
    """Return the power of a server by its neighbours, with a wider band where all of them are older.

    Raises:
        UsageError: If it is out of the table's range.
    """
    check_in_range(server, results)
    curve = nearest(server, results)
    cpus = ", ".join(sorted({result.cpu for result in curve.results}))
    source = f"nearest {len(curve.results)} of {len(results)} SPECpower results ({cpus}); {_SOURCE}"
    newest = max(result.server.year for result in results)
    band = LIKE_BAND if server.year <= newest else LATER_BAND
    return to_profile(curve, threads=server.threads, source=source, band=band)


def same_cpu(name: str, results: Sequence[PublishedServer], *, sockets: int = 2) -> PowerProfile | None:
    """Return the power of a server with the CPU of this name, `None` where it has no result.

    Args:
        name: As the CPU calls itself (`AMD EPYC 7763 64-Core Processor`).
        results: To look in.
        sockets: Of the server; where no result has as many, those that there are.
    """
    wanted = _NOISE.sub("", name.lower())
    own = [result for result in results if result.cpu == wanted]
    chosen = [result for result in own if result.server.sockets == sockets] or own
    if not chosen:
        return None
    watts = tuple(statistics.median(column) for column in zip(*(result.watts for result in chosen), strict=True))
    threads = int(statistics.median_low([result.server.threads for result in chosen]))
    count = f"{len(chosen)} SPECpower result{'s' if len(chosen) > 1 else ''}"
    source = f"median of {count} with {chosen[0].server.sockets} x {wanted}; {_SOURCE}"
    return to_profile(Curve(watts, tuple(chosen)), threads=threads, source=source, band=SAME_BAND)


def to_profile(curve: Curve, *, threads: int, source: str, band: float) -> PowerProfile:
    """Return a curve as a profile: idle, full and the shape between; the ranges are those of the results."""
    idle_w, full_w = curve.watts[0], curve.watts[-1]
    shape = tuple(round((watt - idle_w) / (full_w - idle_w), 4) for watt in curve.watts)
    return PowerProfile(
        idle_w=_fact(idle_w, [result.watts[0] for result in curve.results], source),
        full_w=_fact(full_w, [result.watts[-1] for result in curve.results], source),
        hardware_threads=threads,
        shape=shape,
        shape_source=source,
        band=band,
    )


def _fact(watts: float, seen: Sequence[float], source: str) -> Fact:
    low, high = min(watts, *seen), max(watts, *seen)
    return Fact(value=round(watts, 1), unit="W", low=round(low, 1), high=round(high, 1), source=source, date=_DATE)
