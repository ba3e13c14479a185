"""A plan from a stored run: who is eligible, what each costs, what the ranking says, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leptonbench.cost.capacity import Target
from leptonbench.cost.demand import parse_demand
from leptonbench.cost.tco import HOURS_PER_YEAR
from leptonbench.errors import UsageError
from leptonbench.schema import Boundary, Provenance
from leptonbench.schema.plan import PlanChoice, PlanDocument, PlanRow
from leptonbench.schema.prices import Terms
from leptonbench.store import RunStore
from tests.plan_factory import DAY, below, card, planned, records, request, write_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return write_run(tmp_path_factory.mktemp("plan") / "run")


@pytest.fixture(scope="module")
def plan(store: RunStore) -> PlanDocument:
    return planned(store, request())


def row(plan: PlanDocument, *words: str) -> PlanRow:
    (found,) = [one for one in plan.rows if all(word in one.cell.key.split("--") for word in words)]
    return found


def choice(found: PlanRow, terms: Terms) -> PlanChoice:
    return next(one for one in found.choices if one.terms is terms)


def test_every_cell_that_was_tried_has_a_row(plan: PlanDocument) -> None:
    assert len(plan.rows) == len(records())
    feasible = [one for one in plan.rows if one.reason is None]
    assert {one.cell.device for one in feasible} == {"host-cpu", "kv260", "nvidia-t4"}


def test_cells_that_do_not_fit_say_why(plan: PlanDocument) -> None:
    offline = row(plan, "offline").reason
    assert offline is not None
    assert "without a deadline" in offline.message
    low = row(plan, "distill-half").reason
    assert low is not None
    assert low.code == "quality"


def test_units_carry_the_work_of_the_busiest_hour(plan: PlanDocument) -> None:
    for one in plan.rows:
        if one.reason is None:
            assert one.required.value is not None
            assert 0 < (one.utilisation_peak.value or 0) < 1
            assert (one.latency.value or 1) <= 0.05
            assert one.required.low is None or one.required.low <= one.required.value
    fp32, int8 = row(plan, "fp32", "single-stream"), row(plan, "int8-static", "onnxruntime", "single-stream")
    assert (fp32.required.value or 0) >= 1200 * 0.016
    assert (int8.required.value or 0) >= 1200 * 0.006
    assert (fp32.required.value or 0) > (int8.required.value or 0)


def test_batches_need_fewer_units(plan: PlanDocument) -> None:
    batched, alone = row(plan, "int8-static", "server"), row(plan, "int8-static", "onnxruntime", "single-stream")
    assert (batched.required.value or 0) < (alone.required.value or 0)


def test_provenance_is_the_weakest_of_times_and_prices(plan: PlanDocument) -> None:
    assert row(plan, "nvidia-t4").provenance is Provenance.PROJECTED
    assert row(plan, "kv260").provenance is Provenance.SIMULATED
    host = choice(row(plan, "fp32", "single-stream"), Terms.OWNED)
    assert host.usd_horizon.provenance is Provenance.ASSUMED


def test_renting_is_units_times_hours_times_price(plan: PlanDocument) -> None:
    found = row(plan, "int8-static", "onnxruntime", "single-stream")
    rent = choice(found, Terms.ON_DEMAND)
    assert rent.offer == "aws c6a.large, eu-central-1"
    assert rent.units == (found.required.value or 0) + 1  # n+1
    assert rent.unit_hours_per_week == rent.units * 80
    assert rent.usd_horizon.value == pytest.approx(rent.units * 80 / 168 * HOURS_PER_YEAR * 3 * 0.0873)
    assert rent.usd_per_month.value == pytest.approx((rent.usd_horizon.value or 0) / 36)
    answers = 1200 * 3600 * 80 / 168 * HOURS_PER_YEAR * 0.99
    assert rent.usd_per_million.value == pytest.approx((rent.usd_horizon.value or 0) / 3 / answers * 1e6)


def test_owned_servers_are_whole_with_one_spare(plan: PlanDocument) -> None:
    owned = choice(row(plan, "fp32", "single-stream"), Terms.OWNED)
    assert (owned.nodes, owned.units) == (2, 256)  # 128 units of two threads a server, and a spare server
    assert owned.upfront_usd.value == pytest.approx(2 * 31_560)
    board = choice(row(plan, "kv260"), Terms.OWNED)
    assert board.nodes == board.units


def test_break_even_is_where_both_cost_the_same(store: RunStore, plan: PlanDocument) -> None:
    """Above the share of hours in use, owning wins; the plan's own week is on the side that the two costs say."""
    found = row(plan, "fp32", "single-stream")
    rent, own = choice(found, Terms.ON_DEMAND), choice(found, Terms.OWNED)
    use = own.break_even.value
    in_use = 80 / 168
    if use is None:
        assert own.break_even.why_null
    else:
        assert (use < in_use) == ((own.usd_horizon.value or 0) < (rent.usd_horizon.value or 0))


