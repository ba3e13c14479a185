from __future__ import annotations

import math

import pytest

from leptonbench.catalog import load_profiles, load_yaml
from leptonbench.cost.hourly import rented_usd_per_hour
from leptonbench.cost.rate import Rate, unique
from leptonbench.cost.region import carbon_assumption, region_profile
from leptonbench.cost.tco import HOURS_PER_YEAR, OwnedParts, break_even_use, owned_usd_per_hour, yearly_capital_usd
from leptonbench.cost.use import cost_per_million, demand_assumptions, utilisation
from leptonbench.errors import UsageError
from leptonbench.paths import data_root
from leptonbench.schema import (
    CloudPrice,
    DemandSpec,
    Fact,
    OwnedPrice,
    PowerProfile,
    Provenance,
    Quantity,
    RegionProfile,
    RegionTable,
)

PRICES = data_root() / "hardware_profiles" / "prices"


def fact(value: float, unit: str = "1", low: float | None = None, high: float | None = None, *, assumed: bool = False):
    return Fact(value=value, unit=unit, low=low, high=high, source="a test", date="2026", assumed=assumed)


def offer(price: Fact, vcpus: int = 192, sku: str = "c6a.48xlarge") -> CloudPrice:
    return CloudPrice(provider="aws", sku=sku, region="us-east-1", vcpus=vcpus, price_per_hour=price)


def table(name: str) -> RegionTable:
    return load_yaml(PRICES / f"{name}.yaml", RegionTable)


REGION = RegionProfile(
    name="here", electricity_usd_per_kwh=fact(0.2), pue=fact(1.5), carbon_g_per_kwh=fact(400.0, "g/kWh")
)
POWER = PowerProfile(
    idle_w=fact(100.0, "W"),
    full_w=fact(500.0, "W"),
    hardware_threads=100,
    shape=tuple(step / 10 for step in range(11)),
    shape_source="a test",
)


def owned(**changes: Fact) -> OwnedPrice:
    figures = {
        "server_usd": fact(10_000.0, "USD"),
        "lifetime_years": fact(5.0),
        "residual_fraction": fact(0.1),
        "interest_rate": fact(0.0),
        "hosting_usd_per_kw_month": fact(100.0),
        "maintenance_fraction_per_year": fact(0.05),
    }
    return OwnedPrice(hardware_threads=100, **(figures | changes))


def throughput(value: float = 100.0, low: float | None = 90.0, high: float | None = 110.0) -> Quantity:
    return Quantity(
        value=value, unit="1/s", low=low, high=high, n=3, confidence=0.95, provenance=Provenance.MEASURED, method="t"
    )


def rate(value: float = 0.36, low: float = 0.36, high: float = 0.36, provenance=Provenance.PROJECTED) -> Rate:
    return Rate(value, low, high, provenance, "a price", ())


class TestRented:
    def test_price_of_the_share_of_an_instance(self):
        rented = rented_usd_per_hour([offer(fact(7.344, "USD/h"))], threads=2)
        assert rented.value == pytest.approx(7.344 * 2 / 192)
        assert rented.low == rented.high == rented.value
        assert rented.provenance is Provenance.PROJECTED
        assert "aws c6a.48xlarge, us-east-1 x 2 of 192 vCPUs" in rented.method
        assert rented.assumptions[0].value == 7.344

    def test_other_offers_and_ranges_span_the_range(self):
        offers = [offer(fact(8.0), 100), offer(fact(10.0), 100, "b"), offer(fact(7.0, low=5.0, high=8.0), 100, "c")]
        rented = rented_usd_per_hour(offers, threads=10)
        assert (rented.value, rented.low, rented.high) == pytest.approx((0.8, 0.5, 1.0))
        assert [row.name for row in rented.assumptions][1:] == [
            "on-demand price of aws b, us-east-1",
            "on-demand price of aws c, us-east-1",
        ]

    def test_an_assumed_price_makes_an_assumed_rate(self):
        assert rented_usd_per_hour([offer(fact(1.0, assumed=True))], threads=1).provenance is Provenance.ASSUMED

    def test_what_cannot_be_priced_is_refused(self):
        with pytest.raises(ValueError, match="no on-demand price"):
            rented_usd_per_hour([], threads=1)
        with pytest.raises(ValueError, match="at least one thread"):
            rented_usd_per_hour([offer(fact(1.0))], threads=0)


