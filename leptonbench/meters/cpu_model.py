"""Energy without a counter: the wall power of a like server, apportioned to this machine and to what ran.

The server of the device profile draws P(u) = idle + (full - idle) x shape(u) at the wall. This machine (often a slice
of that server) has some share of its hardware threads and is charged that share of the idle power for the whole
window, whether it computes or not. The dynamic part is the same share of (full - idle) x shape(u) at this machine's own
load u, as if the rest of the server were loaded alike, times the part of the busy CPU seconds that the measured process
used. With its own idle and full watts the form is within 7 to 8 % of metered servers, with another server's within
13 % (SPECpower); the profile's ranges are wider, for vector units draw more than the Java that SPECpower runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import psutil

from leptonbench.errors import MeasurementError, PrerequisiteError
from leptonbench.meters.wall import itself
from leptonbench.schema import Boundary, DeviceProfile, EnergyReading, Fact, PowerProfile, Provenance

LEAST_BAND = 0.30
"""Relative error band of the model when the CPU is known and its profile states none."""
GUESSED_BAND = 0.60
"""The same when the CPU is guessed (a TDP-like model)."""


class CpuTimes(NamedTuple):
    """One look at the clocks: wall nanoseconds, CPU seconds of this process, busy CPU seconds of the machine."""

    wall_ns: int
    process_s: float
    busy_s: float


def read_cpu_times() -> CpuTimes:
    """Read the clocks of this process and this machine; all threads count, child processes do not."""
    machine = psutil.cpu_times()
    # On Linux user and nice include guests; waiting for disks and time stolen by the host are not this machine's work.
    parts = (getattr(machine, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))
    return CpuTimes(time.perf_counter_ns(), time.process_time_ns() / 1e9, sum(parts))


class Split(NamedTuple):
    """Modelled energy of a window in joules: the share of idle, and what the process added."""

    idle_j: float
    dynamic_j: float


class Watts(NamedTuple):
    """Idle and full wall power of the whole server, in watts."""

    idle_w: float
    full_w: float


def apportion(
    watts: Watts, power: PowerProfile, *, threads: int, window_s: float, process_s: float, busy_s: float
) -> Split:
    """Return the modelled energy of a process on a machine with `threads` of the server's hardware threads.

    Args:
        watts: Wall power of the whole server.
        power: Its shape and number of hardware threads.
        threads: Hardware threads of this machine.
        window_s: Length of the window.
        process_s: CPU seconds of the measured process in it.
        busy_s: Busy CPU seconds of the machine in it; taken as at least `process_s`, for its clock is coarser.
    """
    share = threads / power.hardware_threads
    busy_s = max(busy_s, process_s)
    load = busy_s / (window_s * threads)
    rise_w = (watts.full_w - watts.idle_w) * power.fraction_at(load)
    return Split(watts.idle_w * share * window_s, rise_w * share * window_s * process_s / busy_s)


def _ends(fact: Fact, band: float) -> tuple[float, float]:
    """Return the plausible range of a figure: its own, widened to a relative band."""
    low, high = fact.value * (1.0 - band), fact.value * (1.0 + band)
    return min(low, low if fact.low is None else fact.low), max(high, high if fact.high is None else fact.high)


class CpuModelMeter:
    """Modelled wall energy of this process on this machine.

    Args:
        profile: A device profile with power.
        matched: Whether the CPU was recognised; if not, the band is wider and the reading is `assumed`.
        threads: Hardware threads of this machine; all that it shows, if not given.
        clocks: Where the times come from.

    Raises:
        PrerequisiteError: If the profile has no power.
    """

    least_window_s = 0.1
    """The machine's busy seconds advance by 10 ms; a process's own are finer."""

    def __init__(
        self,
        profile: DeviceProfile,
        *,
        matched: bool,
        threads: int | None = None,
        clocks: Callable[[], CpuTimes] = read_cpu_times,
    ) -> None:
        if profile.power is None:
            raise PrerequisiteError(f"the hardware profile `{profile.name}` has no power figures")
        self._power = profile.power
        self._threads = threads or psutil.cpu_count(logical=True) or 1
        known = matched and not (profile.power.idle_w.assumed or profile.power.full_w.assumed)
        self._provenance = Provenance.PROJECTED if known else Provenance.ASSUMED
        band = (profile.power.band or LEAST_BAND) if known else GUESSED_BAND
        self._band = band
        (idle_low_w, idle_high_w), (full_low_w, full_high_w) = (
            _ends(fact, band) for fact in (profile.power.idle_w, profile.power.full_w)
        )
        self._low = Watts(idle_low_w, max(idle_low_w, full_low_w))
        self._high = Watts(idle_high_w, max(idle_high_w, full_high_w))
        self._middle = Watts(profile.power.idle_w.value, profile.power.full_w.value)
        # Power that is not the profile's own says where it is from.
        self._name = profile.power.shape_source if profile.power.band else profile.title.get("en", profile.name)
        self._clocks = clocks
        self._began: CpuTimes | None = None

    def begin(self) -> None:
        """Read the clocks."""
        self._began = self._clocks()

    def end(self) -> EnergyReading:
        """Read the clocks again and model the energy between.

        Raises:
            MeasurementError: If there is no open window, or no time passed or was used in it.
        """
        if self._began is None:
            raise MeasurementError("the energy window was closed before it was opened")
        began, self._began = self._began, None
        ended = self._clocks()
        window_s, process_s = (ended.wall_ns - began.wall_ns) / 1e9, ended.process_s - began.process_s
        if window_s <= 0 or process_s <= 0:
            raise MeasurementError(
                f"this process used {process_s:.3g} CPU seconds in a window of {window_s:.3g} s",
                cause="a zero from a meter is a fault, not zero joules",
                hint="lengthen the window, and open and close it in the process that computes",
            )
        busy_s = ended.busy_s - began.busy_s
        low, middle, high = (
            self._model(watts, window_s, process_s, busy_s) for watts in (self._low, self._middle, self._high)
        )
        reading = EnergyReading(
            energy_j=sum(middle),
            low_j=sum(low),
            high_j=sum(high),
            idle_j=middle.idle_j,
            window_s=window_s,
            boundary=Boundary.WALL.value,
            method=self._method(),
            provenance=self._provenance,
            coverage=1.0,
            samples=2,
        )
        return reading.model_copy(update={"wall": itself(reading)})

    def _model(self, watts: Watts, window_s: float, process_s: float, busy_s: float) -> Split:
        return apportion(
            watts, self._power, threads=self._threads, window_s=window_s, process_s=process_s, busy_s=busy_s
        )

    def _method(self) -> str:
        share = f"{self._threads} of {self._power.hardware_threads} hardware threads"
        return f"modelled: wall power of {self._name} x {share} x CPU time, +/-{self._band:.0%} or wider"
