from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from leptonbench.catalog import load_profiles, load_yaml
from leptonbench.paths import data_root
from leptonbench.schema import DeviceProfile, Fact, IsaTable, RegionTable
from leptonbench.schema.prices import OfferTable

ROOT = data_root() / "hardware_profiles"
CPU_FILES = sorted((ROOT / "cpu").glob("*.yaml"))
PRICE_FILES = sorted((ROOT / "prices").glob("*.yaml"))


def facts(found: object) -> Iterator[Fact]:
    if isinstance(found, Fact):
        yield found
    elif isinstance(found, BaseModel):
        for name in type(found).model_fields:
            yield from facts(getattr(found, name))
    elif isinstance(found, dict):
        for value in found.values():
            yield from facts(value)
    elif isinstance(found, tuple):
        for value in found:
            yield from facts(value)


def check_facts(found: object) -> None:
    seen = list(facts(found))
    assert seen
    for fact in seen:
        assert fact.source.strip()
        assert fact.unit.strip()
        assert fact.low is None or fact.low <= fact.value, fact
        assert fact.high is None or fact.high >= fact.value, fact
        assert fact.assumed or "assumed" not in fact.source, fact


@pytest.mark.parametrize("path", CPU_FILES, ids=lambda path: path.stem)
def test_each_cpu_profile_is_valid_and_sourced(path: Path):
    profile = load_yaml(path, DeviceProfile)
    assert (profile.name, profile.kind) == (path.stem, "cpu")
    assert set(profile.title) == {"en", "zh"}
    check_facts(profile)
    assert profile.power is not None
    assert profile.power.shape[0] == 0.0
    assert profile.power.shape[-1] == 1.0
    assert list(profile.power.shape) == sorted(profile.power.shape)
    assert profile.power.idle_w.value < profile.power.full_w.value
    assert profile.owned is None or profile.owned.hardware_threads == profile.power.hardware_threads


def test_a_figure_that_is_only_remembered_is_an_assumption():
    for profile in load_profiles("cpu"):
        for fact in facts(profile):
            assert fact.assumed or "memory, unverified" not in fact.source, fact


@pytest.mark.parametrize("path", PRICE_FILES, ids=lambda path: path.stem)
def test_each_price_table_is_valid_and_sourced(path: Path):
    prices = load_yaml(path, OfferTable if path.stem == "offers" else RegionTable)
    assert set(prices.title) == {"en", "zh"}
    check_facts(prices)


def test_the_isa_table_is_valid_and_sourced():
    isa = load_yaml(ROOT / "isa.yaml", IsaTable)
    check_facts(isa)
    assert all(rule.derivation for rule in isa.rules)
    assert len({rule.name for rule in isa.rules}) == len(isa.rules)


def test_files_are_there():
    assert {path.stem for path in PRICE_FILES} == {"carbon", "electricity", "embodied", "offers", "pue", "terms"}
    assert {"generic-x86", "amd-epyc-milan", "intel-xeon-sapphire-rapids"} <= {path.stem for path in CPU_FILES}


def test_no_cpu_is_claimed_by_two_profiles():
    claimed = [
        (profile.match.vendor, profile.match.family, model)
        for profile in load_profiles("cpu")
        if profile.match
        for model in profile.match.models
    ]
    assert len(set(claimed)) == len(claimed)


def test_only_the_generic_profile_matches_nothing_and_all_of_its_figures_are_assumed():
    unmatched = [profile for profile in load_profiles("cpu") if profile.match is None]
    assert [profile.name for profile in unmatched] == ["generic-x86"]
    assert unmatched[0].power is not None
    assert unmatched[0].power.idle_w.assumed
    assert unmatched[0].power.full_w.assumed


@pytest.fixture(scope="module")
def derive():
    spec = importlib.util.spec_from_file_location("derive_power", ROOT / "derive_power.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["derive_power"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["derive_power"]


def test_power_figures_follow_from_the_published_rows(derive):
    rows = derive.read_rows()
    profiles = {profile.name: profile for profile in load_profiles("cpu")}
    for name, (cpus, sockets) in derive.GENERATIONS.items():
        power, expected = profiles[name].power, derive.generation(rows, cpus, sockets)
        assert power is not None
        assert (power.idle_w.value, power.idle_w.low, power.idle_w.high) == expected.idle_w
        assert (power.full_w.value, power.full_w.low, power.full_w.high) == expected.full_w
        assert (power.hardware_threads, power.shape) == (expected.hardware_threads, expected.shape)
        assert f"median of {expected.rows} SPECpower results" in power.idle_w.source
        assert not power.idle_w.assumed


def test_generations_without_rows_are_scaled_from_recent_servers_and_say_so(derive):
    recent = derive.modern(derive.read_rows())
    scaled = [
        profile.power
        for profile in load_profiles("cpu")
        if profile.power and "thermal design power" in profile.power.idle_w.source
    ]
    assert len(scaled) == 6
    for power in scaled:
        tdp_w = float(power.full_w.source.split(" W thermal")[0].removeprefix("2 x ")) * 2
        assert power.full_w.value == pytest.approx(tdp_w * recent.full.median, abs=0.06)
        assert power.idle_w.value == pytest.approx(tdp_w * recent.idle.median, abs=0.06)
        assert power.shape == recent.shape
        assert power.idle_w.assumed
        assert power.full_w.assumed