class TestOwned:
    def test_annuity_pays_off_price_less_residual(self):
        yearly = yearly_capital_usd(10_000.0, 1_000.0, interest_rate=0.06, lifetime_years=4)
        balance = 10_000.0
        for _ in range(4):
            balance = balance * 1.06 - yearly
        assert balance == pytest.approx(1_000.0)

    def test_without_interest_it_is_a_straight_line_and_the_limit_of_the_annuity(self):
        straight = yearly_capital_usd(10_000.0, 1_000.0, interest_rate=0.0, lifetime_years=5)
        assert straight == pytest.approx(1_800.0)
        assert yearly_capital_usd(10_000.0, 1_000.0, interest_rate=1e-7, lifetime_years=5) == pytest.approx(
            straight, rel=1e-6
        )

    def test_terms_out_of_range_are_refused(self):
        with pytest.raises(ValueError, match="lifetime"):
            yearly_capital_usd(1.0, 0.0, interest_rate=0.0, lifetime_years=0)
        with pytest.raises(ValueError, match="interest"):
            yearly_capital_usd(1.0, 0.0, interest_rate=-0.1, lifetime_years=1)

    def test_every_head_by_hand(self):
        result = owned_usd_per_hour(owned(), POWER, REGION, threads=10, load=0.5)
        assert result.parts.capital == pytest.approx(0.1 * 1_800 / HOURS_PER_YEAR)
        assert result.parts.hosting == pytest.approx(0.1 * 0.5 * 100 * 12 / HOURS_PER_YEAR)
        assert result.parts.maintenance == pytest.approx(0.1 * 500 / HOURS_PER_YEAR)
        assert result.parts.electricity == pytest.approx(0.1 * 0.300 * 1.5 * 0.2)
        assert result.rate.value == pytest.approx(sum(result.parts))
        assert result.rate.low == result.rate.high == result.rate.value

    def test_an_idle_server_still_costs_its_idle_power(self):
        idle = owned_usd_per_hour(owned(), POWER, REGION, threads=100, load=0.0)
        assert idle.parts.electricity == pytest.approx(0.100 * 1.5 * 0.2)

    @pytest.mark.parametrize(
        ("key", "value", "low", "high"),
        [
            ("server_usd", 10_000.0, 5_000.0, 20_000.0),
            ("lifetime_years", 5.0, 3.0, 6.0),
            ("residual_fraction", 0.1, 0.0, 0.2),
            ("interest_rate", 0.05, 0.0, 0.1),
            ("hosting_usd_per_kw_month", 100.0, 50.0, 200.0),
            ("maintenance_fraction_per_year", 0.05, 0.0, 0.1),
        ],
    )
    def test_each_range_widens_the_rate_on_both_sides(self, key, value, low, high):
        changed = owned(**{key: fact(value, low=low, high=high)})
        result = owned_usd_per_hour(changed, POWER, REGION, threads=10, load=0.5).rate
        assert result.low < result.value < result.high

    def test_figures_come_out_as_assumptions_and_the_weakest_decides(self):
        changed = owned(lifetime_years=fact(5.0, assumed=True))
        result = owned_usd_per_hour(changed, POWER, REGION, threads=10, load=0.5).rate
        assert result.provenance is Provenance.ASSUMED
        assert {row.name for row in result.assumptions} == {
            "price of the server",
            "lifetime of the server",
            "residual value of the server",
            "cost of capital",
            "hosting",
            "maintenance",
            "idle power of the server",
            "full power of the server",
            "electricity in here",
            "power usage effectiveness",
        }
        assert [row.name for row in result.assumptions if row.assumed] == ["lifetime of the server"]

    def test_shares_out_of_range_are_refused(self):
        for threads, load in ((0, 0.5), (1, 1.5)):
            with pytest.raises(ValueError, match="threads >= 1"):
                owned_usd_per_hour(owned(), POWER, REGION, threads=threads, load=load)

    def test_break_even_is_where_both_cost_the_same(self):
        idle = OwnedParts(capital=0.2, hosting=0.05, maintenance=0.05, electricity=0.04)
        use = break_even_use(0.74, idle=idle, busy=idle._replace(electricity=0.1))
        assert use == pytest.approx(0.5)
        assert 0.74 * use == pytest.approx(0.3 + 0.04 * (1 - use) + 0.1 * use)

    def test_cheap_rent_is_never_beaten(self):
        parts = OwnedParts(capital=0.2, hosting=0.05, maintenance=0.05, electricity=0.1)
        assert break_even_use(0.35, idle=parts, busy=parts) is None
        assert break_even_use(0.05, idle=parts, busy=parts) is None


class TestUse:
    demand = DemandSpec(description={"en": "d"}, rate_per_s=12, hours_per_day=16, days_per_week=5)

    def test_around_the_clock_the_idle_hours_are_paid_too(self):
        assert utilisation(self.demand, always_on=True) == pytest.approx(0.7 * 80 / 168)

    def test_stopped_outside_its_hours_a_unit_is_as_used_as_stated(self):
        assert utilisation(self.demand, always_on=False) == pytest.approx(0.7)

    def test_a_faster_unit_makes_an_answer_cheaper(self):
        use = utilisation(self.demand, always_on=False)
        slow, fast = (throughput().model_copy(update={"value": v, "low": v, "high": v}) for v in (50.0, 100.0))
        ratio = (
            cost_per_million(rate(), slow, utilisation=use).value
            / cost_per_million(rate(), fast, utilisation=use).value
        )
        assert ratio == pytest.approx(2.0)

    def test_demand_is_an_assumption(self):
        rows = demand_assumptions("manufacturing", self.demand, date="2026-11-23")
        assert [(row.value, row.unit) for row in rows] == [(12, "1/s"), (16, "h/d"), (5, "d/week"), (0.7, "1")]
        assert all(row.assumed and row.source == "suite `manufacturing`" for row in rows)


