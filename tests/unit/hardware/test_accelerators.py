from __future__ import annotations

import csv
import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

from leptonbench.catalog import load_profiles
from leptonbench.schema import AcceleratorSpec, Fact

ROOT = Path(__file__).resolve().parents[3] / "hardware_profiles"
KINDS = ("gpu", "tpu", "npu")


@pytest.fixture(scope="module")
def derive():
    spec = importlib.util.spec_from_file_location("derive_accelerators", ROOT / "derive_accelerators.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["derive_accelerators"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["derive_accelerators"]


@pytest.fixture(scope="module")
def specs() -> dict[str, AcceleratorSpec]:
    profiles = [profile for kind in KINDS for profile in load_profiles(kind)]
    return {one.name: one.accelerator for one in profiles if one.accelerator is not None}


def test_every_profile_is_what_the_published_rows_give(derive):
    files = {path for kind in KINDS for path in (ROOT / kind).glob("*.yaml")}
    documents = derive.documents()
    assert set(documents) == files
    stale = [path.name for path, text in documents.items() if path.read_text(encoding="utf-8") != text]
    assert stale == []


def test_every_row_of_figures_has_a_device(derive):
    rows = derive.read_rows()
    used = [device.row for device in derive.DEVICES if device.row]
    assert sorted(used) == sorted(rows)


def test_a_published_name_is_one_devices_and_is_in_the_table(specs):
    claimed = Counter(name for spec in specs.values() for name in spec.published_as)
    assert [name for name, count in claimed.items() if count > 1] == []
    with (ROOT / "published" / "mlperf_published.csv").open(encoding="utf-8", newline="") as file:
        published = {row["accelerator"] for row in csv.DictReader(file)}
    assert sorted(set(claimed) - published) == []


def test_every_figure_has_a_source_and_those_without_one_are_marked(specs):
    facts: list[Fact] = []
    for spec in specs.values():
        facts += [*spec.peak_ops_per_s.values(), *(offer.price_per_hour for offer in spec.offers)]
        facts += [one for one in (spec.memory_bytes, spec.memory_bytes_per_s, spec.tdp_w) if one is not None]
    assert len(facts) > 200
    assert all(fact.source and fact.date and fact.value > 0 for fact in facts)
    assert all(fact.assumed for fact in facts if "unverified" in fact.source)


def test_figures_are_in_si_units(specs):
    t4 = specs["nvidia-t4"]
    assert t4.peak_ops_per_s["int8"].value == 130e12
    assert t4.memory_bytes_per_s is not None
    assert t4.memory_bytes_per_s.value == 320e9
    assert t4.memory_bytes is not None
    assert t4.memory_bytes.assumed
    assert not t4.memory_bytes_per_s.assumed


def test_what_a_chip_lost_is_not_its_relatives(specs):
    assert (
        specs["nvidia-b300-sxm"].peak_ops_per_s["int8"].value
        < specs["nvidia-b200-sxm"].peak_ops_per_s["int8"].value / 20
    )
    assert "int8" in specs["google-tpu-v3"].lacks


def test_prices_that_stand_for_none_are_left_out(specs):
    offers = [offer for spec in specs.values() for offer in spec.offers]
    assert len(offers) > 20
    assert all(0.05 < offer.price_per_hour.value / offer.devices < 30 for offer in offers)
    assert {offer.terms for offer in offers} == {"on-demand", "spot"}
