"""What every meter owes: a window of two calls, a reading that can be defended, and no zero instead of an error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from leptonbench import catalog
from leptonbench.errors import MeasurementError
from leptonbench.meters import Meter
from leptonbench.meters.cpu_model import CpuModelMeter, CpuTimes
from leptonbench.meters.gpu import Gpu
from leptonbench.meters.nvml import NvmlCounterMeter, NvmlPowerMeter, power_source
from leptonbench.meters.rapl import RaplMeter
from leptonbench.meters.replay import ReplayMeter
from leptonbench.meters.wall import ServerMeter
from leptonbench.schema import Boundary, Provenance
from tests.fake_nvml import Card, FakeNvml, FakeSampler
from tests.harness_factory import energy


class Rig(NamedTuple):
    """A meter, and how to let its device work for a second of a joule or more."""

    meter: Meter
    work: Callable[[], None]


def _counter(root: Path) -> Rig:
    zone = root / "intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n", encoding="utf-8")
    (zone / "max_energy_range_uj").write_text("262143328850\n", encoding="utf-8")
    counter = zone / "energy_uj"
    counter.write_text("1000000\n", encoding="utf-8")
    now_ns = [0]

    def work() -> None:
        now_ns[0] += 1_000_000_000
        counter.write_text(f"{int(counter.read_text(encoding='utf-8')) + 9_000_000}\n", encoding="utf-8")

    return Rig(RaplMeter(root, clock_ns=lambda: now_ns[0]), work)


def _model(root: Path, *, matched: bool) -> Rig:
    profile = next(profile for profile in catalog.load_profiles("cpu") if profile.power is not None)
    times = [CpuTimes(0, 0.0, 0.0)]

    def work() -> None:
        wall_ns, process_s, busy_s = times[0]
        times[0] = CpuTimes(wall_ns + 1_000_000_000, process_s + 1.0, busy_s + 1.5)

    return Rig(CpuModelMeter(profile, matched=matched, threads=2, clocks=lambda: times[0]), work)


def _gpu(*, polled: bool) -> Rig:
    """Return a GPU that works in steps of a second and draws nothing in between."""
    fake = FakeNvml(Card(instant=True, power_w=lambda at_s: 50.0 + round(1000 * at_s) % 1000 / 999))
    gpu = Gpu(0, library=fake)
    sampler = FakeSampler(fake, gpu.instant_w)
    meter: Meter = NvmlCounterMeter(gpu, idle_w=16.0, clock_ns=fake.clock_ns)
    if polled:
        source = power_source(gpu.facts, has_instant=True)
        meter = NvmlPowerMeter(gpu, source, sampler, idle_w=16.0, clock_ns=fake.clock_ns)
    return Rig(meter, lambda: fake.pass_s(1.0))


def _server(root: Path) -> Rig:
    counter, host = _counter(root), ReplayMeter([energy(9.0, 8.0, 10.0)] * 3)
    return Rig(ServerMeter(counter.meter, host), counter.work)


RIGS: dict[str, Callable[[Path], Rig]] = {
    "rapl": _counter,
    "cpu-model": lambda root: _model(root, matched=True),
    "cpu-model-guessed": lambda root: _model(root, matched=False),
    "nvml-counter": lambda root: _gpu(polled=False),
    "nvml-polled": lambda root: _gpu(polled=True),
    "server": _server,
    "replay": lambda root: Rig(ReplayMeter([energy(9.0, 8.0, 10.0)] * 3), lambda: None),
}


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return RIGS[request.param](tmp_path)


def test_a_reading_is_a_number_that_can_be_defended(rig: Rig) -> None:
    rig.meter.begin()
    rig.work()
    reading = rig.meter.end()
    assert 0 < reading.low_j <= reading.energy_j <= reading.high_j
    assert reading.idle_j is None or 0 <= reading.idle_j <= reading.energy_j
    assert reading.window_s == pytest.approx(1.0)
    assert Boundary(reading.boundary)
    assert reading.method
    assert reading.provenance in set(Provenance)
    assert 0 < reading.coverage <= 1
    assert reading.samples >= 2


def test_a_window_that_was_not_opened_cannot_be_closed(rig: Rig) -> None:
    with pytest.raises(MeasurementError):
        rig.meter.end()


def test_a_window_is_closed_once(rig: Rig) -> None:
    rig.meter.begin()
    rig.work()
    rig.meter.end()
    with pytest.raises(MeasurementError):
        rig.meter.end()


def test_a_window_that_was_open_is_forgotten_by_the_next(rig: Rig) -> None:
    rig.meter.begin()
    rig.work()
    rig.meter.begin()
    rig.work()
    assert rig.meter.end().window_s == pytest.approx(1.0)


def test_a_meter_can_be_used_again(rig: Rig) -> None:
    readings = []
    for _ in range(2):
        rig.meter.begin()
        rig.work()
        readings.append(rig.meter.end())
    assert readings[0] == readings[1]


@pytest.mark.parametrize("name", [name for name in RIGS if name != "replay"])
def test_a_device_that_did_nothing_is_an_error(tmp_path: Path, name: str) -> None:
    meter = RIGS[name](tmp_path).meter
    meter.begin()
    with pytest.raises(MeasurementError):
        meter.end()


def test_nothing_runs_inside_the_window(rig: Rig) -> None:
    """A thread that polls would take its time from what is measured."""
    before = threading.active_count()
    rig.meter.begin()
    assert threading.active_count() == before
    rig.work()
    rig.meter.end()
