"""The CPU's own energy counters (RAPL), read through Linux's powercap files.

Counted are the package domains and, where they exist, their DRAM domains. `core` and `uncore` are parts of the
package, `psys` holds the package, and `intel-rapl-mmio` shows the same counter once more: adding any of these counts
joules twice (a published profile of a 69 W CPU reads 93 W for that reason). In a virtual machine the counter, if it is
passed through at all, is the host's and not to be relied on, so it is not used there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from leptonbench.errors import MeasurementError, PrerequisiteError
from leptonbench.meters.base import Availability
from leptonbench.schema import Boundary, EnergyReading, Provenance

POWERCAP = Path("/sys/class/powercap")
CPUINFO = Path("/proc/cpuinfo")

_ZONE = re.compile(r"intel-rapl:\d+(:\d+)?")
_ERROR = 0.05
"""Assumed band: comparisons of RAPL with meters are mostly within 5 % under load; DRAM's offset can exceed it idle."""
_MOST_W = 1000.0
"""No package draws more, so a window longer than range / this could hide a whole turn of the counter."""
_PROBE_S, _PROBE_STEP_S = 0.1, 0.002
"""How long a counter may stand still before it counts as stuck: working ones advance every millisecond."""


class _Domain(NamedTuple):
    """One counter: its name, file and the microjoules at which it starts again from zero."""

    name: str
    counter: Path
    range_uj: int


def _is_counted(name: str, *, nested: bool) -> bool:
    return name == "dram" if nested else name.startswith("package")


def _domains(root: Path) -> list[_Domain]:
    """Return the domains to add up, by path.

    Raises:
        OSError: If a file cannot be read.
    """
    found = []
    for zone in sorted(root.glob("intel-rapl:*")):
        matched = _ZONE.fullmatch(zone.name)
        if matched is None:
            continue
        name = (zone / "name").read_text(encoding="ascii").strip()
        if _is_counted(name, nested=matched.group(1) is not None):
            limit = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
            found.append(_Domain(name, zone / "energy_uj", limit))
    return found


def _is_guest(cpuinfo: Path) -> bool:
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return "hypervisor" in flags.split()


def _stuck(domains: list[_Domain], sleep: Callable[[float], None]) -> str:
    """Return the name of a counter that stands still, nothing if all move: even an idle package draws power.

    Raises:
        OSError: If a counter cannot be read.
    """
    first = [domain.counter.read_bytes() for domain in domains]
    still = list(zip(domains, first, strict=True))
    for _ in range(round(_PROBE_S / _PROBE_STEP_S)):
        still = [(domain, value) for domain, value in still if domain.counter.read_bytes() == value]
        if not still:
            return ""
        sleep(_PROBE_STEP_S)
    return still[0][0].name


def availability(
    root: Path = POWERCAP, *, cpuinfo: Path = CPUINFO, sleep: Callable[[float], None] = time.sleep
) -> Availability:
    """Say whether the counters can be read here, and move.

    Args:
        root: The powercap folder.
        cpuinfo: Where the CPU's flags are.
        sleep: Waits between two looks at the counters, 0.1 s in all for one that is stuck.
    """
    try:
        domains = _domains(root)
        for domain in domains:
            domain.counter.read_bytes()
    except PermissionError as error:
        return Availability(
            False,
            f"`{error.filename}` may be read by root only",
            f"as root: chmod a+r {root}/intel-rapl:*/energy_uj {root}/intel-rapl:*:*/energy_uj (until the next boot)",
        )
    except (OSError, ValueError) as error:
        return Availability(False, f"the powercap files cannot be read: {error}", "load the module intel_rapl_msr")
    if not any(domain.name.startswith("package") for domain in domains):
        return Availability(
            False,
            f"no package energy counter under `{root}`",
            "run on bare metal with the module intel_rapl_msr loaded",
        )
    if _is_guest(cpuinfo):
        return Availability(False, "in a virtual machine the energy counter is not reliable", "run on bare metal")
    if still := _stuck(domains, sleep):
        return Availability(
            False,
            f"the energy counter `{still}` stands still",
            "without its part the others would understate the energy; see whether a newer kernel reads it",
        )
    return Availability(True)


class RaplMeter:
    """Package (and DRAM) energy of a window, of everything that ran on the package in it.

    Args:
        root: The powercap folder.
        idle_w: What the package draws when idle, if known; without it a reading has no idle part, and the method
            says so.
        clock_ns: A monotonic clock.

    Raises:
        PrerequisiteError: If no counter can be read.
    """

    least_window_s = 0.1
    """The counters advance every millisecond."""

    def __init__(
        self,
        root: Path = POWERCAP,
        *,
        idle_w: float | None = None,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        try:
            self._domains = _domains(root)
        except (OSError, ValueError) as error:
            raise PrerequisiteError("the energy counters cannot be read", cause=str(error)) from error
        if not self._domains:
            raise PrerequisiteError(f"there is no package energy counter under `{root}`")
        self._idle_w = idle_w
        self._clock_ns = clock_ns
        self._began: tuple[int, list[int]] | None = None

    def begin(self) -> None:
        """Read every counter."""
        self._began = (self._clock_ns(), self._read())

    def end(self) -> EnergyReading:
        """Read every counter again and add up the differences.

        Raises:
            MeasurementError: If there is no open window, a counter cannot be read or did not move, or the window is so
                long that a counter may have come round more than once.
        """
        if self._began is None:
            raise MeasurementError("the energy window was closed before it was opened")
        (began_ns, before), self._began = self._began, None
        after = self._read()
        window_s = (self._clock_ns() - began_ns) / 1e9
        pairs = zip(self._domains, before, after, strict=True)
        energy_j = sum(_difference_j(domain, first, last, window_s) for domain, first, last in pairs)
        idle = "" if self._idle_w is not None else "; idle part not separated"
        return EnergyReading(
            energy_j=energy_j,
            low_j=energy_j * (1.0 - _ERROR),
            high_j=energy_j * (1.0 + _ERROR),
            idle_j=None if self._idle_w is None else min(energy_j, self._idle_w * window_s),
            window_s=window_s,
            boundary=Boundary.PACKAGE.value,
            method=f"RAPL counter, {' + '.join(domain.name for domain in self._domains)}{idle}",
            provenance=Provenance.MEASURED,
            coverage=1.0,
            samples=2,
        )

    def _read(self) -> list[int]:
        try:
            return [int(domain.counter.read_bytes()) for domain in self._domains]
        except (OSError, ValueError) as error:
            raise MeasurementError("an energy counter could not be read", cause=str(error)) from error


def _difference_j(domain: _Domain, before_uj: int, after_uj: int, window_s: float) -> float:
    """Return the joules between two readings of a counter that starts again at its range."""
    if window_s * _MOST_W > domain.range_uj / 1e6:
        raise MeasurementError(
            f"a window of {window_s:.0f} s may hide a whole turn of the energy counter `{domain.name}`",
            hint="measure in shorter windows",
        )
    if after_uj == before_uj:
        raise MeasurementError(
            f"the energy counter `{domain.name}` did not move in {window_s:.3f} s",
            cause="a zero from a meter is a fault, not zero joules",
            hint="lengthen the window; if it stays, the counter does not work on this machine",
        )
    delta_uj = after_uj - before_uj
    return (delta_uj if delta_uj > 0 else delta_uj + domain.range_uj) / 1e6
