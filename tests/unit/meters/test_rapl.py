from __future__ import annotations

from pathlib import Path

import pytest

from leptonbench.errors import MeasurementError, PrerequisiteError
from leptonbench.meters.rapl import RaplMeter, availability
from leptonbench.schema import Provenance

RANGE_UJ = 262_143_328_850


def zone(root: Path, folder: str, name: str, energy_uj: int, range_uj: int = RANGE_UJ) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(name + "\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return path / "energy_uj"


@pytest.fixture
def powercap(tmp_path: Path) -> dict[str, Path]:
    """Two sockets with every kind of domain that Linux shows."""
    root = tmp_path / "powercap"
    return {
        "root": root,
        "package-0": zone(root, "intel-rapl:0", "package-0", 1_000_000),
        "core": zone(root, "intel-rapl:0:0", "core", 500_000),
        "uncore": zone(root, "intel-rapl:0:1", "uncore", 100_000),
        "dram": zone(root, "intel-rapl:0:2", "dram", 200_000),
        "package-1": zone(root, "intel-rapl:1", "package-1", 5_000_000),
        "psys": zone(root, "intel-rapl:2", "psys", 9_000_000),
        "mmio": zone(root, "intel-rapl-mmio:0", "package-0", 1_000_000),
    }


class Clock:
    """Nanoseconds that pass only when told to."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def advance(powercap: dict[str, Path], **delta_uj: int) -> None:
    for name, delta in delta_uj.items():
        path = powercap[name.replace("_", "-")]
        path.write_text(str(int(path.read_text()) + delta))


def working(root: Path, *, without: str = "", step_uj: int = 1000, clock: Clock | None = None):
    """Return a `sleep` in which every counter moves, but for one."""

    def sleep(seconds: float) -> None:
        if clock is not None:
            clock.now_ns += round(seconds * 1e9)
        for path in root.glob("intel-rapl*"):
            if (path / "name").read_text().strip() != without:
                (path / "energy_uj").write_text(str(int((path / "energy_uj").read_text()) + step_uj))

    return sleep


def test_packages_and_dram_add_up_and_nothing_is_counted_twice(powercap):
    clock = Clock()
    meter = RaplMeter(powercap["root"], clock_ns=clock)
    meter.begin()
    clock.now_ns = 2_000_000_000
    advance(powercap, package_0=30_000_000, core=20_000_000, uncore=1_000_000, dram=4_000_000)
    advance(powercap, package_1=10_000_000, psys=60_000_000, mmio=30_000_000)
    reading = meter.end()
    assert reading.energy_j == pytest.approx(44.0)
    assert reading.low_j < 44.0 < reading.high_j
    assert (reading.window_s, reading.boundary, reading.provenance) == (2.0, "package", Provenance.MEASURED)
    assert "package-0 + dram + package-1" in reading.method
    assert "idle part not separated" in reading.method


def test_a_counter_that_wraps_goes_on(tmp_path):
    counter = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 3_000_000)
    meter = RaplMeter(tmp_path, clock_ns=Clock())
    meter.begin()
    counter.write_text("7000000")
    assert meter.end().energy_j == pytest.approx(10.0)


def test_known_idle_power_is_split_off(powercap):
    clock = Clock()
    meter = RaplMeter(powercap["root"], idle_w=8.0, clock_ns=clock)
    meter.begin()
    clock.now_ns = 2_000_000_000
    advance(powercap, package_0=30_000_000, dram=1_000_000, package_1=9_000_000)
    assert meter.end().idle_j == pytest.approx(16.0)


def test_a_counter_that_stands_still_is_a_fault(powercap):
    meter = RaplMeter(powercap["root"], clock_ns=Clock())
    meter.begin()
    advance(powercap, package_0=1_000_000, dram=1_000_000)
    with pytest.raises(MeasurementError, match="`package-1` did not move"):
        meter.end()


def test_a_window_that_could_hide_a_turn_is_refused(tmp_path):
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0, range_uj=65_000_000_000)
    clock = Clock()
    meter = RaplMeter(tmp_path, clock_ns=clock)
    meter.begin()
    clock.now_ns = 66_000_000_000
    counter.write_text("1000000")
    with pytest.raises(MeasurementError, match="whole turn"):
        meter.end()


def test_a_window_is_opened_before_it_is_closed_and_closed_once(powercap):
    meter = RaplMeter(powercap["root"], clock_ns=Clock())
    with pytest.raises(MeasurementError, match="before it was opened"):
        meter.end()
    meter.begin()
    advance(powercap, package_0=1, dram=1, package_1=1)
    meter.end()
    with pytest.raises(MeasurementError, match="before it was opened"):
        meter.end()


def test_a_counter_that_vanishes_is_a_failed_measurement(powercap):
    meter = RaplMeter(powercap["root"], clock_ns=Clock())
    powercap["dram"].unlink()
    with pytest.raises(MeasurementError, match="could not be read"):
        meter.begin()


def test_nothing_to_read_is_a_missing_prerequisite(tmp_path):
    with pytest.raises(PrerequisiteError, match="no package energy counter"):
        RaplMeter(tmp_path)


def cpuinfo(tmp_path: Path, flags: str) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    return path


def test_counters_on_bare_metal_are_available(powercap, tmp_path):
    root = powercap["root"]
    assert availability(root, cpuinfo=cpuinfo(tmp_path, "fpu avx2"), sleep=working(root)).available


def test_without_cpuinfo_counters_are_taken_as_they_are(powercap, tmp_path):
    root = powercap["root"]
    assert availability(root, cpuinfo=tmp_path / "none", sleep=working(root)).available


@pytest.mark.parametrize("name", ["dram", "package-1"])
def test_a_counter_that_is_stuck_leaves_the_others_unused(powercap, tmp_path, name):
    root = powercap["root"]
    found = availability(root, cpuinfo=tmp_path / "none", sleep=working(root, without=name))
    assert not found.available
    assert f"`{name}` stands still" in found.reason
    assert found.hint


def test_what_is_not_counted_may_stand_still(powercap, tmp_path):
    root = powercap["root"]
    assert availability(root, cpuinfo=tmp_path / "none", sleep=working(root, without="psys")).available


def test_counters_in_a_virtual_machine_are_not_relied_on(powercap, tmp_path):
    found = availability(powercap["root"], cpuinfo=cpuinfo(tmp_path, "fpu hypervisor avx2"))
    assert not found.available
    assert "virtual machine" in found.reason


def test_no_counter_has_a_reason_and_a_hint(tmp_path):
    found = availability(tmp_path, cpuinfo=tmp_path / "none")
    assert not found.available
    assert "no package energy counter" in found.reason
    assert "intel_rapl_msr" in found.hint


def test_only_platform_energy_is_not_a_package(tmp_path):
    zone(tmp_path, "intel-rapl:0", "psys", 1)
    assert not availability(tmp_path, cpuinfo=tmp_path / "none").available


def test_a_counter_for_root_only_says_how_to_open_it(powercap, tmp_path, monkeypatch):
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    found = availability(powercap["root"], cpuinfo=tmp_path / "none")
    assert not found.available
    assert "root only" in found.reason
    assert "chmod a+r" in found.hint


def test_a_broken_folder_has_a_reason(powercap, tmp_path):
    (powercap["root"] / "intel-rapl:1" / "name").unlink()
    found = availability(powercap["root"], cpuinfo=tmp_path / "none")
    assert not found.available
    assert "cannot be read" in found.reason
    with pytest.raises(PrerequisiteError, match="cannot be read"):
        RaplMeter(powercap["root"])
