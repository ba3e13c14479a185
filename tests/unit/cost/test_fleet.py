"""What a fleet costs, by hand: rented by the hour, reserved, spot and owned, with its range and its break-even."""

from __future__ import annotations

import pytest

from leptonbench.cost.carbon import embodied_kg_per_year, grid_kg_per_year
from leptonbench.cost.fleet import Purchase, Shape, loads, owned, rented, rented_power_w
from leptonbench.cost.tco import HOURS_PER_YEAR, break_even_use
from leptonbench.schema import Fact, OwnedPrice, PowerProfile, RegionProfile
from leptonbench.schema.prices import Offer, Terms

WEEKS = HOURS_PER_YEAR / 168


def fact(value: float, unit: str = "1", low: float | None = None, high: float | None = None) -> Fact:
    return Fact(value=value, unit=unit, low=low, high=high, source="a test", date="2026")


def offer(value: float, terms: Terms = Terms.ON_DEMAND, **changes: object) -> Offer:
    fields = {"device": "d", "provider": "p", "sku": "s", "region": "r", "terms": terms, "vcpus": 4}
    price = fact(value, "USD/h", value / 2, value * 2)
    return Offer.model_validate(fields | {"price_per_hour": price} | changes)


# Ten units in 80 hours, four in 20, none in the rest; a unit is busy 80 % in the busiest hour.
SHAPE = Shape((10,) * 80 + (4,) * 20 + (0,) * 68, (100.0,) * 80 + (40.0,) * 20 + (0.0,) * 68, 0.8 * 10 / 100)

POWER = PowerProfile(
    idle_w=fact(100.0, "W"),
    full_w=fact(500.0, "W"),
    hardware_threads=16,
    shape=tuple(step / 10 for step in range(11)),
    shape_source="a test",
)
REGION = RegionProfile(
    name="here", electricity_usd_per_kwh=fact(0.2), pue=fact(1.5), carbon_g_per_kwh=fact(400.0, "g/kWh")
)


def price() -> OwnedPrice:
    return OwnedPrice(
        server_usd=fact(10_000.0, "USD", 8_000.0, 12_000.0),
        hardware_threads=16,
        lifetime_years=fact(5.0, "a", 4.0, 6.0),
        residual_fraction=fact(0.0),
        interest_rate=fact(0.0),
        hosting_usd_per_kw_month=fact(100.0),
        maintenance_fraction_per_year=fact(0.05),
    )


def test_on_demand_follows_the_demand_with_the_spares() -> None:
    found = rented(offer(0.4, vcpus=2), SHAPE, threads=2, spare_nodes=1, on_demand=None, rework=None)
    unit_hours = 11 * 80 + 5 * 20  # one spare wherever anything must serve
    assert found.unit_hours_per_week == unit_hours
    assert (found.units, found.nodes) == (11, 11)
    assert found.middle() == pytest.approx(unit_hours * WEEKS * 0.4)
    assert found.bounds() == pytest.approx((found.middle() / 2, found.middle() * 2))


def test_a_reservation_is_paid_around_the_clock() -> None:
    reserved = offer(0.2, Terms.RESERVED, commitment_years=1)
    found = rented(reserved, SHAPE, threads=4, spare_nodes=0, on_demand=None, rework=None)
    assert found.middle() == pytest.approx(10 * HOURS_PER_YEAR * 0.2)


def test_spot_hours_that_are_withdrawn_are_bought_on_demand() -> None:
    spot = offer(0.1, Terms.SPOT)
    often = fact(0.25, "1", 0.0, 0.5)
    found = rented(spot, SHAPE, threads=4, spare_nodes=0, on_demand=offer(0.4), rework=often)
    hours = (10 * 80 + 4 * 20) * WEEKS
    assert found.middle() == pytest.approx(hours * (0.1 * 0.75 + 0.4 * 0.25))
    assert found.bounds() == pytest.approx((hours * 0.05, hours * (0.2 * 0.5 + 0.8 * 0.5)))
    with pytest.raises(ValueError, match="stands in"):
        rented(spot, SHAPE, threads=4, spare_nodes=0, on_demand=None, rework=None)


def test_cards_come_in_whole_nodes() -> None:
    eight = offer(8.0, vcpus=None, cards=8)
    found = rented(eight, SHAPE, threads=2, spare_nodes=1, on_demand=None, rework=None)
    assert (found.units, found.nodes) == (24, 3)  # ten cards are two nodes, and one is spare
    assert found.unit_hours_per_week == 24 * 80 + 16 * 20
    assert found.middle() == pytest.approx((24 * 80 + 16 * 20) * WEEKS * 1.0)


def test_shared_instances_are_rented_whole_and_fail_whole() -> None:
    """Four threads hold one unit of three or two of two: what is left over is paid for, and n+1 is an instance."""
    wide = rented(offer(0.4), SHAPE, threads=3, spare_nodes=0, on_demand=None, rework=None)
    assert (wide.units, wide.nodes) == (10, 10)
    assert wide.middle() == pytest.approx((10 * 80 + 4 * 20) * WEEKS * 0.4)
    pairs = rented(offer(0.4), SHAPE, threads=2, spare_nodes=1, on_demand=None, rework=None)
    assert (pairs.units, pairs.nodes) == (12, 6)
    assert pairs.middle() == pytest.approx((6 * 80 + 3 * 20) * WEEKS * 0.4)
    with pytest.raises(ValueError, match="4 vCPUs, and a unit wants 8"):
        rented(offer(0.4), SHAPE, threads=8, spare_nodes=0, on_demand=None, rework=None)


