"""From a device's joules to the wall plug's: the supply, the host, and the published servers in its place."""

from __future__ import annotations

import pytest

from leptonbench.errors import UsageError
from leptonbench.meters.replay import ReplayMeter
from leptonbench.meters.wall import (
    SUPPLY,
    ServerMeter,
    read_card_servers,
    wall_of_card,
    wall_of_device,
    wall_of_package,
)
from leptonbench.schema import EnergyReading, Provenance


def reading(energy_j: float, boundary: str, *, band: float = 0.1, provenance: Provenance = Provenance.MEASURED):
    return EnergyReading(
        energy_j=energy_j,
        low_j=energy_j * (1 - band),
        high_j=energy_j * (1 + band),
        window_s=2.0,
        boundary=boundary,
        method=f"{boundary} meter",
        provenance=provenance,
        coverage=1.0,
        samples=2,
    )


CARD = reading(94.0, "device")
HOST = reading(200.0, "wall", band=0.3, provenance=Provenance.PROJECTED)


def test_the_wall_is_the_card_through_the_supply_and_the_host():
    wall = wall_of_device(CARD, HOST)
    assert wall.energy_j == pytest.approx(94.0 / 0.94 + 200.0)
    assert wall.low_j == pytest.approx(94.0 * 0.9 / 0.96 + 140.0)
    assert wall.high_j == pytest.approx(94.0 * 1.1 / 0.90 + 260.0)
    assert wall.provenance is Provenance.PROJECTED
    assert "device meter" in wall.method and "wall meter" in wall.method


def test_published_servers_with_the_card_raise_the_high_end_alone():
    plain, with_t4 = wall_of_device(CARD, HOST), wall_of_device(CARD, HOST, published_host_w=137.3)
    assert (with_t4.energy_j, with_t4.low_j) == (plain.energy_j, plain.low_j)
    assert with_t4.high_j == pytest.approx(94.0 * 1.1 / 0.90 + 2.0 * 137.3)
    meter = ServerMeter(ReplayMeter([CARD]), ReplayMeter([HOST]), card="Tesla T4")
    meter.begin()
    assert meter.end().wall == with_t4


def test_a_package_is_never_more_than_the_wall():
    small = wall_of_package(reading(50.0, "package"), HOST)
    assert small.energy_j == 200.0
    large = wall_of_package(reading(470.0, "package"), HOST)
    assert large.energy_j == pytest.approx(500.0)
    assert large.low_j <= large.energy_j <= large.high_j


def test_without_a_model_the_host_is_that_of_published_servers_with_the_card():
    servers = read_card_servers()
    wall = wall_of_card(CARD, "Tesla T4", servers)
    assert wall is not None
    assert wall.energy_j == pytest.approx(94.0 / 0.94 + 2.0 * (207.3 - 70.0))
    assert wall.provenance is Provenance.ASSUMED
    several = wall_of_card(CARD, "NVIDIA A100 80GB PCIe", servers)
    assert several is not None
    assert several.low_j < several.energy_j < several.high_j
    assert wall_of_card(CARD, "a card that nobody published", servers) is None


def test_published_servers_with_small_cards_take_many_times_the_cards_power():
    """Reporting the card's joules alone would understate such a server by as much."""
    factors = {server.nvml_name: server.wall_w_per_card / server.tdp_w for server in read_card_servers()}
    assert factors["NVIDIA L4"] > 8
    assert 0.8 < factors["NVIDIA H100 PCIe"] < 1
    assert all(server.host_w_per_card >= 0 for server in read_card_servers())


def test_a_table_that_is_none_is_refused(tmp_path):
    path = tmp_path / "servers.csv"
    path.write_text("nvml_name,tdp_w\nNVIDIA L4,many\n")
    with pytest.raises(UsageError, match="no table of servers"):
        read_card_servers(path)
    with pytest.raises(UsageError, match="no table of servers"):
        read_card_servers(tmp_path / "none.csv")


@pytest.mark.parametrize("boundary", ["device", "package"])
def test_a_reading_carries_the_same_window_at_the_wall(boundary):
    read = reading(94.0, boundary)
    meter = ServerMeter(ReplayMeter([read]), ReplayMeter([HOST]))
    meter.begin()
    found = meter.end()
    assert found.model_copy(update={"wall": None}) == read
    expected = wall_of_device(read, HOST) if boundary == "device" else wall_of_package(read, HOST)
    assert found.wall == expected


def test_without_host_and_without_published_servers_the_wall_is_unknown():
    for card, known in ((None, False), ("Nobody's card", False), ("NVIDIA L4", True)):
        meter = ServerMeter(ReplayMeter([CARD]), None, card=card)
        meter.begin()
        assert (meter.end().wall is not None) is known


def test_the_window_is_long_enough_for_both_meters():
    class Slow(ReplayMeter):
        least_window_s = 3.0

    assert ServerMeter(Slow([CARD]), ReplayMeter([HOST])).least_window_s == 3.0
    assert ServerMeter(ReplayMeter([CARD]), Slow([HOST])).least_window_s == 3.0
    assert SUPPLY.low < SUPPLY.middle < SUPPLY.high


def test_the_hosts_window_does_not_hold_the_start_and_the_stop_of_a_devices_sensor():
    """A sampler is a process: it takes a second to start, which is half of a short window."""
    now_s, seen = [0.0], {}

    class Timed(ReplayMeter):
        def __init__(self, name: str, given: EnergyReading, *, slow_s: float = 0.0) -> None:
            super().__init__([given])
            self._name, self._slow_s = name, slow_s

        def begin(self) -> None:
            now_s[0] += self._slow_s
            seen[self._name] = now_s[0]
            super().begin()

        def end(self) -> EnergyReading:
            seen[self._name] = now_s[0] - seen[self._name]
            now_s[0] += self._slow_s
            return super().end()

    meter = ServerMeter(Timed("card", CARD, slow_s=1.0), Timed("host", HOST))
    meter.begin()
    now_s[0] += 2.0
    meter.end()
    assert seen == {"card": 2.0, "host": 2.0}
