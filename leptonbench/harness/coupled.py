"""Models of two graphs, an encoder and a decoder that is called once a token: two sessions that look like one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from leptonbench.backends import Session
from leptonbench.tasks import Coupling


class CoupledSession:
    """Runs a batch through both graphs in the task's own loop; the loop is inside the timer, as it is in use.

    Args:
        first: Runs once a batch.
        second: Runs once a step of the loop.
        coupling: The task's loop.
    """

    def __init__(self, first: Session, second: Session, coupling: Coupling) -> None:
        self._first = first
        self._second = second
        self._run = coupling(first.run, second.run)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run one batch; return when the outputs are in host memory."""
        return self._run(dict(inputs))

    def effective(self) -> dict[str, Any]:
        """Return what was truly set for the first graph, and under `follower` for the second."""
        return self._first.effective() | {"follower": self._second.effective()}

    def close(self) -> None:
        """Close both."""
        self._first.close()
        self._second.close()
