"""The energy of an NVIDIA GPU: its total-energy counter where that works, else its power, polled.

The counter (Volta and later) is the driver's own sum and agrees with fine polling within 1 %; it advances in steps of
up to 0.1 s, so a window must hold many. Power fields mean different things on different cards: `power_source` knows.
Either way the sensor itself is off by a few per cent: against external meters the median over 16 cards is 3.8 %
(arXiv 2312.02741 and its tables).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from leptonbench.errors import MeasurementError
from leptonbench.meters.base import Availability
from leptonbench.meters.gpu import Gpu, GpuFacts
from leptonbench.schema import Boundary, EnergyReading, Provenance

SENSOR_BAND = 0.05
"""Relative error of the sensor against an external meter: mostly within, on the cards that were compared."""
UPDATE_S = 0.1
"""The counter's longest step: each end of a window is known to so much."""
COUNTER_WINDOW_S = 2.0
"""Asked of the harness: twenty steps, so that the ends cost at most 5 %."""
_LEAST_STEPS = 5  # a shorter window is refused: its ends alone would cost a fifth
_MOST_OF_LIMIT = 1.3  # of the power limit: a mean above is no power that the card can draw
_PROBE_S, _PROBE_STEP_S = 0.5, 0.02  # how long a counter may stand still before it counts as stuck

POLL_S = 0.02
"""Between two readings of power."""
_LEAST_SAMPLES = 10
_SETTLED = 3.0  # averages of the sensor that a window must hold
_ALIASED_BAND = 0.10  # A100 and H100 look at a quarter of the time: work with a period of 0.1 s may hide from them
_OLD_BAND = 0.45  # before Pascal: up to 41 % off an external meter


class PowerSource(NamedTuple):
    """What a power reading is.

    Attributes:
        instant: Read `power.draw.instant` rather than `power.draw`.
        average_s: Over what time the driver averages; a reading lags by as much.
        coverage: Share of the time that the sensor looks at.
        band: Relative error of the mean over a window.
    """

    instant: bool
    average_s: float
    coverage: float
    band: float


def power_source(facts: GpuFacts, *, has_instant: bool) -> PowerSource:
    """Return which power field to poll, and what it means.

    Since driver 530 `power.draw.instant` covers some 25 to 100 ms. Without it, `power.draw` is a mean over 1 s on
    Ampere and later except the A100's chip (8.0), and instantaneous on older ones. The A100 and the H100 (9.0) sample
    25 ms of each 100 ms.

    Args:
        facts: Of the card.
        has_instant: Whether the driver returns the instant field for it.
    """
    capability = facts.capability or (0, 0)
    quarter = capability in ((8, 0), (9, 0))
    band = _OLD_BAND if capability < (6, 0) else _ALIASED_BAND if quarter else SENSOR_BAND
    coverage = 0.25 if quarter else 1.0
    if has_instant and facts.driver_major >= 530:
        return PowerSource(True, UPDATE_S, coverage, band)
    return PowerSource(False, 1.0 if capability > (8, 0) else UPDATE_S, coverage, band)


def whole_card(facts: GpuFacts) -> Availability:
    """Say whether the card's meters are this measurement's: an instance of a cut card is shown the whole card's."""
    if facts.mig:
        return Availability(
            False,
            f"{facts.name} is cut into instances (MIG), and each is shown the energy of the whole card",
            "measure energy on a card without MIG",
        )
    return Availability(True)


def counter_availability(gpu: Gpu, *, sleep: Callable[[float], None] = time.sleep) -> Availability:
    """Say whether the energy counter is there and moves: a card draws power even when idle."""
    whole = whole_card(gpu.facts)
    if not whole.available:
        return whole
    try:
        first = gpu.energy_mj()
        for _ in range(round(_PROBE_S / _PROBE_STEP_S)):
            if gpu.energy_mj() != first:
                return Availability(True)
            sleep(_PROBE_STEP_S)
    except MeasurementError as error:
        return Availability(False, error.message, "cards before Volta have no counter; their power is polled")
    return Availability(False, f"the energy counter of {gpu.facts.name} stands still", "its power is polled instead")


