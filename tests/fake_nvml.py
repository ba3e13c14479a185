"""A counterfeit `pynvml`: one or more cards with a stated power over time, seen through a stated sensor.

The sensors are simulated from what is published of real ones (how often the counter advances, over what time power is
averaged, what share of the time is looked at); no reading here was recorded on a device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

NS = 1_000_000_000
_STEP_NS = 1_000_000


class NVMLError(Exception):
    """What pynvml raises."""


@dataclass
class Card:
    """One card.

    Attributes:
        power_w: By seconds since the driver was loaded.
        counter_step_s: How often the energy counter advances; `None` for a card without one.
        average_s: Over what time `power.draw` is averaged.
        instant: Whether it has `power.draw.instant`.
        window_s: What part of each 0.1 s the instant sensor looks at.
    """

    name: str = "NVIDIA L4"
    uuid: str = "GPU-aaaa"
    capability: tuple[int, int] | None = (8, 9)
    power_w: Callable[[float], float] = lambda at_s: 60.0
    limit_w: float = 72.0
    counter_step_s: float | None = 0.1
    average_s: float = 1.0
    instant: bool = True
    window_s: float = 0.1
    mig: int = 0
    used_bytes: int = 500_000_000
    reserved_bytes: int = 300_000_000
    pids: list[int] = field(default_factory=list)

    def energy_j(self, until_ns: int) -> float:
        """Return what the card truly used since the driver was loaded, by sums over milliseconds."""
        return sum(self.power_w(at / NS) for at in range(0, until_ns, _STEP_NS)) * _STEP_NS / NS

    def mean_w(self, since_ns: int, until_ns: int) -> float:
        """Return the mean power of a span."""
        times = range(max(0, since_ns), until_ns, _STEP_NS) or range(until_ns, until_ns + 1)
        return sum(self.power_w(at / NS) for at in times) / len(times)


class FakeNvml:
    """The module. Its clock stands still until it is moved."""

    NVMLError = NVMLError
    NVML_SUCCESS = 0
    NVML_FI_DEV_POWER_INSTANT = 186
    nvmlMemory_v2 = 0x2000028  # noqa: N815

    def __init__(self, *cards: Card, driver: str = "550.54", loaded: bool = True) -> None:
        self.cards = list(cards)
        self.driver = driver
        self.loaded = loaded
        self.now_ns = 0
        self.open = 0

    def clock_ns(self) -> int:
        """Return the time."""
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(seconds * NS)

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.loaded:
            raise NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:  # noqa: N802
        return self.cards[index]

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return self.driver

    def nvmlDeviceGetName(self, card: Card) -> str:  # noqa: N802
        return card.name

    def nvmlDeviceGetUUID(self, card: Card) -> str:  # noqa: N802
        return card.uuid

    def nvmlDeviceGetCudaComputeCapability(self, card: Card) -> tuple[int, int]:  # noqa: N802
        if card.capability is None:
            raise NVMLError("Not Supported")
        return card.capability

    def nvmlDeviceGetEnforcedPowerLimit(self, card: Card) -> int:  # noqa: N802
        return round(card.limit_w * 1e3)

    def nvmlDeviceGetMigMode(self, card: Card) -> list[int]:  # noqa: N802
        if card.capability is None or card.capability < (8, 0):
            raise NVMLError("Not Supported")
        return [card.mig, card.mig]

    def nvmlDeviceGetMemoryInfo(self, card: Card, version: int | None = None) -> Any:  # noqa: N802
        modern = int(self.driver.partition(".")[0]) >= 510
        if version is not None and not modern:
            raise NVMLError("Function Not Found")
        reserve = card.reserved_bytes if modern and version is None else 0
        return SimpleNamespace(total=24 * 1024**3, used=card.used_bytes + reserve)

    def nvmlDeviceGetComputeRunningProcesses(self, card: Card) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=None) for pid in card.pids]

    def nvmlDeviceGetTotalEnergyConsumption(self, card: Card) -> int:  # noqa: N802
        if card.counter_step_s is None:
            raise NVMLError("Not Supported")
        step_ns = round(card.counter_step_s * NS)
        return round(card.energy_j(self.now_ns // step_ns * step_ns) * 1e3)

    def nvmlDeviceGetPowerUsage(self, card: Card) -> int:  # noqa: N802
        return round(card.mean_w(self.now_ns - round(card.average_s * NS), self.now_ns) * 1e3)

    def nvmlDeviceGetFieldValues(self, card: Card, fields: list[int]) -> list[Any]:  # noqa: N802
        if not card.instant:
            return [SimpleNamespace(nvmlReturn=3, value=SimpleNamespace(uiVal=0))]
        ended_ns = self.now_ns // (NS // 10) * (NS // 10)
        watts = card.mean_w(ended_ns - round(card.window_s * NS), ended_ns)
        return [SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=round(watts * 1e3)))]


class FakeSampler:
    """Reads a counterfeit card every 20 ms of its own time, when it is asked what it read."""

    def __init__(self, nvml: FakeNvml, read_w: Callable[[], float], *, period_s: float = 0.02) -> None:
        self._nvml = nvml
        self._read_w = read_w
        self._period_ns = round(period_s * NS)
        self._since_ns: int | None = None

    def start(self) -> None:
        self._since_ns = self._nvml.now_ns

    def stop(self) -> list[tuple[int, float]]:
        assert self._since_ns is not None, "it was not started"
        until_ns, readings = self._nvml.now_ns, []
        for at_ns in range(self._since_ns, until_ns + 1, self._period_ns):
            self._nvml.now_ns = at_ns
            readings.append((at_ns, self._read_w()))
        self._nvml.now_ns, self._since_ns = until_ns, None
        return readings
