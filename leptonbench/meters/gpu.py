"""One NVIDIA GPU as its driver (NVML) shows it: what it is, what it draws, who uses it.

All other modules go through this one, so a test stands a counterfeit `pynvml` in its place and nothing else.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from leptonbench.errors import MeasurementError, PrerequisiteError

T = TypeVar("T")
_DRIVER_HINT = "install NVIDIA's driver and let this process see /dev/nvidia*, or leave the GPU cells out"


class GpuFacts(NamedTuple):
    """What a GPU is.

    Attributes:
        number: Among those that the driver shows, in the order of their bus addresses.
        capability: Of CUDA, (8, 0) for an A100; `None` where the driver does not tell.
        power_limit_w: That the driver enforces now; `None` where it does not tell.
        mig: Whether it is cut into instances.
    """

    number: int
    name: str
    uuid: str
    driver: str
    capability: tuple[int, int] | None
    memory_bytes: int
    power_limit_w: float | None
    mig: bool

    @property
    def driver_major(self) -> int:
        """Return the first number of the driver's version; 0 where it is no number."""
        first = self.driver.partition(".")[0]
        return int(first) if first.isdecimal() else 0


class GpuProcess(NamedTuple):
    """A process with a compute context on the GPU."""

    pid: int
    memory_bytes: int | None


def _library() -> Any:
    return importlib.import_module("pynvml")


