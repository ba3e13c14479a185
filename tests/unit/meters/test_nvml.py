"""A GPU's joules by the counter and by polling, through simulated sensors whose true energy is known."""

from __future__ import annotations

import math

import pytest

from leptonbench import meters
from leptonbench.errors import MeasurementError, PrerequisiteError
from leptonbench.meters import nvml, select_gpu_meter
from leptonbench.meters.gpu import Gpu, GpuFacts, check_alone, find_gpu, gpu_names
from leptonbench.meters.nvml import NvmlCounterMeter, NvmlPowerMeter, power_source
from leptonbench.schema import Boundary, Provenance
from tests.fake_nvml import Card, FakeNvml, FakeSampler
from tests.unit.meters.test_select_and_replay import profile

LOADS = {
    "steady": lambda at_s: 60.0,
    "idle, then busy": lambda at_s: 15.0 if at_s < 0.95 else 69.0 + 0.1 * at_s,
    "rising": lambda at_s: min(70.0, 20.0 + 10.0 * at_s),
    "slow swing": lambda at_s: 45.0 + 20.0 * math.sin(at_s * 9.0),
}


def counter_meter(fake: FakeNvml, **options: float) -> NvmlCounterMeter:
    return NvmlCounterMeter(Gpu(library=fake), clock_ns=fake.clock_ns, **options)


def power_meter(fake: FakeNvml) -> NvmlPowerMeter:
    gpu = Gpu(library=fake)
    source = power_source(gpu.facts, has_instant=nvml.has_instant_power(gpu))
    sampler = FakeSampler(fake, gpu.instant_w if source.instant else gpu.usage_w)
    return NvmlPowerMeter(gpu, source, sampler, clock_ns=fake.clock_ns)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("start_s", [1.0, 1.033, 1.099])
@pytest.mark.parametrize("step_s", [0.02, 0.1])
def test_the_counters_band_holds_the_true_energy_wherever_its_steps_lie(load, start_s, step_s):
    fake = FakeNvml(Card(power_w=LOADS[load], counter_step_s=step_s))
    meter = counter_meter(fake)
    fake.pass_s(start_s)
    meter.begin()
    fake.pass_s(meter.least_window_s)
    reading = meter.end()
    card = fake.cards[0]
    true_j = card.energy_j(fake.now_ns) - card.energy_j(fake.now_ns - round(meter.least_window_s * 1e9))
    assert reading.low_j <= true_j <= reading.high_j
    assert (reading.high_j - reading.low_j) / reading.energy_j <= 0.21
    assert (reading.boundary, reading.provenance) == (Boundary.DEVICE, Provenance.MEASURED)


SENSORS = {
    "instant": Card(),
    "quarter of the time": Card(name="A100", capability=(8, 0), window_s=0.025, limit_w=400.0),
    "mean over a second": Card(instant=False),
    "before Ampere": Card(name="Tesla P4", capability=(6, 1), instant=False, average_s=0.1, counter_step_s=None),
}


@pytest.mark.parametrize("load", ["steady", "idle, then busy", "slow swing"])
@pytest.mark.parametrize("sensor", SENSORS)
def test_the_polled_band_holds_the_true_energy_for_each_kind_of_sensor(sensor, load):
    card = SENSORS[sensor]
    fake = FakeNvml(
        Card(**{**vars(card), "power_w": LOADS[load] if load != "steady" else lambda at_s: 60.0 + 0.1 * at_s})
    )
    meter = power_meter(fake)
    fake.pass_s(1.0)
    meter.begin()
    fake.pass_s(max(3.0, meter.least_window_s))
    began_ns = 1_000_000_000
    reading = meter.end()
    true_j = fake.cards[0].energy_j(fake.now_ns) - fake.cards[0].energy_j(began_ns)
    assert reading.low_j <= true_j <= reading.high_j
    assert reading.samples >= 10
    assert 0 < reading.coverage <= (0.25 if card.capability == (8, 0) else 1.0)


def test_what_was_before_the_window_does_not_count_where_power_is_averaged():
    """The mean over a second still holds the idle second before; taken as it is, it would be a sixth too low."""
    fake = FakeNvml(Card(instant=False, power_w=lambda at_s: 10.0 if at_s < 2.0 else 60.0 + 0.01 * at_s))
    meter = power_meter(fake)
    fake.pass_s(2.0)
    meter.begin()
    fake.pass_s(3.0)
    assert meter.end().energy_j == pytest.approx(180.0, rel=0.01)


