"""Cards that nobody measured, in a plan: what their projected rate says, and what it does not."""

from __future__ import annotations

import math

import pytest

from leptonbench.cost.capacity import Arrivals, size_by_rate
from leptonbench.projector.cells import add_to_run
from leptonbench.report.plan_page import render_plan
from leptonbench.schema import Provenance, Quantity, Scenario
from leptonbench.schema.plan import PlanDocument, PlanRow
from leptonbench.schema.prices import Terms
from leptonbench.store import RunStore
from tests.plan_factory import one_round, planned, records, request, write_run
from tests.report_factory import ok_record

CARD = "nvidia-l4"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> PlanDocument:
    """Plan with a server cell measured on an A10, carried to an L4 as `leptonbench run --projected` does."""
    path = tmp_path_factory.mktemp("projected") / "run"
    server = ok_record("int8-static", "torch-cuda", Scenario.SERVER, 0.004, device="nvidia-gpu")
    server = server.model_copy(update={"rounds": tuple(one_round(index) for index in range(3))})
    write_run(path, [*records()[:2], server])
    with RunStore.open(path, writable=True) as store:
        add_to_run(store, [CARD], measured_on="nvidia-a10")
    return planned(RunStore.open(path), request())


def card(plan: PlanDocument) -> PlanRow:
    (found,) = [row for row in plan.rows if row.cell.device == CARD]
    return found


def test_units_keep_up_with_the_busiest_hour_and_promise_no_latency(plan: PlanDocument) -> None:
    found = card(plan)
    assert found.reason is None
    assert found.provenance is Provenance.PROJECTED
    assert found.required.value is not None
    assert (found.required.low or 0) <= found.required.value <= (found.required.high or 0)
    assert found.latency.value is None
    assert "no latency" in (found.latency.why_null or "")
    assert any("fewest that keep up" in note for note in found.notes)


def test_a_card_has_its_prices_and_no_place_in_the_ranking(plan: PlanDocument) -> None:
    choices = {one.terms: one for one in card(plan).choices}
    rent = choices[Terms.ON_DEMAND]
    assert "g6" in rent.offer or "g2" in rent.offer
    assert rent.usd_horizon.value
    assert not rent.ranked
    assert "open" in (rent.why_not or "")
    assert all(CARD not in place.cell for place in plan.ranking)


def test_few_cards_are_rented_one_by_one_and_not_by_the_node(plan: PlanDocument) -> None:
    rent = next(one for one in card(plan).choices if one.terms is Terms.ON_DEMAND)
    assert rent.nodes == rent.units == (card(plan).required.value or 0) + 1


def test_the_page_shows_it_in_both_languages(plan: PlanDocument) -> None:
    for lang in ("en", "zh"):
        assert "L4" in render_plan(plan, lang=lang) or CARD in render_plan(plan, lang=lang)


def test_size_by_rate_divides() -> None:
    rate = Quantity(value=100.0, unit="1/s", low=80.0, high=125.0, provenance=Provenance.PROJECTED)
    found = size_by_rate(rate, Arrivals((1000.0,) * 80 + (0.0,) * 88))
    assert (found.low, found.required, found.high) == (8, 10, 13)
    assert found.units_by_hour == (10,) * 80 + (0,) * 88
    assert found.utilisation_peak == pytest.approx(1.0)
    assert found.latency_s is None
    with pytest.raises(ValueError, match="no rate"):
        size_by_rate(Quantity.null("1/s", "unknown"), Arrivals.steady(math.pi))
