from __future__ import annotations

import time

import pytest

from leptonbench.errors import MeasurementError, PrerequisiteError
from leptonbench.meters.cpu_model import (
    CpuModelMeter,
    CpuTimes,
    Watts,
    apportion,
    read_cpu_times,
)
from leptonbench.schema import DeviceProfile, Fact, PowerProfile, Provenance

LINEAR = tuple(step / 10 for step in range(11))


def watts(value: float, low: float | None = None, high: float | None = None, *, assumed: bool = False) -> Fact:
    return Fact(value=value, unit="W", low=low, high=high, source="a test", date="2026", assumed=assumed)


def power(*, assumed: bool = False, shape: tuple[float, ...] = LINEAR) -> PowerProfile:
    return PowerProfile(
        idle_w=watts(100.0, 80.0, 150.0, assumed=assumed),
        full_w=watts(500.0, assumed=assumed),
        hardware_threads=100,
        shape=shape,
        shape_source="a test",
    )


def profile(given: PowerProfile | None) -> DeviceProfile:
    return DeviceProfile(name="server", kind="cpu", title={"en": "Server"}, power=given)


def meter(*looks: CpuTimes, matched: bool = True, given: PowerProfile | None = None) -> CpuModelMeter:
    return CpuModelMeter(profile(given or power()), matched=matched, threads=2, clocks=iter(looks).__next__)


def second(wall_s: float, process_s: float, busy_s: float) -> CpuTimes:
    return CpuTimes(int(wall_s * 1e9), process_s, busy_s)


def reading(process_s: float, busy_s: float, **options):
    measured = meter(second(10.0, 3.0, 50.0), second(20.0, 3.0 + process_s, 50.0 + busy_s), **options)
    measured.begin()
    return measured.end()


def test_a_busy_machine_is_charged_its_share_of_full_power():
    # 2 of 100 threads, all busy for 10 s: 2 % of 500 W.
    result = reading(20.0, 20.0)
    assert result.energy_j == pytest.approx(100.0)
    assert result.idle_j == pytest.approx(20.0)
    assert (result.window_s, result.boundary, result.coverage) == (10.0, "wall", 1.0)


def test_half_a_machine_adds_half_the_dynamic_part():
    assert reading(10.0, 10.0).energy_j == pytest.approx(20.0 + 40.0)


def test_what_others_use_is_not_charged():
    # The machine is full, half of it with the measured process: half of the dynamic 80 J.
    assert reading(10.0, 20.0).energy_j == pytest.approx(20.0 + 40.0)


def test_the_coarse_clock_of_the_machine_cannot_undercut_the_process():
    assert reading(10.0, 9.99).energy_j == pytest.approx(60.0)


def test_the_shape_bends_the_dynamic_part():
    shape = (0.0, 0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    assert reading(1.0, 1.0, given=power(shape=shape)).energy_j == pytest.approx(20.0 + 0.1 * 80.0)


def test_the_band_is_thirty_percent_or_the_profiles_own_range_if_wider():
    result = reading(20.0, 20.0)
    assert result.low_j == pytest.approx(0.7 * 100.0)
    assert result.high_j == pytest.approx(1.3 * 100.0)
    assert result.provenance is Provenance.PROJECTED
    idle_only = reading(1e-9, 1e-9)
    assert idle_only.low_j == pytest.approx(0.7 * 20.0)
    assert idle_only.high_j == pytest.approx(1.5 * 20.0)


@pytest.mark.parametrize(("matched", "assumed"), [(False, False), (True, True)])
def test_a_guess_stretches_the_band_and_says_so(matched, assumed):
    result = reading(20.0, 20.0, matched=matched, given=power(assumed=assumed))
    assert (result.low_j, result.high_j) == (pytest.approx(40.0), pytest.approx(160.0))
    assert result.provenance is Provenance.ASSUMED
    assert "60%" in result.method


def test_the_method_names_server_and_share():
    assert "wall power of Server x 2 of 100 hardware threads" in reading(1.0, 1.0).method


def test_no_work_or_no_time_is_a_fault():
    with pytest.raises(MeasurementError, match="0 CPU seconds"):
        reading(0.0, 5.0)
    stopped = meter(second(1.0, 1.0, 1.0), second(1.0, 2.0, 2.0))
    stopped.begin()
    with pytest.raises(MeasurementError, match="window of 0 s"):
        stopped.end()


def test_a_window_is_opened_before_it_is_closed():
    with pytest.raises(MeasurementError, match="before it was opened"):
        meter().end()


def test_a_profile_without_power_cannot_be_modelled():
    with pytest.raises(PrerequisiteError, match="no power figures"):
        CpuModelMeter(profile(None), matched=True)


@pytest.mark.parametrize(
    ("load", "expected"), [(-1.0, 0.0), (0.0, 0.0), (0.05, 0.1), (0.1, 0.2), (0.55, 0.55), (1.0, 1.0), (2.0, 1.0)]
)
def test_the_shape_is_interpolated_and_clamped(load, expected):
    shape = (0.0, 0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    assert power(shape=shape).fraction_at(load) == pytest.approx(expected)


def test_apportioned_energy_scales_with_the_machines_threads():
    settings = {"window_s": 10.0, "process_s": 10.0, "busy_s": 10.0}
    one = apportion(Watts(100.0, 500.0), power(), threads=1, **settings)
    ten = apportion(Watts(100.0, 500.0), power(), threads=10, **settings)
    assert ten.idle_j == pytest.approx(10 * one.idle_j)
    assert ten.dynamic_j == pytest.approx(one.dynamic_j)


def test_the_real_clocks_move_with_work():
    before = read_cpu_times()
    while time.process_time() < before.process_s + 0.03:
        sum(range(1000))
    after = read_cpu_times()
    assert after.wall_ns > before.wall_ns
    assert after.process_s - before.process_s >= 0.029
    assert after.busy_s >= before.busy_s


def test_the_real_meter_reads_a_real_window():
    measured = CpuModelMeter(profile(power()), matched=True)
    measured.begin()
    until = time.process_time() + 0.02
    while time.process_time() < until:
        sum(range(1000))
    result = measured.end()
    assert 0 < result.idle_j < result.energy_j
    assert result.low_j < result.energy_j < result.high_j
