"""A machine's power in its user's words: metered points or the kind of server, from a file with errors that point."""

from __future__ import annotations

from pathlib import Path

import pytest

from leptonbench.errors import UsageError
from leptonbench.harness.device import POWER_FILE, powered_host, resolve_host
from leptonbench.meters.calibrated import CALIBRATED_BAND, power_of
from leptonbench.meters.cpu_model import CpuModelMeter, CpuTimes
from leptonbench.schema import Identity, LoadPoint, PowerFile, Provenance
from tests.report_factory import make_run

POINTS = """\
points:
  - {load: 0, watts: 60}
  - {load: 0.1, watts: 96}
  - {load: 0.5, watts: 150}
  - {load: 1, watts: 240}
hardware_threads: 64
source: "plug meter, one minute each, stress-ng"
date: "2026-11-20"
"""
SERVER = """\
server: {tdp_w: 280, sockets: 2, cores: 128, threads: 256, ram_gb: 256, year: 2021, freq_mhz: 2450}
source: data sheet
date: "2026-11"
"""


def _identity(**changes: object) -> Identity:
    return make_run()[0].fingerprint.identity.model_copy(update=changes)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "power.yaml"
    monkeypatch.setenv(POWER_FILE, str(path))
    return path


def test_points_are_joined_by_straight_lines():
    points = tuple(LoadPoint(load=load, watts=watts) for load, watts in ((0, 60), (0.1, 96), (0.5, 150), (1, 240)))
    power = power_of(PowerFile(points=points, hardware_threads=64, source="a meter", date="2026"))
    watts = [power.idle_w.value + power.fraction_at(load) * 180 for load in (0.0, 0.1, 0.3, 0.5, 0.75, 1.0)]
    assert watts == pytest.approx([60, 96, 123, 150, 195, 240], rel=1e-3)
    assert power.band == CALIBRATED_BAND


def test_metered_points_come_before_published_and_generic_figures(given):
    given.write_text(POINTS)
    profile, known = powered_host(_identity(cpu_vendor="Nobody", cpu_model="AMD EPYC 7763 64-Core Processor"))
    assert known
    assert profile.power is not None
    assert (profile.power.idle_w.value, profile.power.hardware_threads) == (60, 64)
    assert "4 points metered by the user" in profile.power.full_w.source


def test_the_kind_of_server_is_looked_up_among_published_ones(given):
    given.write_text(SERVER)
    profile, known = powered_host(_identity(cpu_vendor="Nobody"))
    assert known
    assert profile.power is not None
    assert "nearest 7" in profile.power.full_w.source


def test_without_a_file_the_very_cpus_results_come_before_the_profiles(monkeypatch):
    monkeypatch.delenv(POWER_FILE, raising=False)
    unknown = _identity(cpu_vendor="Nobody", cpu_model="AMD EPYC 7763 64-Core Processor")
    profile, known = powered_host(unknown)
    assert known and profile.power is not None and "epyc7763" in profile.power.full_w.source
    nameless = unknown.model_copy(update={"cpu_model": "a CPU"})
    assert powered_host(nameless) == resolve_host(nameless)


def test_prices_stay_those_of_the_profile(given):
    given.write_text(POINTS)
    identity = _identity()
    powered, (plain, _) = powered_host(identity)[0], resolve_host(identity)
    assert powered.model_copy(update={"power": plain.power}) == plain


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (POINTS.replace("hardware_threads: 64\n", ""), "need `hardware_threads`"),
        (POINTS.replace("load: 1,", "load: 0.9,"), "rise from load 0 to load 1"),
        (POINTS.replace("watts: 240", "watts: 40"), "watts of `points` rise"),
        (POINTS.replace("watts: 240", "watts: 0"), "greater than 0"),
        (POINTS + SERVER.splitlines()[0], "either `points`"),
        ('source: "x"\ndate: "2026"\n', "either `points`"),
        (SERVER.replace("tdp_w: 280, ", ""), "this key is missing"),
        (SERVER.replace("tdp_w: 280", "tdp_w: 900"), "no published server is like this one"),
    ],
)
def test_a_file_that_says_nothing_sound_is_refused(given, text, words):
    given.write_text(text)
    with pytest.raises(UsageError) as caught:
        powered_host(_identity())
    assert words in f"{caught.value.message} {caught.value.cause}"


def test_a_missing_file_is_refused(given):
    with pytest.raises(UsageError, match="cannot be read"):
        powered_host(_identity())


def test_a_calibrated_machine_has_a_narrower_band(given):
    given.write_text(POINTS)
    profile, known = powered_host(_identity())
    times = iter((CpuTimes(0, 0.0, 0.0), CpuTimes(1_000_000_000, 32.0, 32.0)))
    meter = CpuModelMeter(profile, matched=known, threads=64, clocks=lambda: next(times))
    meter.begin()
    reading = meter.end()
    assert reading.energy_j == pytest.approx(150.0, rel=1e-3)
    assert reading.high_j / reading.energy_j == pytest.approx(1.15, rel=1e-3)
    assert reading.provenance is Provenance.PROJECTED
    assert reading.wall is not None and reading.wall.energy_j == reading.energy_j
    assert "4 points metered by the user" in reading.method


@pytest.mark.parametrize("number", [0, 1])
def test_the_files_that_the_page_shows_are_sound(given, number):
    page = (Path(__file__).resolve().parents[3] / "docs" / "energy.md").read_text(encoding="utf-8")
    given.write_text(page.split("```yaml\n")[number + 1].split("```")[0])
    profile, known = powered_host(_identity())
    assert known
    assert profile.power is not None
