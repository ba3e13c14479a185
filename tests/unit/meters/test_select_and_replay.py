from __future__ import annotations

from pathlib import Path

import pytest

from leptonbench.errors import MeasurementError, PrerequisiteError, UsageError
from leptonbench.meters import select_meter
from leptonbench.meters.cpu_model import CpuModelMeter
from leptonbench.meters.rapl import RaplMeter
from leptonbench.meters.replay import ReplayMeter
from leptonbench.meters.wall import ServerMeter
from leptonbench.schema import DeviceProfile, EnergyReading, Fact, PowerProfile, Provenance

READING = EnergyReading(
    energy_j=12.0,
    low_j=8.4,
    high_j=15.6,
    idle_j=3.0,
    window_s=1.5,
    boundary="wall",
    method="modelled",
    provenance=Provenance.PROJECTED,
    coverage=1.0,
    samples=2,
)


def profile(*, with_power: bool = True) -> DeviceProfile:
    fact = Fact(value=100.0, unit="W", source="a test", date="2026")
    shape = tuple(step / 10 for step in range(11))
    power = PowerProfile(idle_w=fact, full_w=fact, hardware_threads=4, shape=shape, shape_source="a test")
    return DeviceProfile(name="server", kind="cpu", title={"en": "S"}, power=power if with_power else None)


def counters(root: Path) -> Path:
    zone = root / "intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in (("name", "package-0"), ("energy_uj", "1"), ("max_energy_range_uj", "262143328850")):
        (zone / name).write_text(text)
    return root


def count(root: Path, energy_uj: str) -> None:
    (root / "intel-rapl:0" / "energy_uj").write_text(energy_uj)


def test_a_counter_is_trusted_before_a_model(tmp_path):
    root = counters(tmp_path)
    meter, notice = select_meter(
        profile(), matched=True, powercap=root, cpuinfo=tmp_path / "no-cpuinfo", sleep=lambda seconds: count(root, "2")
    )
    assert isinstance(meter, ServerMeter)
    assert isinstance(meter.inner, RaplMeter)
    assert notice is None


def test_a_counter_without_power_figures_of_the_server_is_read_all_the_same(tmp_path):
    root = counters(tmp_path)
    meter, _ = select_meter(
        profile(with_power=False),
        matched=True,
        idle_w=1e-9,
        powercap=root,
        cpuinfo=tmp_path / "no-cpuinfo",
        sleep=lambda seconds: count(root, "2"),
    )
    meter.begin()
    count(root, "9000002")
    reading = meter.end()
    assert (reading.energy_j, reading.wall) == (9.0, None)
    assert reading.idle_j == pytest.approx(1e-9 * reading.window_s)


def test_a_counter_that_stands_still_is_modelled_instead(tmp_path):
    meter, notice = select_meter(
        profile(),
        matched=True,
        powercap=counters(tmp_path),
        cpuinfo=tmp_path / "no-cpuinfo",
        sleep=lambda seconds: None,
    )
    assert isinstance(meter, CpuModelMeter)
    assert notice is not None
    assert "`package-0` stands still" in notice.message


@pytest.mark.parametrize(("matched", "guessed"), [(True, False), (False, True)])
def test_without_a_counter_energy_is_modelled_and_said_to_be(tmp_path, matched, guessed):
    meter, notice = select_meter(profile(), matched=matched, powercap=tmp_path)
    assert isinstance(meter, CpuModelMeter)
    assert notice is not None
    assert notice.code == "energy-modelled"
    assert "no package energy counter" in notice.message
    assert ("a guess" in notice.message) is guessed
    assert notice.hint


def test_neither_counter_nor_power_is_a_missing_prerequisite(tmp_path):
    with pytest.raises(PrerequisiteError, match="neither read nor modelled"):
        select_meter(profile(with_power=False), matched=True, powercap=tmp_path)


def test_readings_are_played_back_in_order():
    second = READING.model_copy(update={"energy_j": 13.0})
    meter = ReplayMeter([READING, second])
    for expected in (READING, second):
        meter.begin()
        assert meter.end() == expected
    meter.begin()
    with pytest.raises(MeasurementError, match="all 2 recorded readings"):
        meter.end()


def test_a_window_is_opened_before_it_is_closed():
    with pytest.raises(MeasurementError, match="before it was opened"):
        ReplayMeter([READING]).end()


def test_json_and_csv_hold_the_same_readings(tmp_path):
    fields = {name: "" if value is None else value for name, value in READING.model_dump(mode="json").items()}
    (tmp_path / "r.json").write_text(f"[{READING.model_dump_json()}]")
    (tmp_path / "r.csv").write_text(",".join(fields) + "\n" + ",".join(map(str, fields.values())) + "\n")
    for name in ("r.json", "r.csv"):
        meter = ReplayMeter.from_file(tmp_path / name)
        meter.begin()
        assert meter.end() == READING


@pytest.mark.parametrize("text", ["not json", '[{"energy_j": 1}]', "7"])
def test_a_file_without_readings_is_refused(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="does not hold energy readings"):
        ReplayMeter.from_file(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="does not hold energy readings"):
        ReplayMeter.from_file(tmp_path / "none.json")
