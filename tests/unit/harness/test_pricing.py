"""What a cell's answers cost, and what the price says of the deadline it was taken without."""

from __future__ import annotations

import pytest

from leptonbench import catalog
from leptonbench.harness.pricing import host_prices, price_cell
from leptonbench.schema import CellRecord, Provenance, Quantity, Status
from tests.harness_factory import cell, suite

DEVICE = next(profile for profile in catalog.load_profiles("cpu") if profile.name == "amd-epyc-milan")
SUITE = suite()
PRICES = host_prices(DEVICE, SUITE, threads=2, date="2026-11-03")


def _priced(kind: str, met: bool | None) -> dict[str, Quantity]:
    throughput = Quantity(value=10.0, low=9.0, high=11.0, unit="1/s", n=3, provenance=Provenance.MEASURED)
    record = CellRecord(
        cell=cell(scenario=kind), status=Status.OK, metrics={"throughput": throughput}, meets_target=met
    )
    return price_cell(record, PRICES, SUITE)


def test_late_answers_have_no_price() -> None:
    assert {cost.value for cost in _priced("server", met=False).values()} == {None}


@pytest.mark.parametrize(
    ("kind", "met", "said"),
    [
        ("offline", None, "without a deadline"),
        ("single-stream", True, "without a queue"),
        ("single-stream", None, "too few queries"),
        ("server", None, "too few queries"),
    ],
)
def test_a_price_says_what_was_not_checked(kind: str, met: bool | None, said: str) -> None:
    assert all(said in (cost.method or "") for cost in _priced(kind, met).values())


def test_a_price_at_a_verified_rate_needs_no_excuse() -> None:
    assert not any(";" in (cost.method or "") for cost in _priced("server", met=True).values())


def test_an_owned_server_draws_power_for_the_load_that_is_asked_of_it() -> None:
    use = 0.7 * 8 * 5 / 168
    assert PRICES.owned is not None and DEVICE.owned is not None
    assert _priced("server", met=True)["owned_cost_per_million"].value == pytest.approx(
        PRICES.owned(use).value / (10 * 3600 * use) * 1e6
    )
    assert PRICES.owned(use).value < PRICES.owned(1.0).value


def test_a_figure_is_listed_once_among_the_assumptions() -> None:
    sources = [(row.value, row.unit, row.source) for row in PRICES.assumptions if "power" in row.name]
    assert len(sources) == len(set(sources))
