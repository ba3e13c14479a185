"""What this machine can measure, what is missing, and how to get it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import psutil

from leptonbench.backends.base import Support
from leptonbench.backends.cuda import installed, torch_build
from leptonbench.catalog import suite_names
from leptonbench.errors import LeptonError, PrerequisiteError, UsageError
from leptonbench.fpga.sim.build import tools
from leptonbench.harness.device import powered_host
from leptonbench.harness.system import cpu_features, fingerprint, package_version
from leptonbench.meters import nvml, rapl
from leptonbench.meters.gpu import Gpu, check_alone
from leptonbench.paths import cache_dir, data_root, results_dir
from leptonbench.schema import Fingerprint

_GIB = 1024**3
_INT8 = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp")
_POWER_HINT = "give its power: metered points or the kind of server (LEPTONBENCH_POWER, docs/energy.md)"
_BF16 = ("amx_bf16", "avx512_bf16", "bf16")

# Import name, distribution, what it is for. All are dependencies; without the required ones nothing runs.
_REQUIRED = (
    ("mlperf_loadgen", "mlcommons-loadgen", "load generation"),
    ("torch", "torch", "engines torch and torch-compile, model loading"),
    ("onnx", "onnx", "export"),
    ("onnxruntime", "onnxruntime", "engine onnxruntime, quantisation"),
    ("transformers", "transformers", "model loading"),
    ("pyarrow", "pyarrow", "latencies on disk"),
)
_OPTIONAL = (
    ("openvino", "openvino", "engine openvino"),
    ("pandas", "pandas", "frames"),
    ("matplotlib", "matplotlib", "PNG charts"),
)


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    MISSING = "missing"


class Check(NamedTuple):
    """One thing looked at.

    Attributes:
        required: Whether nothing can be measured while it is missing.
    """

    area: str
    name: str
    state: State
    detail: str
    hint: str = ""
    required: bool = False


def diagnose() -> list[Check]:
    """Look at everything, in the order it is shown; takes well under a second and measures nothing."""
    machine = fingerprint()
    checks: list[Check] = []
    checks += _processor(machine)
    checks += _conditions(machine)
    checks += _space()
    checks += [_package(*row, required=True) for row in _REQUIRED]
    checks += [_package(*row, required=False) for row in _OPTIONAL]
    checks += [_compiler(), _simulation(), _data(), _energy(), _power(machine)]
    checks += _gpu(machine)
    return checks


def _processor(machine: Fingerprint) -> Iterable[Check]:
    identity = machine.identity
    physical = f", {identity.physical_cores} physical" if identity.physical_cores else ""
    yield Check("cpu", "model", State.OK, f"{identity.cpu_model}, {identity.logical_cores} cores{physical}")
    features = cpu_features()
    for name, wanted, without in (
        ("int8", _INT8, "int8 is computed by wider instructions and may be no faster than fp32"),
        ("bf16", _BF16, "bf16 is emulated and likely slower than fp32"),
    ):
        native = [flag for flag in wanted if flag in features]
        if native:
            yield Check("cpu", name, State.OK, f"native ({', '.join(native)})")
        else:
            yield Check(
                "cpu", name, State.WARN, without, f"{name} is measured all the same; newer CPUs have it natively"
            )
    if identity.virtualisation:
        hint = "measure on bare metal before a large purchase"
        yield Check("cpu", "virtual machine", State.WARN, "neighbours may take its cores", hint)


def _conditions(machine: Fingerprint) -> Iterable[Check]:
    state, cores = machine.state, machine.identity.logical_cores
    if state.load_average is not None:
        load = state.load_average[0]
        busy = load > 0.3 * cores
        hint = "close other programs before measuring" if busy else ""
        yield Check("conditions", "load", State.WARN if busy else State.OK, f"{load:.2f} on {cores} cores", hint)
    if state.governor is None:
        hint = "normal in virtual machines; rounds of all cells are interleaved, so that drift hits all alike"
        yield Check("conditions", "governor", State.WARN, "the CPU's frequency cannot be seen or fixed here", hint)
    elif state.governor == "performance":
        yield Check("conditions", "governor", State.OK, state.governor)
    else:
        hint = "`sudo cpupower frequency-set -g performance` steadies the clock"
        yield Check("conditions", "governor", State.WARN, state.governor, hint)


def _space() -> Iterable[Check]:
    memory = psutil.virtual_memory()
    tight = memory.available < 2 * _GIB
    detail = f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB free"
    hint = "a worker needs about 2 GiB; close other programs" if tight else ""
    yield Check("space", "memory", State.WARN if tight else State.OK, detail, hint)
    for name, folder in (("results", results_dir()), ("cache", cache_dir())):
        yield _folder(name, folder)


def _folder(name: str, folder: Path) -> Check:
    present = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(present, os.W_OK):
        hint = "set LEPTONBENCH_CACHE" if name == "cache" else "start in a folder of yours, or use `--out`"
        return Check("space", name, State.MISSING, f"{folder} cannot be written", hint, required=True)
    free = shutil.disk_usage(present).free
    tight = free < _GIB
    hint = "free some space" if tight else ""
    return Check("space", name, State.WARN if tight else State.OK, f"{folder}, {free / _GIB:.1f} GiB free", hint)


def _package(module: str, distribution: str, purpose: str, *, required: bool) -> Check:
    try:
        found = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if found:
        version = package_version(distribution) or "of unknown version"
        return Check("packages", distribution, State.OK, f"{version} ({purpose})")
    hint = f"`{sys.executable} -m pip install {distribution}`"
    return Check("packages", distribution, State.MISSING, f"not installed ({purpose})", hint, required)


def _compiler() -> Check:
    found = next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
    if found:
        return Check("tools", "C++ compiler", State.OK, f"{found} (engine torch-compile)")
    return Check("tools", "C++ compiler", State.MISSING, "none (engine torch-compile)", "install g++ or clang")


def _simulation() -> Check:
    try:
        versions = tools().versions
    except PrerequisiteError as error:
        return Check("tools", "RTL simulation", State.MISSING, f"{error.cause} (backend fpga)", error.hint)
    return Check("tools", "RTL simulation", State.OK, f"verilator {versions['verilator']} (backend fpga)")


def _data() -> Check:
    names = suite_names()
    if names:
        return Check("data", "suites", State.OK, f"{', '.join(names)} in {data_root()}")
    return Check("data", "suites", State.MISSING, f"none in {data_root()}", "reinstall leptonbench", required=True)


def _energy() -> Check:
    counter = rapl.availability()
    if counter.available:
        return Check("meters", "rapl", State.OK, "the CPU's energy counter can be read")
    return Check("meters", "rapl", State.WARN, f"{counter.reason}; energy is modelled instead", counter.hint)


def _power(machine: Fingerprint) -> Check:
    """Say whose power figures model this machine's energy."""
    try:
        profile, known = powered_host(machine.identity)
    except UsageError as error:
        return Check("meters", "power model", State.MISSING, f"{error.message}: {error.cause}", error.hint)
    if profile.power is None:
        return Check("meters", "power model", State.WARN, "the hardware profile has no power figures", _POWER_HINT)
    power = profile.power
    words = f"{power.idle_w.value:g} to {power.full_w.value:g} W for {power.hardware_threads} threads"
    detail = f"{words}: {power.idle_w.source}"
    return Check("meters", "power model", State.OK if known else State.WARN, detail, "" if known else _POWER_HINT)