def facts(capability: tuple[int, int], driver: str) -> GpuFacts:
    return GpuFacts(0, "a card", "GPU-1", driver, capability, 1, None, False)


@pytest.mark.parametrize(
    ("capability", "driver", "has_instant", "instant", "average_s", "coverage"),
    [
        ((8, 9), "550.54", True, True, 0.1, 1.0),
        ((9, 0), "550.54", True, True, 0.1, 0.25),
        ((9, 0), "550.54", False, False, 1.0, 0.25),
        ((9, 0), "525.60", True, False, 1.0, 0.25),
        ((8, 6), "525.60", True, False, 1.0, 1.0),
        ((8, 0), "525.60", True, False, 0.1, 0.25),
        ((7, 5), "470.10", False, False, 0.1, 1.0),
    ],
)
def test_what_a_power_reading_means_depends_on_card_and_driver(
    capability, driver, has_instant, instant, average_s, coverage
):
    found = power_source(facts(capability, driver), has_instant=has_instant)
    assert (found.instant, found.average_s, found.coverage) == (instant, average_s, coverage)


def test_cards_before_pascal_have_a_band_as_wide_as_they_are_wrong():
    assert power_source(facts((5, 0), "470.10"), has_instant=False).band > 0.41
    assert power_source(facts((8, 0), "550.10"), has_instant=True).band == 0.10


def test_idle_and_dynamic_are_apart_where_idle_was_seen():
    fake = FakeNvml(Card())
    for idle_w, expected_j in ((16.0, 32.0), (None, None)):
        meter = counter_meter(fake, idle_w=idle_w)
        meter.begin()
        fake.pass_s(2.0)
        reading = meter.end()
        assert reading.idle_j == (None if expected_j is None else pytest.approx(expected_j))
        assert ("idle part not separated" in reading.method) is (idle_w is None)


def test_a_window_too_short_says_how_long_it_must_be():
    fake = FakeNvml(Card())
    meter = counter_meter(fake)
    meter.begin()
    fake.pass_s(0.3)
    with pytest.raises(MeasurementError, match="too short") as caught:
        meter.end()
    assert "--duration" in caught.value.hint


def test_a_counter_that_stands_still_or_runs_backwards_is_a_fault():
    fake = FakeNvml(Card(power_w=lambda at_s: 0.0))
    meter = counter_meter(fake)
    meter.begin()
    fake.pass_s(2.0)
    with pytest.raises(MeasurementError, match="did not move"):
        meter.end()
    fake.cards[0].power_w = lambda at_s: 60.0
    meter.begin()
    fake.now_ns -= 1_000_000_000
    ahead = iter((fake.now_ns + 2_000_000_000,))
    meter._clock_ns = lambda: next(ahead)  # only the counter goes back
    with pytest.raises(MeasurementError, match="ran backwards"):
        meter.end()


def test_more_than_the_card_can_draw_is_a_fault():
    fake = FakeNvml(Card(power_w=lambda at_s: 600.0))
    meter = counter_meter(fake)
    meter.begin()
    fake.pass_s(2.0)
    with pytest.raises(MeasurementError, match="600 W on average, and its power limit is 72 W"):
        meter.end()


@pytest.mark.parametrize(
    ("watts", "words"), [(lambda at_s: 60.0, "readings of the GPU's power are 60 W"), (lambda at_s: 0.0, "is zero")]
)
def test_power_that_is_stuck_or_zero_is_a_fault(watts, words):
    fake = FakeNvml(Card(power_w=watts))
    meter = power_meter(fake)
    meter.begin()
    fake.pass_s(3.0)
    with pytest.raises(MeasurementError, match=words):
        meter.end()


