"""Which profile describes this machine, and what is written down of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from leptonbench import catalog
from leptonbench.errors import UsageError
from leptonbench.harness import system
from leptonbench.harness.device import HOST_CPU, host_idle_w, resolve_host
from leptonbench.schema import Identity
from tests.report_factory import make_run
from tests.unit.meters.test_rapl import Clock, working, zone


def _identity(**changes: object) -> Identity:
    return make_run()[0].fingerprint.identity.model_copy(update=changes)


KNOWN = [profile for profile in catalog.load_profiles("cpu") if profile.match is not None]


@pytest.mark.parametrize("profile", KNOWN, ids=lambda profile: profile.name)
def test_a_known_cpu_is_matched_by_its_numbers(profile: catalog.DeviceProfile) -> None:
    """Names may be masked in a virtual machine, so they are not looked at."""
    assert profile.match is not None
    for model in profile.match.models:
        found, matched = resolve_host(
            _identity(
                cpu_vendor=profile.match.vendor,
                cpu_family=profile.match.family,
                cpu_model_number=model,
                cpu_model="a masked name",
            )
        )
        assert matched
        assert found == profile.model_copy(update={"name": HOST_CPU})


def test_an_unknown_cpu_gets_the_generic_profile() -> None:
    found, matched = resolve_host(_identity(cpu_vendor="Nobody", cpu_family=1, cpu_model_number=1))
    assert not matched
    assert found.name == HOST_CPU
    assert found.match is None


def test_without_a_generic_profile_an_unknown_cpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "load_profiles", lambda kind: KNOWN)
    with pytest.raises(UsageError, match="`generic-x86` is missing"):
        resolve_host(_identity(cpu_vendor="Nobody", cpu_family=1, cpu_model_number=1))


def test_the_identity_of_a_machine_does_not_change() -> None:
    """A run that goes on is refused on another machine, so what changes by the minute belongs to the state."""
    first, second = system.fingerprint(), system.fingerprint()
    assert first.identity == second.identity


def test_the_fingerprint_says_what_a_reader_needs() -> None:
    found = system.fingerprint()
    assert found.identity.cpu_model
    assert found.identity.cpu_flags == tuple(sorted(system.cpu_features())) != ()
    assert found.identity.logical_cores == len(os.sched_getaffinity(0))
    assert found.identity.memory_bytes > found.state.available_memory_bytes > 0
    assert {"numpy", "onnxruntime", "torch"} <= set(found.identity.packages)
    assert all(re.match(r"\d+\.", version) for version in found.identity.packages.values())


def test_features_come_from_another_source_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_cpuinfo", dict)
    monkeypatch.setattr(system, "_portable_cpuinfo", lambda: {"flags": ["asimddp", "bf16"]})
    assert system.cpu_features() == {"asimddp", "bf16"}


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert system.package_version("no-such-distribution") is None


def test_outside_a_checkout_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(system, "data_root", lambda: tmp_path)
    assert system.git_state() == (None, None)


def test_a_broken_checkout_has_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(system, "data_root", lambda: tmp_path)
    assert system.git_state() == (None, None)


def test_idle_power_is_the_lowest_that_the_counters_see(tmp_path: Path) -> None:
    clock, passed = Clock(), []
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    steady = working(tmp_path, step_uj=800_000, clock=clock)

    def sleep(seconds: float) -> None:
        passed.append(seconds)
        for _ in range(3 if len(passed) % 2 else 1):  # something else computes in every second window
            steady(0.0)
        clock.now_ns += round(seconds * 1e9)

    found = host_idle_w(tmp_path, tmp_path / "no-cpuinfo", clock_ns=clock, sleep=sleep)
    assert found == pytest.approx(8.0), "0.8 J in 0.1 s"
    assert len(passed) >= 10


def test_without_counters_idle_power_is_not_known(tmp_path: Path) -> None:
    assert host_idle_w(tmp_path, tmp_path / "no-cpuinfo") is None
