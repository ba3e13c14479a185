"""The suites that ship: what each promises holds together, and a short run can certify what it is judged by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from leptonbench import catalog
from leptonbench.backends import backend_names
from leptonbench.cost.use import demand_assumptions, utilisation
from leptonbench.paths import data_root
from leptonbench.schema import Scenario, SuiteSpec
from leptonbench.stats.early_stopping import minimum_queries

DOMAINS = (
    "autonomous-driving",
    "finance",
    "manufacturing",
    "media",
    "medical-imaging",
    "smart-city",
    "smart-home",
)
_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=DOMAINS)
def suite(request: pytest.FixtureRequest) -> SuiteSpec:
    return catalog.load_suite(str(request.param))


def test_every_domain_has_its_suite() -> None:
    assert catalog.suite_names() == DOMAINS


def _cells(suite: SuiteSpec) -> Iterator[tuple[str, str, str, Scenario]]:
    """Yield what a suite leaves in, whatever the engines make of it."""
    for workload in suite.workloads:
        for variant in suite.variants:
            for backend in suite.backends:
                for scenario in suite.scenarios:
                    cell = {
                        "workload": workload,
                        "variant": variant,
                        "backend": backend,
                        "scenario": scenario.kind.value,
                    }
                    if not any(all(cell[a] in names for a, names in rule.axes.items()) for rule in suite.exclude):
                        yield workload, variant, backend, scenario.kind


def test_every_engine_and_variant_is_left_with_a_cell(suite: SuiteSpec) -> None:
    cells = list(_cells(suite))
    assert {cell[1] for cell in cells} == set(suite.variants)
    assert {cell[2] for cell in cells} == set(suite.backends) - {"torch-compile"}
    assert {cell[3] for cell in cells} == {scenario.kind for scenario in suite.scenarios}
    assert set(suite.backends) <= set(backend_names())


def test_every_variant_can_be_compared_with_fp32_on_its_engine(suite: SuiteSpec) -> None:
    cells = set(_cells(suite))
    assert all((workload, "fp32", backend, kind) in cells for workload, _, backend, kind in cells)
    assert suite.variants[0] == "fp32"  # a budget drops the last first


def test_three_rounds_certify_the_percentile_that_a_stream_is_judged_by(suite: SuiteSpec) -> None:
    for scenario in suite.scenarios:
        if scenario.kind in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM):
            assert suite.rounds * scenario.min_queries >= minimum_queries(suite.latency_percentile)
            # LoadGen calls a round invalid that cannot bear one late query at its own percentile.
            assert scenario.min_queries >= minimum_queries(scenario.percentile, 1)


def test_every_text_is_in_both_languages(suite: SuiteSpec) -> None:
    for text in (suite.title, suite.description, suite.demand.description):
        assert set(text) == {"en", "zh"}
        assert re.search("[\u4e00-\u9fff]", text["zh"]) and not re.search("[\u4e00-\u9fff]", text["en"])


def test_a_figure_has_a_source_or_is_called_assumed(suite: SuiteSpec) -> None:
    for name, fact in suite.assumptions.items():
        assert fact.assumed == fact.source.startswith("assumed"), name
        assert (fact.low or fact.value) <= fact.value <= (fact.high or fact.value), name


def test_its_demand_has_a_price_in_its_region(suite: SuiteSpec) -> None:
    for table in ("electricity", "carbon"):
        text = (data_root() / "hardware_profiles" / "prices" / f"{table}.yaml").read_text(encoding="utf-8")
        assert f"\n  {suite.region}:\n" in text
    assert 0 < utilisation(suite.demand, always_on=True) <= utilisation(suite.demand, always_on=False) <= 1
    assert demand_assumptions(suite.name, suite.demand, date="2026-11-23")


def test_the_demand_is_what_the_assumptions_say() -> None:
    car, city = catalog.load_suite("autonomous-driving"), catalog.load_suite("smart-city")
    frames = car.assumptions["cameras of a car"].value * car.assumptions["frames of a camera"].value
    assert car.demand.rate_per_s == frames
    street = city.assumptions["frames of a camera in the busiest hour"].value
    assert city.demand.rate_per_s == city.assumptions["cameras of a district"].value * street
    media = catalog.load_suite("media")
    an_hour = media.assumptions["utterances in an hour of recorded speech"].value
    a_night_s = 3600 * media.demand.hours_per_day
    assert media.assumptions["hours of recordings a night"].value == media.demand.rate_per_s * a_night_s / an_hour
    home = catalog.load_suite("smart-home")
    commands = home.assumptions["commands of a household in its busiest hour"].value
    assert home.demand.rate_per_s == pytest.approx(commands / 3600, rel=0.01)


def test_the_page_lists_every_suite_and_workload() -> None:
    page = (_ROOT / "docs" / "workloads.md").read_text(encoding="utf-8")
    assert [name for name in DOMAINS if f"| `{name}` |" not in page] == []
    assert [name for name in catalog.workload_names() if f"[`{name}`](#" not in page] == []
