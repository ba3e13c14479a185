"""Which prices are leant on: sentinels, fallbacks and outliers are not, two sources are compared, old ones named."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from leptonbench import catalog
from leptonbench.cost.prices import check_offers, latest_day, stale
from leptonbench.paths import data_root
from leptonbench.schema import Fact, RegionTable
from leptonbench.schema.prices import Offer, OfferTable, Terms


def price(value: float, day: str = "2026-11", **changes: Any) -> Fact:
    return Fact.model_validate({"value": value, "unit": "USD/h", "source": "a test", "date": day} | changes)


def offer(value: float, region: str = "here", **changes: Any) -> Offer:
    fields = {"device": "d", "provider": "p", "sku": "s", "region": region, "vcpus": 2, "price_per_hour": price(value)}
    return Offer.model_validate(fields | changes)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), 9999.0, 99999.99, 999999.0, 999.99])
def test_what_price_lists_write_for_no_price_is_rejected(value: float) -> None:
    checked = check_offers([offer(value)])
    assert not checked.offers
    assert "price" in checked.rejected[0].why


@pytest.mark.parametrize("value", [0.9, 9.0, 99.0, 0.0999, 98.32, 9.99])
def test_a_price_that_happens_to_have_nines_is_kept(value: float) -> None:
    assert check_offers([offer(value)]).offers


def test_a_region_three_times_off_its_siblings_is_rejected() -> None:
    offers = [offer(2.7, "a"), offer(2.9, "b"), offer(700.0, "c")]
    checked = check_offers(offers)
    assert [kept.region for kept in checked.offers] == ["a", "b"]
    assert "times off the median" in checked.rejected[0].why


def test_two_regions_alone_do_not_say_which_of_them_is_wrong() -> None:
    assert len(check_offers([offer(1.0, "a"), offer(9.0, "b")]).offers) == 2


def test_a_spot_price_equal_to_on_demand_says_that_none_is_known() -> None:
    checked = check_offers([offer(0.5), offer(0.5, terms="spot"), offer(0.2, "there", terms="spot")])
    assert [one.offer.terms for one in checked.rejected] == [Terms.SPOT]
    assert checked.rejected[0].offer.region == "here"


def test_two_sources_that_agree_are_said_to() -> None:
    checked = check_offers([offer(1.0, second=price(1.02, source="another"))])
    assert not checked.notices
    assert "agree" in (checked.offers[0].price_per_hour.note or "")
    assert checked.offers[0].price_per_hour.low is None


def test_two_sources_that_differ_widen_the_range_and_are_named() -> None:
    checked = check_offers([offer(1.0, second=price(1.4))])
    assert checked.notices[0].code == "price-disputed"
    kept = checked.offers[0].price_per_hour
    assert (kept.value, kept.low, kept.high) == (1.0, 1.0, 1.4)


def test_two_sources_that_contradict_each_other_are_no_price() -> None:
    checked = check_offers([offer(1.0, second=price(3.5))])
    assert not checked.offers
    assert "two sources differ" in checked.rejected[0].why


@pytest.mark.parametrize(
    ("text", "last"), [("2026-08-03", date(2026, 8, 3)), ("2026-02", date(2026, 2, 28)), ("2025", date(2025, 12, 31))]
)
def test_a_coarse_date_is_taken_at_its_latest(text: str, last: date) -> None:
    assert latest_day(text) == last


def test_spot_prices_are_stale_after_a_month_and_others_after_a_year() -> None:
    spring, autumn = price(1.0, "2026-03-01"), date(2026, 11, 23)
    assert stale("x", spring, terms=Terms.ON_DEMAND, as_of=autumn) is None
    notice = stale("x", spring, terms=Terms.SPOT, as_of=autumn)
    assert notice is not None
    assert "267 days" in notice.message
    assert stale("x", price(1.0, "2025"), terms=Terms.ON_DEMAND, as_of=date(2027, 1, 1)) is not None


@pytest.mark.parametrize(
    "changes", [{"cards": 1}, {"vcpus": None}, {"terms": "owned"}, {"terms": "reserved"}, {"commitment_years": 1}]
)
def test_an_offer_that_is_not_whole_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        offer(1.0, **changes)


def test_the_offers_that_come_along_are_usable_and_placed() -> None:
    table = catalog.load_yaml(data_root() / "hardware_profiles" / "prices" / "offers.yaml", OfferTable)
    checked = check_offers(table.offers)
    assert not checked.rejected
    assert not checked.notices
    carbon = catalog.load_yaml(data_root() / "hardware_profiles" / "prices" / "carbon.yaml", RegionTable)
    assert set(table.areas.values()) - set(carbon.figures) == {"us-central"}
