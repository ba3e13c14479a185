"""The GPU of this machine: as a device to plan for, and as one that a worker claims for itself."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from leptonbench import catalog
from leptonbench.backends.cuda import FEATURE
from leptonbench.errors import MeasurementError
from leptonbench.harness.jobs import GpuRef, WorkerJob
from leptonbench.harness.system import cpu_features
from leptonbench.meters.gpu import Gpu, GpuFacts, check_alone, find_gpu
from leptonbench.schema import DeviceProfile, Identity, Reason

HOST_GPU = "host-gpu"
_IDLE_S, _IDLE_STEP_S = 1.0, 0.05
_SPACES = re.compile(r"[^a-z0-9]+")


def gpu_features(facts: GpuFacts | None) -> frozenset[str]:
    """Return what engines decide by: the compute capability; nothing without a GPU."""
    if facts is None or facts.capability is None:
        return frozenset()
    return frozenset({f"{FEATURE}{facts.capability[0]}.{facts.capability[1]}"})


def device_features(device: str) -> frozenset[str]:
    """Return what engines decide by on one of this machine's devices, as it is now."""
    return gpu_features(find_gpu()) if device == HOST_GPU else cpu_features()


def why_no_gpu(identity: Identity) -> Reason | None:
    """Return why no cell can run on a GPU here; `None` if one can."""
    if identity.gpus:
        return None
    return Reason(
        code="no-device",
        message="this machine has no NVIDIA GPU",
        hint="run it on a machine with one (`leptonbench doctor` says what is seen), or leave GPU backends out",
    )


def gpu_profile(facts: GpuFacts) -> DeviceProfile:
    """Return the profile of this machine's GPU, named `host-gpu`: the published one, else one without any figures."""
    known = [profile for profile in catalog.load_profiles("gpu") if _describes(profile, facts.name)]
    if known:
        found = max(known, key=lambda profile: len(profile.name))
        return found.model_copy(update={"name": HOST_GPU})
    return DeviceProfile(name=HOST_GPU, kind="gpu", title={"en": facts.name, "zh": facts.name})


def _describes(profile: DeviceProfile, name: str) -> bool:
    """Say whether a profile is of the card that its driver calls so: by the names it lists, else by its own name."""
    listed = getattr(getattr(profile, "accelerator", None), "driver_names", ())
    return name in listed if listed else _same_card(_slug(profile.name), _slug(name))


def _slug(name: str) -> str:
    return _SPACES.sub("-", name.lower()).strip("-")


def _same_card(profile: str, card: str) -> bool:
    """Say whether a profile's name is the card's own, or its beginning by whole words."""
    return card == profile or card.startswith(f"{profile}-")


def measure_idle(*, gpu: Gpu | None = None, sleep: Callable[[float], None] = time.sleep) -> GpuRef:
    """Return the GPU with what it draws before anything runs on it.

    The lowest of a second's readings: a card that worked shortly before comes down in steps. Where the card does not
    tell its power, the idle part of its energy stays unknown.

    Raises:
        PrerequisiteError: If there is none.
    """
    gpu = gpu or Gpu()
    idle_w: float | None = None
    with contextlib.suppress(MeasurementError):
        readings = []
        for _ in range(round(_IDLE_S / _IDLE_STEP_S)):
            readings.append(gpu.usage_w())
            sleep(_IDLE_STEP_S)
        idle_w = min(readings)
    facts = gpu.facts
    gpu.close()
    return GpuRef(index=facts.number, uuid=facts.uuid, name=facts.name, driver=facts.driver, idle_w=idle_w or None)


@contextmanager
def claimed(job: WorkerJob) -> Iterator[None]:
    """Hold the job's GPU while it is worked on: nobody else may compute on it, before and at the end.

    The engine is shown that card alone, by its own identity: numbers differ between the driver and CUDA.

    Raises:
        MeasurementError: If another process uses the GPU.
    """
    if job.gpu is None:
        yield
        return
    gpu = Gpu(job.gpu.index)
    try:
        check_alone(gpu, own=0)
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ["CUDA_VISIBLE_DEVICES"] = job.gpu.uuid
        yield
        check_alone(gpu, own=1)
    finally:
        gpu.close()


def used_bytes(index: int) -> int:
    """Return the memory in use on a GPU that is ours alone: the engine's, which keeps what it once took, and contexts.

    Raises:
        LeptonError: If the driver does not tell.
    """
    gpu = Gpu(index)
    try:
        return gpu.used_bytes()
    finally:
        gpu.close()


def current_gpu(identity: Identity) -> GpuFacts | None:
    """Return the GPU that cells run on; `None` where the machine shows none."""
    return find_gpu() if identity.gpus else None
