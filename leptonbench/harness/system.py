"""What this machine is: its fingerprint, and the features engines decide by."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from leptonbench.meters.gpu import gpu_names
from leptonbench.paths import data_root
from leptonbench.schema import Fingerprint, Identity, State

_PACKAGES = (
    "mlcommons_loadgen",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "torch",
    "transformers",
)
_PROCESSING = ("numpy", "pillow", "sentencepiece", "tokenizers", "transformers")  # encode and decode samples
_SETTINGS = (".json", ".txt", ".model")
_SETTINGS_BYTES = 32 * 1024**2  # the largest tokenisers have half of it


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """Return the first processor's block of /proc/cpuinfo; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n", 1)[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


@functools.cache
def _portable_cpuinfo() -> dict[str, Any]:
    """Return py-cpuinfo's view, for systems without /proc (it takes a second)."""
    import cpuinfo

    return dict(cpuinfo.get_cpu_info())


def cpu_features() -> frozenset[str]:
    """Return the CPU's instruction set features by their Linux names (`avx2`, `avx512_vnni`, `asimddp`)."""
    info = _cpuinfo()
    flags = info.get("flags") or info.get("Features")
    return frozenset(flags.split() if flags else _portable_cpuinfo().get("flags", ()))


def cores_available() -> int:
    """Return how many logical cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def package_version(name: str) -> str | None:
    """Return an installed distribution's version, or `None`."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processing_identity(model_dir: str | None) -> dict[str, str | None]:
    """Return what decides how raw data becomes numbers and numbers become answers, apart from the network.

    That is every settings file beside the model (pre-processing, vocabulary, labels, generation), and the libraries
    that obey them.

    Args:
        model_dir: The model's folder, or the one that an ONNX file lies in; `None` where there is none.
    """
    digest = hashlib.sha256()
    for path in _settings_files(model_dir):
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return {"settings": digest.hexdigest(), **{name: package_version(name) for name in _PROCESSING}}


def _settings_files(model_dir: str | None) -> list[Path]:
    """Return the small files of a model's folder that are no weights, by name."""
    if model_dir is None or not Path(model_dir).is_dir():
        return []
    found = (path for path in Path(model_dir).iterdir() if path.suffix in _SETTINGS and path.is_file())
    return sorted((path for path in found if path.stat().st_size <= _SETTINGS_BYTES), key=lambda path: path.name)


def peak_memory_bytes() -> int:
    """Return the peak resident set of this program.

    Linux hands `ru_maxrss` down through `exec`, so a child's is never below its parent's peak; `VmHWM` starts anew.
    """
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        text = ""
    line = next((line for line in text.splitlines() if line.startswith("VmHWM:")), None)
    if line is not None:
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def fingerprint() -> Fingerprint:
    """Return this machine's identity and its state now."""
    return Fingerprint(identity=_identity(), state=_state())


def _identity() -> Identity:
    info = _cpuinfo()
    name = info.get("model name") or _portable_cpuinfo().get("brand_raw") or platform.processor()
    return Identity(
        cpu_model=name,
        cpu_vendor=info.get("vendor_id", platform.machine()),
        cpu_family=int(info.get("cpu family", 0)),
        cpu_model_number=int(info.get("model", 0)),
        cpu_flags=tuple(sorted(cpu_features())),
        logical_cores=cores_available(),
        physical_cores=psutil.cpu_count(logical=False),
        memory_bytes=psutil.virtual_memory().total,
        virtualisation="hypervisor" if "hypervisor" in cpu_features() else None,
        gpus=gpu_names(),
        os=_os_name(),
        kernel=platform.release(),
        python=platform.python_version(),
        packages={name: found for name in _PACKAGES if (found := package_version(name))},
    )


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.platform()


def _state() -> State:
    frequency = psutil.cpu_freq()
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    times = psutil.cpu_times()
    total = sum(times)
    return State(
        load_average=os.getloadavg(),
        available_memory_bytes=psutil.virtual_memory().available,
        cpu_frequency_hz=frequency.current * 1e6 if frequency and frequency.current else None,
        governor=governor.read_text(encoding="utf-8").strip() if governor.exists() else None,
        steal_fraction=times.steal / total if hasattr(times, "steal") and total else None,
    )


def git_state() -> tuple[str | None, bool | None]:
    """Return the checkout's commit and whether it has uncommitted changes; `None`s outside a checkout."""
    root = data_root()
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