def has_instant_power(gpu: Gpu) -> bool:
    """Say whether the driver returns this card's instant power."""
    try:
        return gpu.instant_w() > 0
    except MeasurementError:
        return False


class NvmlCounterMeter:
    """The counter's difference over a window.

    Args:
        gpu: Open.
        idle_w: What the card draws without work, if it was seen.
        clock_ns: A monotonic clock.
    """

    least_window_s = COUNTER_WINDOW_S

    def __init__(
        self, gpu: Gpu, *, idle_w: float | None = None, clock_ns: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self._gpu = gpu
        self._idle_w = idle_w
        self._clock_ns = clock_ns
        self._began: tuple[int, int] | None = None

    def begin(self) -> None:
        """Read the counter."""
        self._began = (self._clock_ns(), self._gpu.energy_mj())

    def end(self) -> EnergyReading:
        """Read the counter again.

        Raises:
            MeasurementError: If there is no open window, it is too short, or the counter stood still, ran backwards or
                says more than the card can draw.
        """
        if self._began is None:
            raise MeasurementError("the energy window was closed before it was opened")
        (began_ns, began_mj), self._began = self._began, None
        window_s, energy_j = (self._clock_ns() - began_ns) / 1e9, (self._gpu.energy_mj() - began_mj) / 1e3
        check_long_enough(window_s, _LEAST_STEPS * UPDATE_S)
        if energy_j <= 0:
            raise MeasurementError(
                f"the GPU's energy counter {'did not move' if energy_j == 0 else 'ran backwards'} in {window_s:.2f} s",
                cause="a zero from a meter is a fault, not zero joules",
                hint="lengthen the window (--duration); if it stays, the counter does not work with this driver",
            )
        check_plausible(energy_j / window_s, self._gpu.facts)
        ends_j = UPDATE_S * energy_j / window_s
        return gpu_reading(
            energy_j,
            window_s,
            band_j=SENSOR_BAND * energy_j + ends_j,
            idle_w=self._idle_w,
            method=f"NVML total energy counter of {self._gpu.facts.name}, driver {self._gpu.facts.driver}",
            samples=2,
        )


class Sampler(Protocol):
    """Reads power at a steady pace, in another process than the one that is measured."""

    def start(self) -> None:
        """Return once readings come in."""

    def stop(self) -> list[tuple[int, float]]:
        """Stop, and return monotonic nanoseconds and watts of each reading since the start, in order."""


class NvmlPowerMeter:
    """The mean of polled power times the window, for cards without a counter that works.

    Args:
        gpu: Open.
        source: What its power readings are.
        sampler: Reads them.
        idle_w: What the card draws without work, if it was seen.
        clock_ns: A monotonic clock, the one that the sampler stamps with.
    """

    def __init__(
        self,
        gpu: Gpu,
        source: PowerSource,
        sampler: Sampler,
        *,
        idle_w: float | None = None,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._gpu = gpu
        self._source = source
        self._sampler = sampler
        self._idle_w = idle_w
        self._clock_ns = clock_ns
        self._began_ns: int | None = None
        self.least_window_s = max(_SETTLED * source.average_s, 2 * _LEAST_SAMPLES * POLL_S)

    def begin(self) -> None:
        """Start the readings, if they are not running, and note the time."""
        if self._began_ns is None:
            self._sampler.start()
        self._began_ns = self._clock_ns()

    def end(self) -> EnergyReading:
        """Stop the readings and take their mean.

        Readings of the first `average_s` still hold what was before the window and are left out.

        Raises:
            MeasurementError: If there is no open window, it is too short, readings are missing, zero or all the same,
                or say more than the card can draw.
        """
        if self._began_ns is None:
            raise MeasurementError("the energy window was closed before it was opened")
        began_ns, self._began_ns = self._began_ns, None
        ended_ns = self._clock_ns()
        readings = self._sampler.stop()
        window_s = (ended_ns - began_ns) / 1e9
        check_long_enough(window_s, _SETTLED * self._source.average_s)
        settled_ns = began_ns + round(self._source.average_s * 1e9)
        inside = [(at_ns, watts) for at_ns, watts in readings if settled_ns <= at_ns <= ended_ns]
        mean_w = _mean(inside)
        check_plausible(mean_w, self._gpu.facts)
        energy_j = mean_w * window_s
        field = "power.draw.instant" if self._source.instant else "power.draw"
        seen_s = (inside[-1][0] - inside[0][0]) / 1e9
        return gpu_reading(
            energy_j,
            window_s,
            band_j=energy_j * (self._source.band + self._source.average_s / window_s),
            idle_w=self._idle_w,
            method=f"NVML {field} of {self._gpu.facts.name}, {len(inside)} readings over {seen_s:.2f} s, "
            f"driver {self._gpu.facts.driver}",
            samples=len(inside),
            coverage=min(1.0, self._source.coverage * seen_s / window_s),
        )


def _mean(readings: list[tuple[int, float]]) -> float:
    """Return the mean power over time, by trapezoids.

    Raises:
        MeasurementError: If there are too few readings, one is not positive, or none differs from the first.
    """
    if len(readings) < _LEAST_SAMPLES:
        raise MeasurementError(
            f"{len(readings)} readings of power are too few",
            cause=f"a window needs {_LEAST_SAMPLES} after the sensor has settled",
            hint="lengthen the window (--duration)",
        )
    if min(watts for _, watts in readings) <= 0:
        raise MeasurementError(
            "a reading of the GPU's power is zero",
            cause="a zero from a meter is a fault, not zero watts",
            hint="the sensor does not work on this card or with this driver",
        )
    if len({watts for _, watts in readings}) == 1:
        raise MeasurementError(
            f"all {len(readings)} readings of the GPU's power are {readings[0][1]:g} W",
            cause="a sensor that never changes under load is stuck",
            hint="lengthen the window (--duration); if it stays, the sensor does not work with this driver",
        )
    pairs = list(zip(readings, readings[1:], strict=False))
    area = sum(
        (after_ns - before_ns) * (before_w + after_w) / 2 for (before_ns, before_w), (after_ns, after_w) in pairs
    )
    return area / (readings[-1][0] - readings[0][0])


def check_long_enough(window_s: float, least_s: float) -> None:
    """Refuse a window in which the sensor's own pace is most of what is seen.

    Raises:
        MeasurementError: With the time it takes.
    """
    if window_s < least_s:
        raise MeasurementError(
            f"a window of {window_s:.3f} s is too short for the GPU's meter",
            cause=f"it needs {least_s:g} s",
            hint=f"lengthen the window: --duration {2 * least_s:g}s",
        )


def check_plausible(mean_w: float, facts: GpuFacts) -> None:
    """Refuse a mean power that the card cannot draw.

    Raises:
        MeasurementError: With the limit.
    """
    if facts.power_limit_w is not None and mean_w > _MOST_OF_LIMIT * facts.power_limit_w:
        raise MeasurementError(
            f"the GPU's meter says {mean_w:.0f} W on average, and its power limit is {facts.power_limit_w:.0f} W",
            cause="a counter that jumps, or in another unit",
            hint="update the driver; until then this card's energy cannot be told",
        )


def gpu_reading(
    energy_j: float,
    window_s: float,
    *,
    band_j: float,
    idle_w: float | None,
    method: str,
    samples: int,
    coverage: float = 1.0,
) -> EnergyReading:
    """Return a reading of the card alone; its idle part is what it drew before anything ran, if that was seen."""
    return EnergyReading(
        energy_j=energy_j,
        low_j=max(0.0, energy_j - band_j),
        high_j=energy_j + band_j,
        idle_j=None if idle_w is None else min(energy_j, idle_w * window_s),
        window_s=window_s,
        boundary=Boundary.DEVICE.value,
        method=method + ("" if idle_w is not None else "; idle part not separated"),
        provenance=Provenance.MEASURED,
        coverage=coverage,
        samples=samples,
    )
