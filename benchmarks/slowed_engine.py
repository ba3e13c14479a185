"""ONNX Runtime that takes a given share longer, installed like any plugin package: the gate has no hook for it.

The extra time is spent computing nothing inside the session's `run`, so it is timed like an engine's own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from leptonbench.backends.base import RuntimeOptions, Session
from leptonbench.backends.onnxruntime import OnnxRuntimeBackend
from leptonbench.schema import Artifact

SHARES = {"slowed-5": 0.05, "slowed-10": 0.10}


class SlowedSession:
    """A session whose runs take a share longer than its engine's."""

    def __init__(self, session: Session, share: float) -> None:
        self._session = session
        self._share = share

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run one batch, and spin for the share of the time that it took."""
        started = time.perf_counter_ns()
        outputs = self._session.run(inputs)
        until = time.perf_counter_ns()
        until += round(self._share * (until - started))
        while time.perf_counter_ns() < until:
            pass
        return outputs

    def effective(self) -> dict[str, Any]:
        """Say what was truly set, and the share."""
        return self._session.effective() | {"slowed_by": self._share}

    def close(self) -> None:
        """Close the engine's session."""
        self._session.close()


class Slowed(OnnxRuntimeBackend):
    """ONNX Runtime, slower by a share."""

    share: ClassVar[float] = 0.0

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Open ONNX Runtime."""
        return SlowedSession(super().open(artifact, options), self.share)


class Slowed5(Slowed):
    """Slower by 5 %."""

    share = SHARES["slowed-5"]


class Slowed10(Slowed):
    """Slower by 10 %."""

    share = SHARES["slowed-10"]


def install(folder: Path) -> Path:
    """Put a copy of this file with the metadata of a distribution into a folder that is to go on `PYTHONPATH`."""
    metadata = folder / "lepton_slowed-0.1.dist-info"
    metadata.mkdir(parents=True)
    (folder / "lepton_slowed.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lepton-slowed\nVersion: 0.1\n", encoding="utf-8")
    points = "[leptonbench.backends]\nslowed-5 = lepton_slowed:Slowed5\nslowed-10 = lepton_slowed:Slowed10\n"
    (metadata / "entry_points.txt").write_text(points, encoding="utf-8")
    return folder