class TestCostPerMillion:
    def test_by_hand(self):
        # 0.36 USD an hour over 100 x 3600 x 0.5 answers: 2 USD a million.
        cost = cost_per_million(rate(), throughput(), utilisation=0.5)
        assert cost.value == pytest.approx(2.0)
        assert (cost.unit, cost.n) == ("USD", 3)
        assert "50% utilisation" in (cost.method or "")

    def test_an_exact_price_keeps_the_throughputs_interval_turned_round(self):
        cost = cost_per_million(rate(), throughput(), utilisation=0.5)
        assert (cost.low, cost.high) == (pytest.approx(2 / 1.1), pytest.approx(2 / 0.9))
        assert cost.confidence == 0.95

    def test_a_price_with_a_range_gives_a_stated_range(self):
        cost = cost_per_million(rate(low=0.18, high=0.72), throughput(), utilisation=0.5)
        assert (cost.low, cost.high) == (pytest.approx(1 / 1.1), pytest.approx(4 / 0.9))
        assert cost.confidence is None

    def test_without_any_range_there_is_no_interval(self):
        cost = cost_per_million(rate(), throughput(low=None, high=None), utilisation=1.0)
        assert (cost.low, cost.high, cost.confidence) == (None, None, None)

    def test_a_throughput_that_may_be_zero_leaves_the_cost_unbounded(self):
        cost = cost_per_million(rate(), throughput(low=0.0), utilisation=1.0)
        assert (cost.low, cost.high) == (None, None)

    def test_the_weakest_evidence_decides(self):
        assert cost_per_million(rate(), throughput(), utilisation=1.0).provenance is Provenance.PROJECTED
        assumed = rate(provenance=Provenance.ASSUMED)
        assert cost_per_million(assumed, throughput(), utilisation=1.0).provenance is Provenance.ASSUMED

    def test_no_throughput_has_no_cost_and_says_why(self):
        absent = cost_per_million(rate(), Quantity.null("1/s", "the cell crashed"), utilisation=1.0)
        assert absent.value is None
        assert absent.why_null == "no throughput: the cell crashed"
        assert cost_per_million(rate(), throughput(0.0, None, None), utilisation=1.0).value is None

    @pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, math.nan])
    def test_utilisation_is_explicit_and_a_fraction(self, fraction):
        with pytest.raises(ValueError, match="utilisation"):
            cost_per_million(rate(), throughput(), utilisation=fraction)


class TestRegion:
    def tables(self):
        return {name: table(name) for name in ("electricity", "carbon", "pue")}

    def test_a_region_takes_a_figure_from_each_table(self):
        region = region_profile("eu-central", **self.tables(), hosting="aws")
        assert region.pue.value == 1.2
        assert region.carbon_g_per_kwh.value == 381
        assert region.electricity_usd_per_kwh.unit == "USD/kWh"
        assert carbon_assumption(region).name == "carbon intensity in eu-central"

    def test_without_hosting_the_building_is_an_average_one(self):
        assert region_profile("world", **self.tables()).pue.value == 1.56

    def test_unknown_places_name_the_known_ones(self):
        with pytest.raises(UsageError) as caught:
            region_profile("atlantis", **self.tables())
        assert "atlantis" in caught.value.message
        assert "eu-central" in caught.value.hint
        with pytest.raises(UsageError, match="effectiveness of `garage`"):
            region_profile("world", **self.tables(), hosting="garage")

    def test_every_region_has_both_electricity_and_carbon(self):
        assert set(table("electricity").figures) == set(table("carbon").figures)


def test_assumptions_are_listed_once():
    first = rented_usd_per_hour([offer(fact(1.0))], threads=1).assumptions
    second = rented_usd_per_hour([offer(fact(1.0)), offer(fact(2.0), sku="b")], threads=1).assumptions
    assert [row.value for row in unique((*first, *second))] == [1.0, 2.0]


@pytest.mark.parametrize("profile", load_profiles("cpu"), ids=lambda profile: profile.name)
def test_every_priced_profile_gives_a_plausible_thread_hour(profile):
    region = region_profile("eu-central", **{name: table(name) for name in ("electricity", "carbon", "pue")})
    if profile.cloud:
        assert 0.005 < rented_usd_per_hour(profile.cloud, threads=1).value < 0.2
    if profile.owned:
        assert profile.power is not None
        rate = owned_usd_per_hour(profile.owned, profile.power, region, threads=1, load=0.3).rate
        assert 0.001 < rate.low < rate.value < rate.high < 0.2