def _gpu(machine: Fingerprint) -> list[Check]:
    """Look at the GPU, its meter and the engines that run on it."""
    if not machine.identity.gpus:
        return [_without_gpu(_nvml_version)]
    found = [Check("meters", "nvidia", State.OK, ", ".join(machine.identity.gpus))]
    try:
        gpu = Gpu()
    except LeptonError as error:
        return [*found, Check("meters", "nvml", State.WARN, f"{error.message}: {error.cause}", error.hint)]
    found += [_gpu_meter(gpu), _gpu_alone(gpu)]
    gpu.close()
    engines = {"torch-cuda": torch_build(), "onnxruntime-cuda": _onnxruntime_gpu()}
    states = {True: State.OK, False: State.WARN}
    found += [Check("packages", name, states[one.ok], one.reason or "ready", one.hint) for name, one in engines.items()]
    return found


def _gpu_meter(gpu: Gpu) -> Check:
    """Say how the GPU's energy would be known."""
    whole, counter = nvml.whole_card(gpu.facts), nvml.counter_availability(gpu)
    if not whole.available:
        return Check("meters", "nvml", State.WARN, f"no energy of GPU cells: {whole.reason}", whole.hint)
    if counter.available:
        return Check("meters", "nvml", State.OK, f"total energy counter, driver {gpu.facts.driver}")
    source = nvml.power_source(gpu.facts, has_instant=nvml.has_instant_power(gpu))
    field = "power.draw.instant" if source.instant else "power.draw"
    detail = f"{field} is polled, +/-{source.band:.0%} or wider: {counter.reason}"
    return Check("meters", "nvml", State.WARN, detail, counter.hint)


def _gpu_alone(gpu: Gpu) -> Check:
    try:
        check_alone(gpu, own=0)
    except LeptonError as error:
        return Check("conditions", "gpu", State.WARN, f"{error.message}: {error.cause}", error.hint)
    return Check("conditions", "gpu", State.OK, "nobody else computes on it")


def _onnxruntime_gpu() -> Support:
    found = installed("onnxruntime-gpu")
    if found is not None:
        return Support(True)
    return Support(False, "not installed", "`pip install onnxruntime-gpu` in place of `onnxruntime`")


def _nvml_version() -> str:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise LeptonError(str(error)) from error
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    finally:
        pynvml.nvmlShutdown()


def _without_gpu(driver_version: Callable[[], str]) -> Check:
    """Say why there is no GPU: no driver, or a driver that sees none."""
    try:
        detail = f"driver {driver_version()} sees no GPU"
    except LeptonError as error:
        detail = f"no NVIDIA GPU: {error.message}"
    except ImportError as error:
        detail = f"no NVIDIA GPU: {error}"
    return Check("meters", "nvidia", State.WARN, detail, "only needed to measure GPUs: install NVIDIA's driver")
