"""Meters: how many joules a timed window used, and how that is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from leptonbench.errors import PrerequisiteError
from leptonbench.meters import nvml, rapl
from leptonbench.meters.base import Meter
from leptonbench.meters.cpu_model import CpuModelMeter
from leptonbench.meters.gpu import Gpu
from leptonbench.meters.nvml_poll import ProcessSampler
from leptonbench.meters.wall import ServerMeter
from leptonbench.schema import DeviceProfile, Notice

__all__ = ["Meter", "select_gpu_meter", "select_meter"]


def select_meter(
    profile: DeviceProfile,
    *,
    matched: bool,
    idle_w: float | None = None,
    powercap: Path = rapl.POWERCAP,
    cpuinfo: Path = rapl.CPUINFO,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Meter, Notice | None]:
    """Return the most trustworthy meter of this machine's CPU, and what the reader should know of it.

    In order: the CPU's own counter (RAPL), then a model of the profile's wall power. A counter is of the package and a
    model of the wall: the boundary in the reading says which, the two are not compared, and the counter's reading
    carries the model's beside it.

    Args:
        profile: The device that is measured.
        matched: Whether the profile was found by the CPU's own numbers, rather than guessed.
        idle_w: What the counters saw before anything ran, if they can be read.
        powercap: Where the counters are.
        cpuinfo: Where the CPU's flags are.
        sleep: Waits between two looks at a counter.

    Raises:
        PrerequisiteError: If there is no counter and the profile has no power figures.
    """
    counter = rapl.availability(powercap, cpuinfo=cpuinfo, sleep=sleep)
    model = None if profile.power is None else CpuModelMeter(profile, matched=matched)
    if counter.available:
        return ServerMeter(rapl.RaplMeter(powercap, idle_w=idle_w), model), None
    if model is None:
        raise PrerequisiteError(
            f"the energy of `{profile.name}` can be neither read nor modelled",
            cause=f"{counter.reason}; the hardware profile has no power figures",
            hint=counter.hint,
        )
    guess = "" if matched else "; the CPU was not recognised, so the server is a guess"
    notice = Notice(
        code="energy-modelled",
        message=f"energy is modelled, not read: {counter.reason}{guess}",
        hint=counter.hint,
    )
    return model, notice


def select_gpu_meter(
    gpu: Gpu, host: DeviceProfile, *, matched: bool, idle_w: float | None = None
) -> tuple[Meter, Notice | None]:
    """Return the most trustworthy meter of a GPU, and what the reader should know of it.

    In order: the card's total-energy counter, if it is there and moves, then its power, polled by another process. The
    host beside it is modelled, for the energy at the wall.

    Args:
        gpu: Open.
        host: Profile of the machine's CPU.
        matched: Whether that was recognised.
        idle_w: What the card drew before anything ran.

    Raises:
        PrerequisiteError: If the card's meters are not this measurement's alone.
    """
    facts = gpu.facts
    whole = nvml.whole_card(facts)
    if not whole.available:
        raise PrerequisiteError(f"the energy of GPU {facts.number} cannot be told", cause=whole.reason, hint=whole.hint)
    model = None if host.power is None else CpuModelMeter(host, matched=matched)
    counter = nvml.counter_availability(gpu)
    if counter.available:
        return ServerMeter(nvml.NvmlCounterMeter(gpu, idle_w=idle_w), model, card=facts.name), None
    source = nvml.power_source(facts, has_instant=nvml.has_instant_power(gpu))
    sampler = ProcessSampler.of_gpu(facts.number, instant=source.instant, period_s=nvml.POLL_S)
    meter = nvml.NvmlPowerMeter(gpu, source, sampler, idle_w=idle_w)
    notice = Notice(
        code="energy-polled",
        message=f"the GPU's energy is polled, not counted: {counter.reason}",
        hint=counter.hint,
    )
    return ServerMeter(meter, model, card=facts.name), notice
