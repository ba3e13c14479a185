"""Published figures of accelerators, and which of them the method speaks of."""

from __future__ import annotations

import csv
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leptonbench.errors import UsageError
from leptonbench.fpga import ir
from leptonbench.fpga.scoreboard.accelerators import Accelerator, Catalogue, configure
from leptonbench.fpga.scoreboard.networks import agrees, draw, operations
from leptonbench.paths import data_root

_COLUMNS = ("system", "board", "network", "precision", "macs_per_cycle", "clock_mhz", "batch_or_threads", "fps")
_FACTORS = {"G": 1.0, "M": 1e-3}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One published configuration; releases of the same are one figure, with the median of their rates.

    Attributes:
        system: As published.
        board: As published.
        network: As published.
        threads: One thread keeps one core busy, and not always; several keep all busy.
        clock_mhz: As published.
        frames_per_s: Published.
        releases: How many rows it is the median of.
        sources: Where they were read.
        accelerator: As configured.
        drawing: The network.
    """

    system: str
    board: str
    network: str
    threads: str
    clock_mhz: float
    frames_per_s: float
    releases: int
    sources: tuple[str, ...]
    accelerator: Accelerator
    drawing: ir.Network

    @property
    def single(self) -> bool:
        """Whether one image is worked on at a time, the host's part included."""
        return self.threads == "1 thread"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a file of published figures has to say.

    Attributes:
        used: That are predicted.
        rows: In the file.
        left_out: Rows by the reason for which they are not.
    """

    used: tuple[Figure, ...]
    rows: int
    left_out: dict[str, int]


def load_figures(catalogue: Catalogue, path: Path | None = None) -> Figures:
    """Read published figures: the ones that come with leptonbench, or a file of the same columns.

    Raises:
        UsageError: If the file cannot be read, lacks a column, or has a number that is none.
    """
    path = path or data_root() / "hardware_profiles" / "published" / "fpga_published.csv"
    rows = _read(path)
    left_out: dict[str, int] = defaultdict(int)
    grouped: dict[tuple[str, ...], list[tuple[dict[str, str], Accelerator, ir.Network]]] = defaultdict(list)
    for number, row in enumerate(rows, start=2):
        found = _usable(catalogue, row, f"{path.name}, line {number}")
        if isinstance(found, str):
            left_out[found] += 1
        else:
            key = tuple(row[name] for name in ("system", "board", "network", "batch_or_threads", "clock_mhz"))
            grouped[key].append((row, *found))
    ordered = dict(sorted(left_out.items(), key=lambda item: -item[1]))
    return Figures(used=tuple(map(_figure, grouped.values())), rows=len(rows), left_out=ordered)


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"`{path}` cannot be read", cause=str(error)) from error
    lacking = [name for name in _COLUMNS if not rows or name not in rows[0]]
    if lacking:
        raise UsageError(
            f"`{path}` has no published figures",
            cause=f"it lacks the column `{lacking[0]}`" if rows else "it has no rows",
            hint=f"its first line names at least {', '.join(_COLUMNS)}",
        )
    return rows


def _usable(catalogue: Catalogue, row: dict[str, str], where: str) -> tuple[Accelerator, ir.Network] | str:
    """Return accelerator and network of a row, or why it is left out."""
    clock_mhz = _number(row, "clock_mhz", where)
    accelerator = configure(
        catalogue,
        row["system"],
        row["board"],
        macs_per_cycle=_number(row, "macs_per_cycle", where),
        clock_hz=clock_mhz * 1e6 if clock_mhz else None,
    )
    network = row["network"]
    if row["precision"] not in ("", "int8"):
        return "not 8-bit integers"
    if isinstance(accelerator, str):
        return accelerator
    if _number(row, "fps", where) is None:
        return "no rate is published"
    if network.endswith("w/ FC"):
        return "fully connected layers ran on the host"
    drawing = draw(network)
    if drawing is None:
        return "the network is not drawn here"
    gops = _gops(catalogue, row, where)
    if gops is None:
        return "the source does not say how many operations the network has"
    if not agrees(drawing, gops):
        return f"our drawing has {operations(drawing) / 1e9:.2f}e9 operations, the source's network {gops:g}e9"
    return accelerator, drawing


def _number(row: dict[str, str], column: str, where: str) -> float | None:
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if re.fullmatch(r"\d+(\.\d+)?-\d+(\.\d+)?", text):
        return None  # a range is no configuration
    if not 0 < value < float("inf"):
        raise UsageError(f"{where}: `{column}` is not a positive number", cause=f"it is `{text}`")
    return value


def _gops(catalogue: Catalogue, row: dict[str, str], where: str) -> float | None:
    """Return the operations, 1e9, that the source gives: in the network's name, a column, or the catalogue."""
    match = re.search(r"_(\d+(?:\.\d+)?)([GM])(?:_2\.0)?$", row["network"])
    if match:
        return float(match[1]) * _FACTORS[match[2]]
    fact = catalogue.gops.get(row["network"])
    return _number(row, "gops", where) or (fact.value if fact else None)


def _figure(rows: Sequence[tuple[dict[str, str], Accelerator, ir.Network]]) -> Figure:
    row, accelerator, drawing = rows[0]
    return Figure(
        system=row["system"],
        board=row["board"],
        network=row["network"],
        threads=row["batch_or_threads"],
        clock_mhz=accelerator.clock_hz / 1e6,
        frames_per_s=statistics.median(float(each["fps"]) for each, *_ in rows),
        releases=len(rows),
        sources=tuple(each.get("source") or "" for each, *_ in rows),
        accelerator=accelerator,
        drawing=drawing,
    )