def test_spot_is_shown_and_not_ranked(plan: PlanDocument) -> None:
    spot = choice(row(plan, "fp32", "single-stream"), Terms.SPOT)
    assert not spot.ranked
    assert "withdrawn" in (spot.why_not or "")
    assert all(place.terms is not Terms.SPOT for place in plan.ranking)


def test_terms_without_a_price_say_so(plan: PlanDocument) -> None:
    absent = {one.terms: one.why for one in row(plan, "nvidia-t4").absent}
    assert absent[Terms.OWNED] == "no purchase price of `nvidia-t4` is known"
    assert "no reserved price" in absent[Terms.RESERVED]


def test_the_ranking_is_by_cost_over_the_horizon(plan: PlanDocument) -> None:
    costs = [place.usd_horizon.value or 0 for place in plan.ranking]
    assert costs == sorted(costs)
    assert not plan.ranking[0].tied
    first = plan.ranking[0].usd_horizon
    for place in plan.ranking[1:]:
        low = place.usd_horizon.own_low if place.usd_horizon.own_low is not None else place.usd_horizon.value
        assert place.tied == ((low or 0) <= (math.inf if first.own_high is None else first.own_high))


def test_ranges_hold_their_values(plan: PlanDocument) -> None:
    for one in plan.rows:
        for found in one.choices:
            for usd in (found.usd_per_month, found.usd_horizon, found.usd_per_million):
                assert usd.value is not None
                if usd.low is not None and usd.high is not None:
                    assert usd.low <= (usd.own_low or 0) <= usd.value <= (usd.own_high or 0) <= usd.high


def test_a_flip_does_flip(store: RunStore, plan: PlanDocument) -> None:
    """Prices a little beyond the threshold make the named rival cheaper than the first choice."""
    first = plan.ranking[0]
    for flip in plan.flips:
        assert flip.threshold > 0
        assert (flip.cell, flip.terms) != (first.cell, first.terms)
    assert [one.name for one in plan.flips]


def test_no_flip_is_between_cells_that_pay_the_same(plan: PlanDocument) -> None:
    offers = {(one.cell.key, choice.terms): choice.offer for one in plan.rows for choice in one.choices}
    first = plan.ranking[0]
    mine = (first.terms, offers[first.cell, first.terms])
    assert all((flip.terms, offers[flip.cell, flip.terms]) != mine for flip in plan.flips)


def test_power_and_carbon_have_a_range_and_the_units_provenance(plan: PlanDocument) -> None:
    for one in plan.rows:
        for found in one.choices:
            for quantity in (found.power_peak_w, found.power_mean_w, found.carbon_kg_per_month):
                if quantity.value is None:
                    assert quantity.why_null
                    continue
                assert one.provenance is not None and quantity.provenance is not None
                assert quantity.provenance.rank >= one.provenance.rank
                if one.required.high is not None:
                    assert quantity.low is not None and quantity.high is not None
                    assert quantity.low <= quantity.value <= quantity.high
                    assert one.cell.device != "host-cpu" or quantity.low < quantity.high
            if found.power_peak_w.value is not None:
                assert found.power_peak_w.boundary is Boundary.WALL
    names = {one.name for one in plan.assumptions}
    assert {"idle power of a whole amd-epyc-milan", "power usage effectiveness, aws"} <= names


def test_break_even_agrees_with_the_two_costs(store: RunStore) -> None:
    """With rent dear enough to have one, the week's hours in use are on the side that the costs say."""
    for hours in (4, 12, 24):
        week = parse_demand(f"400 lines x 30/s, {hours} h x 7 d", date="2026-11-23")
        found = row(planned(store, request(demand=week)), "fp32", "single-stream")
        rent, own = choice(found, Terms.ON_DEMAND), choice(found, Terms.OWNED)
        assert own.break_even.value is not None
        assert (own.break_even.value < hours / 24) == ((own.usd_horizon.value or 0) < (rent.usd_horizon.value or 0))


def test_swings_are_of_the_first_choice_and_fall(plan: PlanDocument) -> None:
    widths = [abs(one.usd_at_high - one.usd_at_low) for one in plan.swings]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 0


def test_other_volumes_are_sized_anew(plan: PlanDocument) -> None:
    assert [one.factor for one in plan.by_volume] == [0.1, 0.5, 2.0, 10.0]
    costs = [one.usd_horizon.value or 0 for one in plan.by_volume]
    assert costs == sorted(costs)


def test_what_it_rests_on_is_listed_with_sources(plan: PlanDocument) -> None:
    names = [one.name for one in plan.assumptions]
    assert len(names) == len(set(names))
    for word in (
        "demand: first hour",
        "price of aws c6a.large",
        "electricity in eu-central",
        "carbon intensity",
        "price of the server",
    ):
        assert any(word in name for name in names), word
    assert all(one.source and one.date for one in plan.assumptions)


def test_a_stale_or_distant_price_is_warned_about(store: RunStore, plan: PlanDocument) -> None:
    assert not any("c6a.large" in one.message for one in plan.warnings)
    later = planned(store, request(as_of=DAY.replace(year=2028), region="france"))
    codes = {one.code for one in later.warnings if "c6a" in one.message or "t4" in one.message}
    assert codes == {"price-stale", "price-elsewhere"}


