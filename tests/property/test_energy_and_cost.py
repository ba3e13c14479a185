from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leptonbench.catalog import load_profiles
from leptonbench.cost.rate import Rate
from leptonbench.cost.use import cost_per_million, utilisation
from leptonbench.meters.cpu_model import CpuModelMeter, CpuTimes
from leptonbench.schema import DemandSpec, Provenance, Quantity

PROFILES = load_profiles("cpu")


@given(
    st.sampled_from(PROFILES),
    st.booleans(),
    st.integers(1, 64),
    st.floats(1.0, 60.0),
    st.floats(0.01, 1.0),
    st.floats(0.0, 1.0),
)
def test_modelled_energy_lies_between_idle_and_full_power_of_the_share(
    profile, matched, threads, window_s, process_load, other_load
):
    process_s = process_load * window_s * threads
    busy_s = min(process_s + other_load * window_s * threads, window_s * threads)
    looks = iter([CpuTimes(0, 0.0, 0.0), CpuTimes(int(window_s * 1e9), process_s, busy_s)])
    meter = CpuModelMeter(profile, matched=matched, threads=threads, clocks=looks.__next__)
    meter.begin()
    reading = meter.end()
    share_s = threads / profile.power.hardware_threads * window_s
    assert profile.power.idle_w.value * share_s <= reading.energy_j * (1 + 1e-6)
    assert reading.energy_j <= profile.power.full_w.value * share_s * (1 + 1e-6)
    assert 0 < reading.low_j < reading.energy_j < reading.high_j
    assert reading.low_j <= 0.7 * reading.energy_j * (1 + 1e-9)
    assert reading.high_j >= 1.3 * reading.energy_j * (1 - 1e-9)
    known = matched and not profile.power.full_w.assumed
    assert reading.provenance is (Provenance.PROJECTED if known else Provenance.ASSUMED)


@given(st.floats(0.01, 1e4), st.floats(0.5, 24), st.floats(0.5, 7), st.floats(0.01, 1))
def test_utilisation_is_a_fraction_and_idle_hours_lower_it(rate_per_s, hours, days, use):
    demand = DemandSpec(
        description={"en": "d"}, rate_per_s=rate_per_s, hours_per_day=hours, days_per_week=days, utilisation=use
    )
    on, off = (utilisation(demand, always_on=always_on) for always_on in (True, False))
    assert 0 < on <= off * (1 + 1e-12)
    assert off == use


@given(st.floats(0.01, 100), st.floats(0.01, 1), st.floats(1, 1e4), st.floats(0.5, 1.0), st.floats(1.0, 2.0))
def test_cost_is_held_by_its_range_and_falls_with_use(usd, use, rate_per_s, below, above):
    price = Rate(usd, usd * below, usd * above, Provenance.PROJECTED, "a price", ())
    throughput = Quantity(
        value=rate_per_s,
        unit="1/s",
        low=rate_per_s * below,
        high=rate_per_s * above,
        n=3,
        provenance=Provenance.MEASURED,
    )
    cost, idler = (cost_per_million(price, throughput, utilisation=part) for part in (use, use / 2))
    assert idler.value > cost.value
    if cost.low is not None:
        assert cost.low <= cost.value * (1 + 1e-12)
        assert cost.value <= cost.high * (1 + 1e-12)