class Gpu:
    """An open GPU.

    Args:
        index: Which one; the first that `CUDA_VISIBLE_DEVICES` leaves, if not given.
        library: In place of `pynvml`.

    Raises:
        PrerequisiteError: If there is no driver or no such GPU.
    """

    def __init__(self, index: int | None = None, *, library: Any = None) -> None:
        self._nvml = _start(library)
        self._index = _visible(self._nvml) if index is None else index
        count = int(self._nvml.nvmlDeviceGetCount())
        if self._index < 0:
            self._nvml.nvmlShutdown()
            raise PrerequisiteError(
                "CUDA_VISIBLE_DEVICES leaves no whole GPU to this process",
                cause=f"it is `{os.environ.get('CUDA_VISIBLE_DEVICES', '')}`, and the driver shows {count}",
                hint="name a card by its number or UUID, see `nvidia-smi -L`; its instances (MIG) are not measured",
            )
        if self._index >= count:
            self._nvml.nvmlShutdown()
            raise PrerequisiteError(
                f"there is no GPU {self._index}",
                cause=f"the driver shows {count}",
                hint="see `nvidia-smi -L` and CUDA_VISIBLE_DEVICES",
            )
        self._handle = self._nvml.nvmlDeviceGetHandleByIndex(self._index)
        self.facts = self._facts()

    def _facts(self) -> GpuFacts:
        nvml, handle = self._nvml, self._handle
        capability = self._optional(lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
        limit_mw = self._optional(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        mig = self._optional(lambda: nvml.nvmlDeviceGetMigMode(handle))
        return GpuFacts(
            number=self._index,
            name=str(nvml.nvmlDeviceGetName(handle)),
            uuid=str(nvml.nvmlDeviceGetUUID(handle)),
            driver=str(nvml.nvmlSystemGetDriverVersion()),
            capability=None if capability is None else (int(capability[0]), int(capability[1])),
            memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
            power_limit_w=None if limit_mw is None else limit_mw / 1e3,
            mig=mig is not None and bool(mig[0]),
        )

    def _optional(self, ask: Callable[[], T]) -> T | None:
        """Return what the driver says, `None` where this card has no such thing."""
        try:
            return ask()
        except self._nvml.NVMLError:
            return None

    def _asked(self, what: str, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except self._nvml.NVMLError as error:
            raise MeasurementError(
                f"the driver does not tell the {what} of GPU {self._index}",
                cause=str(error),
                hint="see `nvidia-smi -q`; a card that fell off the bus needs a reboot",
            ) from error

    def energy_mj(self) -> int:
        """Return the energy counter in millijoules since the driver was loaded.

        Raises:
            MeasurementError: If this card has none.
        """
        ask = self._nvml.nvmlDeviceGetTotalEnergyConsumption
        return int(self._asked("total energy", lambda: ask(self._handle)))

    def usage_w(self) -> float:
        """Return `power.draw`: what it means differs by card and driver, see `nvml.power_source`.

        Raises:
            MeasurementError: If this card has none.
        """
        return float(self._asked("power", lambda: self._nvml.nvmlDeviceGetPowerUsage(self._handle))) / 1e3

    def instant_w(self) -> float:
        """Return `power.draw.instant`.

        Raises:
            MeasurementError: If this card or driver has none.
        """
        nvml = self._nvml
        field = nvml.NVML_FI_DEV_POWER_INSTANT
        (value,) = self._asked("instant power", lambda: nvml.nvmlDeviceGetFieldValues(self._handle, [field]))
        if value.nvmlReturn != nvml.NVML_SUCCESS:
            raise MeasurementError(
                f"the driver does not tell the instant power of GPU {self._index}",
                cause=f"field {field} returned NVML error {value.nvmlReturn}",
                hint="drivers from 530 on have it for most cards",
            )
        return float(value.value.uiVal) / 1e3

    def processes(self) -> tuple[GpuProcess, ...]:
        """Return the processes with a compute context on this GPU; in a container their numbers may be the host's.

        Raises:
            MeasurementError: If the driver does not tell.
        """
        ask = self._nvml.nvmlDeviceGetComputeRunningProcesses
        found = self._asked("processes", lambda: ask(self._handle))
        return tuple(GpuProcess(int(one.pid), one.usedGpuMemory) for one in found)

    def used_bytes(self) -> int:
        """Return the device memory in use, contexts of all processes included, what the driver keeps for itself not.

        Raises:
            MeasurementError: If the driver does not tell.
        """
        ask, version = self._nvml.nvmlDeviceGetMemoryInfo, self._nvml.nvmlMemory_v2
        # Since driver 510 the first form counts the driver's own reserve as used, hundreds of megabytes on large cards;
        # drivers before that lack the second form.
        found = self._optional(lambda: ask(self._handle, version=version))
        return int((found or self._asked("memory", lambda: ask(self._handle))).used)

    def close(self) -> None:
        """Let go of the driver."""
        self._nvml.nvmlShutdown()


def find_gpu(*, library: Any = None) -> GpuFacts | None:
    """Return the GPU that this process would use, `None` without one."""
    try:
        gpu = Gpu(library=library)
    except PrerequisiteError:
        return None
    gpu.close()
    return gpu.facts


def gpu_names(*, library: Any = None) -> tuple[str, ...]:
    """Return the names of all GPUs that the driver shows; none without a driver."""
    try:
        nvml = _start(library)
    except PrerequisiteError:
        return ()
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        return tuple(str(nvml.nvmlDeviceGetName(handle)) for handle in handles)
    finally:
        nvml.nvmlShutdown()


def check_alone(gpu: Gpu, *, own: int) -> None:
    """Refuse a GPU that somebody else computes on: its time and its joules would be counted as ours.

    Counted rather than compared by number, because a container sees the host's process numbers.

    Args:
        gpu: To look at.
        own: How many contexts are this measurement's: 0 before the engine opens one, 1 after.

    Raises:
        MeasurementError: Naming the processes.
    """
    found = gpu.processes()
    if len(found) > own:
        pids = ", ".join(str(process.pid) for process in found if process.pid != os.getpid())
        raise MeasurementError(
            f"another process computes on GPU {gpu.facts.number} ({gpu.facts.name})",
            cause=f"processes {pids}",
            hint="end it, or choose another GPU with CUDA_VISIBLE_DEVICES",
        )


def _start(library: Any) -> Any:
    """Return the initialised driver library.

    Raises:
        PrerequisiteError: If there is none.
    """
    try:
        nvml = library or _library()
    except ImportError as error:
        raise PrerequisiteError("no NVIDIA GPU: pynvml is not installed", hint="install nvidia-ml-py") from error
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise PrerequisiteError(f"no NVIDIA GPU: {error}", hint=_DRIVER_HINT) from error
    return nvml


def _visible(nvml: Any) -> int:
    """Return the index of the first GPU that `CUDA_VISIBLE_DEVICES` leaves to this process; -1 where it leaves none."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return 0
    first = wanted.split(",")[0].strip()
    if first.isdecimal():
        return int(first)
    for index in range(nvml.nvmlDeviceGetCount()):
        if first and str(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index))).startswith(first):
            return index
    return -1