def test_the_same_question_has_the_same_answer(store: RunStore, plan: PlanDocument) -> None:
    assert planned(store, request()) == plan


def test_sharing_servers_costs_less_than_whole_ones(store: RunStore, plan: PlanDocument) -> None:
    shared = planned(store, request(share_servers=True))
    whole = choice(row(plan, "fp32", "single-stream"), Terms.OWNED).usd_horizon.value or 0
    assert (choice(row(shared, "fp32", "single-stream"), Terms.OWNED).usd_horizon.value or 0) < whole


def test_processing_needs_more_units(store: RunStore, plan: PlanDocument) -> None:
    more = planned(store, request(with_processing=True))
    name = ("int8-static", "onnxruntime", "single-stream")
    assert (row(more, *name).required.value or 0) > (row(plan, *name).required.value or 0)


def test_the_grid_by_the_hour_changes_carbon_alone(store: RunStore, plan: PlanDocument) -> None:
    grid = tuple(0.0 if hour < 120 else 800.0 for hour in range(168))
    other = planned(store, request(grid_g_per_kwh=grid))
    name = ("fp32", "single-stream")
    mine, theirs = (choice(row(one, *name), Terms.ON_DEMAND) for one in (plan, other))
    assert theirs.usd_horizon == mine.usd_horizon
    assert (theirs.carbon_kg_per_month.value or 0) < (mine.carbon_kg_per_month.value or 0)


def test_a_run_without_samples_is_planned_with_its_figures(tmp_path: Path) -> None:
    bare = planned(write_run(tmp_path / "run", samples=False), request())
    found = row(bare, "fp32", "single-stream")
    assert found.reason is None
    assert any("no samples" in note for note in found.notes)


def test_a_projection_s_band_widens_the_units(tmp_path: Path) -> None:
    found = row(planned(write_run(tmp_path / "run", [card()]), request()), "nvidia-t4")
    assert (found.required.low or 0) < (found.required.value or 0) < (found.required.high or 0)


@pytest.mark.parametrize(
    ("changes", "message", "cause"),
    [
        ({"target": Target(0.99, 0.0005)}, "meets p99 <= 0.5 ms", "with nobody waiting"),
        ({"region": "atlantis"}, "no electricity price of `atlantis`", ""),
        ({"hosting": "barn"}, "no power usage effectiveness of `barn`", ""),
    ],
)
def test_a_question_that_has_no_answer_is_refused(
    store: RunStore, changes: dict[str, Any], message: str, cause: str
) -> None:
    with pytest.raises(UsageError) as caught:
        planned(store, request(**changes))
    assert message in caught.value.message
    assert cause in caught.value.cause
    assert caught.value.hint


def test_a_run_with_nothing_eligible_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can be planned with") as caught:
        planned(write_run(tmp_path / "run", [below()]), request())
    assert "below the floor" in caught.value.cause


PRICES = """
title: {en: Ours}
areas: {hall: eu-central}
offers:
  - device: amd-epyc-milan
    provider: ours
    sku: box
    region: hall
    terms: TERMS
    vcpus: 2
    price_per_hour: {value: 0.01, unit: USD/h, source: contract, date: "2026-11"}
"""


def test_own_prices_come_first_and_reservations_are_priced(store: RunStore, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(PRICES.replace("TERMS", "on-demand"), encoding="utf-8")
    ours = planned(store, request(prices=file))
    assert choice(row(ours, "fp32", "single-stream"), Terms.ON_DEMAND).offer == "ours box, hall"
    file.write_text(
        PRICES.replace("TERMS", "reserved, commitment_years: 1").replace(
            "terms: reserved, c", "terms: reserved\n    c"
        ),
        encoding="utf-8",
    )
    reserved = choice(row(planned(store, request(prices=file)), "fp32", "single-stream"), Terms.RESERVED)
    assert reserved.unit_hours_per_week == reserved.units * 168
    short = planned(store, request(prices=file, horizon_years=0.5))
    absent = {one.terms: one.why for one in row(short, "fp32", "single-stream").absent}
    assert "runs longer than the plan" in absent[Terms.RESERVED]


def test_a_price_without_a_date_is_refused_with_its_line(store: RunStore, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(PRICES.replace("TERMS", "on-demand").replace(', date: "2026-11"', ""), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        planned(store, request(prices=file))
    assert "line 11" in caught.value.cause
    assert "date" in caught.value.cause


def test_a_busier_week_costs_more_rented_and_no_more_machines_owned(store: RunStore, plan: PlanDocument) -> None:
    week = request(demand=parse_demand("40 lines x 30/s, 24 h x 7 d", date="2026-11-23"))
    busy = planned(store, replace(week))
    name = ("fp32", "single-stream")
    rent, own = (choice(row(busy, *name), terms) for terms in (Terms.ON_DEMAND, Terms.OWNED))
    assert rent.usd_horizon.value == pytest.approx(
        (choice(row(plan, *name), Terms.ON_DEMAND).usd_horizon.value or 0) * 168 / 80
    )
    assert own.nodes == choice(row(plan, *name), Terms.OWNED).nodes
