"""Backends that go wrong in one way each, installed like any plugin package: production code has no hook for them.

`install` puts a copy of this file as `lepton_doubles` into a folder, with the metadata of a distribution whose entry
points name the backends. With the folder on PYTHONPATH, the command line and every worker find them as they would find
an engine that somebody else wrote.

Each double answers `tests.tiny`'s model without reading it: the class of an image is its strongest channel.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from leptonbench.backends.base import YES, Arrays, Recipe, RuntimeOptions, Session, Support
from leptonbench.errors import MeasurementError
from leptonbench.schema import Artifact

CONTROL = "LEPTON_DOUBLES_CONTROL"
"""Folder through which a test steers the doubles of other processes; see `_Control`."""
HEAVY = ("onnx", "onnxruntime", "openvino", "pandas", "torch", "transformers")
_RUN_S = 0.001
_BLOCK_BYTES = 256 * 1024**2

Phase = Literal["score", "window", "always"]


class DoubleSession:
    """Answer right, a millisecond a batch, except in the phase and the way that the backend says."""

    def __init__(self, backend: Double, options: RuntimeOptions) -> None:
        self._backend = backend
        self._scoring = options.inspect
        self._facts: dict[str, Any] = {"engine": f"double {backend.fault}", "threads": options.threads}

    def run(self, inputs: Arrays) -> list[NDArray[Any]]:
        """Return the mean of each channel as logits, in the order blue, green, red."""
        pixels = next(iter(inputs.values()))
        time.sleep(_RUN_S)
        logits = np.ascontiguousarray(pixels.mean(axis=(2, 3))[:, ::-1])
        phase = "score" if self._scoring else "window" if _in_window() else "before"
        if self._backend.phase in (phase, "always"):
            return FAULTS[self._backend.fault](logits)
        return [logits]

    def effective(self) -> dict[str, Any]:
        """Return which heavy packages this process has imported."""
        return self._facts | {"imported": [name for name in HEAVY if name in sys.modules]}

    def close(self) -> None:
        """Do nothing."""


def _in_window() -> bool:
    """Return whether LoadGen asks: the warm-up and the calibration pass, so that the window itself is what fails."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "guard":
            return True
    return False


def _segfault(logits: NDArray[Any]) -> list[NDArray[Any]]:
    print("double: reading address 8", file=sys.stderr, flush=True)
    ctypes.string_at(8)
    return [logits]