def test_too_few_readings_are_a_fault():
    fake = FakeNvml(Card())
    gpu = Gpu(library=fake)
    source = power_source(gpu.facts, has_instant=True)
    meter = NvmlPowerMeter(gpu, source, FakeSampler(fake, gpu.instant_w, period_s=0.2), clock_ns=fake.clock_ns)
    meter.begin()
    fake.pass_s(1.0)
    with pytest.raises(MeasurementError, match="too few"):
        meter.end()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """Stand in for pynvml, polled without a child process."""
    fake = FakeNvml(Card())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def test_the_counter_is_trusted_before_polling(fake, monkeypatch):
    seen = iter(range(100))
    monkeypatch.setattr(nvml.Gpu, "energy_mj", lambda self: next(seen))
    meter, notice = select_gpu_meter(Gpu(library=fake), profile(), matched=True)
    assert notice is None
    assert meter.least_window_s == nvml.COUNTER_WINDOW_S


@pytest.mark.parametrize(
    ("card", "words"),
    [(Card(counter_step_s=None, capability=(6, 1)), "does not tell the total energy"), (Card(), "stands still")],
)
def test_without_a_counter_that_moves_power_is_polled_and_said_to_be(card, words, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(nvml.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(nvml, "_PROBE_S", 0.1)
    asked = []
    monkeypatch.setattr(meters.ProcessSampler, "of_gpu", lambda index, **options: asked.append((index, options)))
    meter, notice = select_gpu_meter(Gpu(library=FakeNvml(card)), profile(), matched=True)
    assert notice is not None
    assert notice.code == "energy-polled"
    assert words in notice.message
    assert asked == [(0, {"instant": True, "period_s": nvml.POLL_S})]


def test_a_card_that_is_cut_into_instances_has_no_energy_of_its_own(fake):
    fake.cards[0].mig = 1
    with pytest.raises(PrerequisiteError) as caught:
        select_gpu_meter(Gpu(library=fake), profile(), matched=True)
    assert "MIG" in caught.value.cause
    assert not nvml.counter_availability(Gpu(library=fake)).available


def test_what_a_gpu_is(fake):
    found = find_gpu(library=fake)
    assert found is not None
    assert (found.name, found.capability, found.driver_major, found.power_limit_w) == ("NVIDIA L4", (8, 9), 550, 72.0)
    assert gpu_names(library=fake) == ("NVIDIA L4",)
    assert fake.open == 0, "the driver is let go of"


def test_without_a_driver_there_is_no_gpu_and_a_reason(fake):
    fake.loaded = False
    assert find_gpu(library=fake) is None
    assert gpu_names(library=fake) == ()
    with pytest.raises(PrerequisiteError, match="Driver Not Loaded") as caught:
        Gpu(library=fake)
    assert caught.value.hint


@pytest.mark.parametrize(("visible", "index"), [("1", 1), ("1,0", 1), ("GPU-bbbb", 1), ("GPU-a", 0)])
def test_the_gpu_is_the_first_that_is_left_visible(visible, index, fake, monkeypatch):
    fake.cards.append(Card(uuid="GPU-bbbb"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert Gpu(library=fake).facts.number == index


@pytest.mark.parametrize("visible", ["", "7", "GPU-none"])
def test_a_gpu_that_is_not_left_visible_is_refused(visible, fake, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(PrerequisiteError, match="there is no GPU 7|leaves no whole GPU"):
        Gpu(library=fake)


def test_another_process_on_the_gpu_is_refused(fake):
    gpu = Gpu(library=fake)
    check_alone(gpu, own=0)
    fake.cards[0].pids = [4711]
    check_alone(gpu, own=1)
    with pytest.raises(MeasurementError, match="another process") as caught:
        check_alone(gpu, own=0)
    assert "4711" in caught.value.cause


def test_a_card_that_fell_off_the_bus_is_a_failed_measurement(fake, monkeypatch):
    gpu = Gpu(library=fake)

    def lost(card: Card) -> int:
        raise fake.NVMLError("GPU is lost")

    monkeypatch.setattr(fake, "nvmlDeviceGetTotalEnergyConsumption", lost)
    with pytest.raises(MeasurementError) as caught:
        gpu.energy_mj()
    assert "GPU is lost" in caught.value.cause


@pytest.mark.parametrize("driver", ["550.54", "470.82"])
def test_what_the_driver_reserves_is_not_used_by_anybody(driver):
    nvml = FakeNvml(Card(used_bytes=5, reserved_bytes=1000), driver=driver)
    assert Gpu(0, library=nvml).used_bytes() == 5
