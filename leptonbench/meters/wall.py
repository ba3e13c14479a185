"""From a device's own meter to the wall plug: the rest of the server is part of what its answers cost.

A card's joules alone understate a server with small cards two- to nine-fold: of the published results with power, a
server with one A2 takes 4.5 times the card's thermal design power from the wall, one with eight H200 0.98 times. So a
device's reading carries a second one at the wall. With a model of the host it is

    device / efficiency of the power supply + modelled wall energy of the host over the same window

and without one, the host is what published servers with that card drew beside its thermal design power, which is a
lower bound (a card may have drawn less) and so marked as assumed.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from leptonbench.errors import UsageError
from leptonbench.meters.base import Meter
from leptonbench.paths import data_root
from leptonbench.schema import Boundary, EnergyReading, Provenance, WallEnergy, weakest


class Efficiency(NamedTuple):
    """Of a server's power supply at half load: 80 PLUS Platinum, from Gold's low end to Titanium."""

    middle: float = 0.94
    low: float = 0.90
    high: float = 0.96


SUPPLY = Efficiency()
ADAPTER = Efficiency(middle=0.85, low=0.68, high=0.92)
"""A plug-in adapter of a small board. Low: the least that Level VI (10 CFR 430.32(w)) lets one of 5 V and 2.5 W have;
12 V and 36 W have at least 0.87."""
_ADAPTER_W = 49.0  # Level VI's classes of small adapters end here


def supply_of_board(full_w: float | None) -> Efficiency:
    """Return the supply of a board: an adapter where it is small, or its watts are not known; else a server's."""
    return ADAPTER if full_w is None or full_w <= _ADAPTER_W else SUPPLY


class CardServer(NamedTuple):
    """A published server with a kind of card: wall watts of the whole under load, for each card."""

    nvml_name: str
    tdp_w: float
    cards: int
    wall_w_per_card: float

    @property
    def host_w_per_card(self) -> float:
        """Return what the rest of the server drew for each card, if the card drew its thermal design power."""
        return max(0.0, self.wall_w_per_card - self.tdp_w)


@cache
def read_card_servers(path: Path | None = None) -> tuple[CardServer, ...]:
    """Return the published servers.

    Args:
        path: The table; leptonbench's own, if not given.

    Raises:
        UsageError: If the table is not there or a row is not a server.
    """
    chosen = path or data_root() / "hardware_profiles" / "published" / "accelerator_servers.csv"
    try:
        with chosen.open(encoding="utf-8", newline="") as file:
            return tuple(
                CardServer(
                    row["nvml_name"], float(row["tdp_w"]), int(row["cards_per_server"]), float(row["wall_w_per_card"])
                )
                for row in csv.DictReader(file)
            )
    except (OSError, KeyError, ValueError) as error:
        raise UsageError(
            f"`{chosen}` is no table of servers", cause=str(error), hint="reinstall leptonbench"
        ) from error


def wall_of_device(device: EnergyReading, host: EnergyReading, *, published_host_w: float = 0.0) -> WallEnergy:
    """Return a card's window at the wall, with the host that was modelled over the same window.

    Servers for accelerators have fans and networks that the model's servers lack, so the high end is no lower than what
    published servers with the card had.

    Args:
        device: The card's reading.
        host: The model's, of the same window.
        published_host_w: The most that the rest of a published server with this card drew for each card.
    """
    host_high_j = max(host.high_j, published_host_w * device.window_s)
    return WallEnergy(
        energy_j=device.energy_j / SUPPLY.middle + host.energy_j,
        low_j=device.low_j / SUPPLY.high + host.low_j,
        high_j=device.high_j / SUPPLY.low + host_high_j,
        method=f"{device.method}, / {SUPPLY.middle:g} for the power supply ({SUPPLY.low:g} to {SUPPLY.high:g}); host "
        f"{host.method}",
        provenance=weakest((device.provenance, host.provenance, Provenance.PROJECTED)),
    )


def hosts_of(name: str | None, servers: Sequence[CardServer]) -> list[float]:
    """Return the watts for each card of the rest of every published server with a card."""
    return [server.host_w_per_card for server in servers if server.nvml_name == name]


def wall_of_card(device: EnergyReading, name: str, servers: Sequence[CardServer]) -> WallEnergy | None:
    """Return a card's window at the wall by published servers with that card; `None` where there is none.

    Args:
        device: The card's reading.
        name: Of the card, as its driver tells it.
        servers: That were published.
    """
    own = hosts_of(name, servers)
    if not own:
        return None
    host_w = statistics.median(own)
    return WallEnergy(
        energy_j=device.energy_j / SUPPLY.middle + host_w * device.window_s,
        low_j=device.low_j / SUPPLY.high + min(own) * device.window_s,
        high_j=device.high_j / SUPPLY.low + max(own) * device.window_s,
        method=f"{device.method}, / {SUPPLY.middle:g} for the power supply; host {host_w:.0f} W ({min(own):.0f} to "
        f"{max(own):.0f} W) a card, at least, as in {len(own)} kinds of published servers with {name}",
        provenance=Provenance.ASSUMED,
    )


def wall_of_package(package: EnergyReading, host: EnergyReading) -> WallEnergy:
    """Return a CPU package's window at the wall: the host's model, though never less than what the counter saw."""
    return WallEnergy(
        energy_j=max(host.energy_j, package.energy_j / SUPPLY.middle),
        low_j=max(host.low_j, package.low_j / SUPPLY.high),
        high_j=max(host.high_j, package.high_j / SUPPLY.low),
        method=f"{host.method}; at least what the counter saw",
        provenance=weakest((host.provenance, Provenance.PROJECTED)),
    )


def itself(reading: EnergyReading) -> WallEnergy:
    """Return a reading that is of the wall already."""
    return WallEnergy(
        energy_j=reading.energy_j,
        low_j=reading.low_j,
        high_j=reading.high_j,
        method=reading.method,
        provenance=reading.provenance,
    )


class ServerMeter:
    """A device's or a package's own meter, with the same window at the wall.

    Args:
        inner: What is read.
        host: A model of the host's wall energy; `None` where it has no power figures.
        card: The card's name, for one that is read without a model of its host.

    Attributes:
        inner: What is read.
    """

    def __init__(self, inner: Meter, host: Meter | None, *, card: str | None = None) -> None:
        self.inner = inner
        self._host = host
        self._card = card
        self.least_window_s = max(inner.least_window_s, host.least_window_s if host else 0.0)

    def begin(self) -> None:
        """Open both windows: the host's within the device's, whose sensor may have to be started and stopped."""
        self.inner.begin()
        if self._host is not None:
            self._host.begin()

    def end(self) -> EnergyReading:
        """Close both windows.

        Raises:
            MeasurementError: If either reading is not sound.
        """
        host = None if self._host is None else self._host.end()
        reading = self.inner.end()
        return reading.model_copy(update={"wall": self._wall(reading, host)})

    def _wall(self, reading: EnergyReading, host: EnergyReading | None) -> WallEnergy | None:
        if host is None:
            return wall_of_card(reading, self._card, read_card_servers()) if self._card else None
        if reading.boundary == Boundary.PACKAGE:
            return wall_of_package(reading, host)
        most_w = max(hosts_of(self._card, read_card_servers()), default=0.0)
        return wall_of_device(reading, host, published_host_w=most_w)