def _hang(logits: NDArray[Any]) -> list[NDArray[Any]]:
    print("double: waiting for ever in native code", file=sys.stderr, flush=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    while True:
        ctypes.PyDLL(None).sleep(3600)  # unlike CDLL it keeps the interpreter's lock: no other thread can help


def _exhaust(logits: NDArray[Any]) -> list[NDArray[Any]]:
    """Allocate, without touching it, until the cap that the worker gave itself; without a cap, refuse to try."""
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY:
        raise RuntimeError("the worker runs without a cap on its memory")
    held = []
    for _ in range(soft // _BLOCK_BYTES + 1):
        held.append(np.empty(_BLOCK_BYTES, dtype=np.uint8))
    raise RuntimeError(f"{len(held)} blocks fitted under the cap")


def _exhaust_in_native_code(logits: NDArray[Any]) -> list[NDArray[Any]]:
    """Let C++ run out of memory in a thread, as engines' own do: nothing catches std::bad_alloc, the process aborts."""
    operator_new = ctypes.CDLL("libstdc++.so.6")["_Znwm"]
    operator_new.restype = ctypes.c_void_p
    thread = threading.Thread(target=operator_new, args=(ctypes.c_size_t(1 << 62),))
    thread.start()
    thread.join()
    return [logits]


def _killed(logits: NDArray[Any]) -> list[NDArray[Any]]:
    os.kill(os.getpid(), signal.SIGKILL)
    return [logits]


def _not_a_number(logits: NDArray[Any]) -> list[NDArray[Any]]:
    return [np.full_like(logits, np.nan)]


def _raise(logits: NDArray[Any]) -> list[NDArray[Any]]:
    raise RuntimeError("the double refuses this batch\nand says so in two lines")


def _refuse(logits: NDArray[Any]) -> list[NDArray[Any]]:
    raise MeasurementError("the double does not run this", cause="it was told to refuse", hint="use another double")


def _wrong(logits: NDArray[Any]) -> list[NDArray[Any]]:
    return [-logits]


def _same(logits: NDArray[Any]) -> list[NDArray[Any]]:
    return [logits]


FAULTS = {
    "none": _same,
    "segfault": _segfault,
    "hang": _hang,
    "exhaust": _exhaust,
    "bad-alloc": _exhaust_in_native_code,
    "killed": _killed,
    "nan": _not_a_number,
    "raise": _raise,
    "refuse": _refuse,
    "wrong": _wrong,
}


class Double:
    """A healthy backend; its subclasses say how and when they fail."""

    format: ClassVar[Literal["torch-export", "onnx"]] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ()
    fault: ClassVar[str] = "none"
    phase: ClassVar[Phase] = "window"

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Support everything."""
        return YES

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Return a session, once the test's control folder lets it."""
        if not (options.inspect or options.profile):
            _Control.opened()
        return DoubleSession(self, options)


class Healthy(Double):
    """Never fails."""


class Wrong(Double):
    """Give the same wrong answers whenever asked."""

    fault = "wrong"
    phase = "always"


class Unsupported(Double):
    """Supports nothing."""

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say no."""
        return Support(False, "the double supports nothing", "ask another double")


class Witness(Double):
    """ONNX Runtime itself, telling which heavy packages its process has imported once it is open."""

    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Open ONNX Runtime."""
        from leptonbench.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession

        session = OnnxRuntimeBackend().open(artifact, options)
        if not isinstance(session, OnnxRuntimeSession):
            raise TypeError(f"ONNX Runtime opened a {type(session).__name__}")
        facts = session.effective()
        facts["imported"] = [name for name in HEAVY if name in sys.modules]
        return session


def _failing(fault: str, phase: Phase) -> type[Double]:
    return type(f"{fault}-{phase}", (Double,), {"fault": fault, "phase": phase})


SegfaultScore, SegfaultWindow = _failing("segfault", "score"), _failing("segfault", "window")
HangScore, HangWindow = _failing("hang", "score"), _failing("hang", "window")
ExhaustScore, ExhaustWindow = _failing("exhaust", "score"), _failing("exhaust", "window")
BadAllocScore, BadAllocWindow = _failing("bad-alloc", "score"), _failing("bad-alloc", "window")
KilledScore, KilledWindow = _failing("killed", "score"), _failing("killed", "window")
NanScore, NanWindow = _failing("nan", "score"), _failing("nan", "window")
RaiseScore, RaiseWindow = _failing("raise", "score"), _failing("raise", "window")
RefuseScore, RefuseWindow = _failing("refuse", "score"), _failing("refuse", "window")
WrongScore, WrongWindow = _failing("wrong", "score"), _failing("wrong", "window")

BACKENDS = {
    "double-healthy": "Healthy",
    "double-unsupported": "Unsupported",
    "double-witness": "Witness",
    "double-wrong": "Wrong",
    "double-missing": "Missing",  # names nothing: a plugin that is broken
} | {
    f"double-{fault}-{phase}": f"{fault.title().replace('-', '')}{phase.title()}"
    for fault in FAULTS
    if fault != "none"
    for phase in ("score", "window")
}


class _Control:
    """What a test may ask of doubles in other processes, by `control.json` in the folder that CONTROL names.

    `stall_after`: so many timed rounds may open; the next one writes its process id to `stalled` and waits for ever.
    `fill_after` and `fill`: the round after so many fills the disk that the file `fill` is on.
    """

    @staticmethod
    def opened() -> None:
        """Count a timed round, and do what the test asks for at this count."""
        folder = os.environ.get(CONTROL)
        if folder is None:
            return
        control = json.loads(Path(folder, "control.json").read_text(encoding="utf-8"))
        with Path(folder, "opened").open("a+", encoding="utf-8") as log:
            log.write(f"{os.getpid()}\n")
            log.seek(0)
            count = len(log.readlines())
        if count > control.get("stall_after", count):
            scratch = Path(folder, "stalled.tmp")
            scratch.write_text(str(os.getpid()), encoding="utf-8")
            scratch.replace(Path(folder, "stalled"))
            _hang(np.empty(0))
        if count > control.get("fill_after", count):
            _fill(Path(control["fill"]))


def _fill(path: Path) -> None:
    """Write zeros until the disk is full."""
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue


def install(folder: Path) -> Path:
    """Install the doubles into a folder that is to go on PYTHONPATH; return the folder."""
    metadata = folder / "lepton_doubles-0.1.dist-info"
    metadata.mkdir(parents=True)
    (folder / "lepton_doubles.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lepton-doubles\nVersion: 0.1\n", encoding="utf-8")
    points = "".join(f"{name} = lepton_doubles:{attribute}\n" for name, attribute in BACKENDS.items())
    (metadata / "entry_points.txt").write_text(f"[leptonbench.backends]\n{points}", encoding="utf-8")
    return folder
