"""Which hardware profile describes this machine's CPU, and whose power figures model its energy."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from leptonbench import catalog
from leptonbench.errors import UsageError
from leptonbench.meters import rapl
from leptonbench.meters.calibrated import power_of
from leptonbench.meters.server_power import power_like, read_results, same_cpu
from leptonbench.schema import DeviceProfile, Identity, PowerFile, PowerProfile

HOST_CPU = "host-cpu"
POWER_FILE = "LEPTONBENCH_POWER"  # names a file with the user's own points, or the kind of server
_GENERIC = "generic-x86"
_IDLE_WINDOWS, _IDLE_WINDOW_S = 10, 0.1


def resolve_host(identity: Identity) -> tuple[DeviceProfile, bool]:
    """Return the profile of the host's CPU, named `host-cpu`, and whether it was matched by the CPU's own numbers.

    Without a match it is the generic profile, whose figures are assumed and wide.

    Raises:
        UsageError: If the generic profile is missing from the data folder.
    """
    profiles = {profile.name: profile for profile in catalog.load_profiles("cpu")}
    for profile in profiles.values():
        match = profile.match
        if (
            match is not None
            and match.vendor == identity.cpu_vendor
            and match.family == identity.cpu_family
            and identity.cpu_model_number in match.models
        ):
            return profile.model_copy(update={"name": HOST_CPU}), True
    if _GENERIC not in profiles:
        raise UsageError(f"the hardware profile `{_GENERIC}` is missing", hint="reinstall leptonbench")
    return profiles[_GENERIC].model_copy(update={"name": HOST_CPU}), False


def powered_host(identity: Identity) -> tuple[DeviceProfile, bool]:
    """Return the host's profile with the power figures nearest to this machine, and whether they are of a known one.

    In this order: what the user metered or said (`LEPTONBENCH_POWER`), published results of the very CPU, the profile's
    own. Only energy is modelled with it; prices are of the profile's kind of server as a whole.

    Raises:
        UsageError: If the user's file is wrong, or the server in it is like no published one.
    """
    profile, matched = resolve_host(identity)
    power = _own_power() or same_cpu(identity.cpu_model, read_results())
    return (profile, matched) if power is None else (profile.model_copy(update={"power": power}), True)


def host_idle_w(
    powercap: Path = rapl.POWERCAP,
    cpuinfo: Path = rapl.CPUINFO,
    *,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> float | None:
    """Return what the CPU's counters see before anything runs, in watts; `None` where there are none to be relied on.

    The lowest of ten windows within a second: what else the machine does only adds.

    Args:
        powercap: Where the counters are.
        cpuinfo: Where the CPU's flags are.
        clock_ns: A monotonic clock.
        sleep: Lets the windows pass.

    Raises:
        MeasurementError: If a counter stops on the way.
    """
    if not rapl.availability(powercap, cpuinfo=cpuinfo, sleep=sleep).available:
        return None
    meter = rapl.RaplMeter(powercap, clock_ns=clock_ns)
    watts = []
    for _ in range(_IDLE_WINDOWS):
        meter.begin()
        sleep(_IDLE_WINDOW_S)
        reading = meter.end()
        watts.append(reading.energy_j / reading.window_s)
    return min(watts)


def _own_power() -> PowerProfile | None:
    path = os.environ.get(POWER_FILE)
    if not path:
        return None
    given = catalog.load_yaml(Path(path).expanduser(), PowerFile)
    return power_of(given) if given.server is None else power_like(given.server, read_results())