def test_owning_breaks_even_where_renting_as_long_costs_the_same() -> None:
    """At the stated use the two weeks cost the same: idle power is owned around the clock."""
    full = Shape((10,) * 168, (100.0,) * 168, 0.8 * 10 / 100)
    fleet = owned("box", price(), POWER, REGION, full, Purchase(8, 0))
    rent_usd_per_hour = 2.0
    use = break_even_use(rent_usd_per_hour, idle=fleet.idle, busy=fleet.busy)
    assert use is not None
    hours = round(use * 168)
    part = Shape((10,) * hours + (0,) * (168 - hours), (100.0,) * hours + (0.0,) * (168 - hours), 0.8 * 10 / 100)
    mine = owned("box", price(), POWER, REGION, part, Purchase(8, 0)).costed.middle()
    assert mine == pytest.approx(rent_usd_per_hour * hours * WEEKS, rel=0.5 / hours)


def test_some_figures_may_stay_as_stated() -> None:
    found = rented(offer(0.4), SHAPE, threads=4, spare_nodes=0, on_demand=None, rework=None)
    assert found.bounds(but=found.facts) == (found.middle(), found.middle())


def test_owned_machines_are_whole_and_paid_around_the_clock() -> None:
    found = owned("box", price(), POWER, REGION, SHAPE, Purchase(8, 1))
    assert (found.costed.nodes, found.costed.units) == (3, 24)
    busy = [0.8 * 10 / 24] * 80 + [0.08 * 40 / 24] * 20 + [0.0] * 68
    mean_w = sum(100 + 400 * load for load in busy) / 168
    yearly = 3 * (10_000 / 5 + 0.5 * 100 * 12 + 10_000 * 0.05 + mean_w / 1e3 * 1.5 * 0.2 * HOURS_PER_YEAR)
    assert found.costed.middle() == pytest.approx(yearly)
    assert found.costed.upfront_usd(found.costed.values) == pytest.approx(30_000)
    assert max(found.power_w) == pytest.approx(3 * (100 + 400 * 0.8 * 10 / 24))
    low, high = found.costed.bounds()
    assert high - low == pytest.approx(3 * (12_000 / 4 + 600 - 8_000 / 6 - 400))


def test_a_share_of_a_server_costs_its_share() -> None:
    whole = owned("box", price(), POWER, REGION, SHAPE, Purchase(8, 0))
    shared = owned("box", price(), POWER, REGION, SHAPE, Purchase(1, 0), share=1 / 8)
    assert shared.costed.units == 10
    fixed = 10_000 / 5 + 0.5 * 100 * 12 + 10_000 * 0.05
    assert shared.costed.middle() > fixed * 10 / 8
    assert shared.costed.middle() < whole.costed.middle()


def test_more_units_are_less_busy() -> None:
    assert max(loads(SHAPE, units=10)) == pytest.approx(0.8)
    assert max(loads(SHAPE, units=20)) == pytest.approx(0.4)


def test_a_week_is_scaled_by_its_busiest_hour() -> None:
    assert SHAPE.scaled(15).required_by_hour == (15,) * 80 + (6,) * 20 + (0,) * 68
    assert SHAPE.scaled(10) == SHAPE


def test_rented_units_draw_their_share_only_while_they_run() -> None:
    watts = rented_power_w(POWER, SHAPE, Purchase(), share=1 / 8, around_the_clock=False)
    assert watts[0] == pytest.approx(10 / 8 * (100 + 400 * 0.8))
    assert watts[-1] == 0.0
    kept = rented_power_w(POWER, SHAPE, Purchase(), share=1 / 8, around_the_clock=True)
    assert kept[-1] == pytest.approx(10 / 8 * 100)


def test_carbon_is_the_grid_by_the_hour_and_the_making_over_the_life() -> None:
    watts = [1000.0] * 84 + [0.0] * 84
    flat = grid_kg_per_year(watts, intensity_g_per_kwh=[400.0], pue=1.5)
    assert flat == pytest.approx(0.5 * HOURS_PER_YEAR * 1.5 * 0.4)
    night = grid_kg_per_year(watts, intensity_g_per_kwh=[100.0] * 84 + [700.0] * 84, pue=1.5)
    assert night == pytest.approx(flat / 4)
    assert embodied_kg_per_year(1200.0, machines=2.5, lifetime_years=4.0) == pytest.approx(750.0)
    with pytest.raises(ValueError, match="168 hours"):
        grid_kg_per_year(watts[:24], intensity_g_per_kwh=[400.0], pue=1.0)
    with pytest.raises(ValueError, match="lifetime"):
        embodied_kg_per_year(1.0, machines=1, lifetime_years=0)
