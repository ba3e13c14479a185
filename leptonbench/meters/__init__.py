"""Meters: how many joules a timed window used, and how that is known."""

from __future__ import annotations

from pathlib import Path

from leptonbench.errors import PrerequisiteError
from leptonbench.meters import rapl
from leptonbench.meters.base import Meter
from leptonbench.meters.cpu_model import CpuModelMeter
from leptonbench.schema import DeviceProfile, Notice

__all__ = ["Meter", "select_meter"]


def select_meter(
    profile: DeviceProfile, *, matched: bool, powercap: Path = rapl.POWERCAP, cpuinfo: Path = rapl.CPUINFO
) -> tuple[Meter, Notice | None]:
    """Return the most trustworthy meter that works here, and what the reader should know of it.

    In order: the CPU's own counter (RAPL), then a model of the profile's wall power. A counter is of the package and a
    model of the wall: the boundary in the reading says which, and the two are not compared.

    Args:
        profile: The device that is measured.
        matched: Whether the profile was found by the CPU's own numbers, rather than guessed.
        powercap: Where the counters are.
        cpuinfo: Where the CPU's flags are.

    Raises:
        PrerequisiteError: If there is no counter and the profile has no power figures.
    """
    counter = rapl.availability(powercap, cpuinfo=cpuinfo)
    if counter.available:
        return rapl.RaplMeter(powercap), None
    if profile.power is None:
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
    return CpuModelMeter(profile, matched=matched), notice
