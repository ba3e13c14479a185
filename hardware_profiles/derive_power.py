"""Derive each CPU profile's power figures from published SPECpower results.

Run `python hardware_profiles/derive_power.py` to print what `cpu/*.yaml` holds under `power`; a test compares the two.
The rows are `published/specpower_servers.csv`, from green-coding-solutions/spec-power-model
(data/spec_data_cleaned_unmelted.csv):
wall watts of a whole server at active idle and at 10 to 100 % of its own full load, running Java.
"""

from __future__ import annotations

import csv
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

ROWS = Path(__file__).parent / "published" / "specpower_servers.csv"
LOADS = tuple(f"watts_{load:03d}" for load in range(0, 101, 10))

# Profile: the CPUs of its generation among the rows, and the sockets of the server that it describes.
GENERATIONS: dict[str, tuple[tuple[str, ...], int]] = {
    "amd-epyc-naples": (("epyc7501", "epyc7601"), 2),
    "amd-epyc-rome": (("epyc7702", "epyc7742"), 2),
    "amd-epyc-milan": (("epyc7713", "epyc7763"), 2),
    "intel-xeon-broadwell": (("xeone5-2699v4",), 2),
    "intel-xeon-cascade-lake": (
        ("xeonplatinum8176", "xeonplatinum8180")
        + ("xeonplatinum8276l", "xeonplatinum8276m", "xeonplatinum8280", "xeonplatinum8280l"),
        2,
    ),
    "intel-xeon-ice-lake": (("xeonplatinum8352y", "xeonplatinum8360y", "xeonplatinum8368q"), 2),
}
MODERN_SINCE, MODERN_THREADS = 2020, 32


class Spread(NamedTuple):
    """Median with lower and upper end."""

    median: float
    low: float
    high: float


class Power(NamedTuple):
    """A generation's idle and full wall watts, the threads of the median server and the shape between."""

    idle_w: Spread
    full_w: Spread
    hardware_threads: int
    shape: tuple[float, ...]
    rows: int


class PerTdp(NamedTuple):
    """Wall watts over the sum of the sockets' thermal design power, 10th to 90th percentile of recent servers."""

    idle: Spread
    full: Spread
    idle_per_thread_w: Spread
    full_per_thread_w: Spread
    shape: tuple[float, ...]
    rows: int


def read_rows() -> list[dict[str, str]]:
    """Return the published results, one a server."""
    with ROWS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _shape(rows: list[dict[str, str]]) -> tuple[float, ...]:
    """Return the median fraction of (full - idle) at each load."""
    curves = []
    for row in rows:
        watts = [float(row[load]) for load in LOADS]
        curves.append([(watt - watts[0]) / (watts[-1] - watts[0]) for watt in watts])
    return tuple(round(statistics.median(column), 3) for column in zip(*curves, strict=True))


def _range(values: list[float]) -> Spread:
    return Spread(round(statistics.median(values), 1), round(min(values), 1), round(max(values), 1))


def _deciles(values: list[float]) -> Spread:
    cuts = statistics.quantiles(values, n=10, method="inclusive")
    return Spread(round(statistics.median(values), 3), round(cuts[0], 3), round(cuts[-1], 3))


def generation(rows: list[dict[str, str]], cpus: tuple[str, ...], sockets: int) -> Power:
    """Return medians and ranges over the servers with one of the CPUs in this many sockets."""
    chosen = [row for row in rows if row["cpu"] in cpus and float(row["sockets"]) == sockets]
    return Power(
        idle_w=_range([float(row[LOADS[0]]) for row in chosen]),
        full_w=_range([float(row[LOADS[-1]]) for row in chosen]),
        hardware_threads=int(statistics.median_low([float(row["threads"]) for row in chosen])),
        shape=_shape(chosen),
        rows=len(chosen),
    )


def modern(rows: list[dict[str, str]]) -> PerTdp:
    """Return how recent large servers relate to their CPUs' thermal design power, for generations without rows."""
    chosen = [row for row in rows if float(row["year"]) >= MODERN_SINCE and float(row["threads"]) >= MODERN_THREADS]
    tdp_w = [float(row["tdp_w"]) * float(row["sockets"]) for row in chosen]
    idle_w, full_w = ([float(row[load]) for row in chosen] for load in (LOADS[0], LOADS[-1]))
    threads = [float(row["threads"]) for row in chosen]

    def over(watts: list[float], by: list[float]) -> Spread:
        return _deciles([watt / part for watt, part in zip(watts, by, strict=True)])

    return PerTdp(
        idle=over(idle_w, tdp_w),
        full=over(full_w, tdp_w),
        idle_per_thread_w=over(idle_w, threads),
        full_per_thread_w=over(full_w, threads),
        shape=_shape(chosen),
        rows=len(chosen),
    )


def main() -> None:
    """Print every derived figure."""
    rows = read_rows()
    for name, (cpus, sockets) in GENERATIONS.items():
        sys.stdout.write(f"{name}: {generation(rows, cpus, sockets)}\n")
    sys.stdout.write(f"recent servers: {modern(rows)}\n")


if __name__ == "__main__":
    main()
