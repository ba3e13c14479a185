"""What every child process does first: die with its parent, keep to its memory, turn errors into results."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main(work: Callable[[Path], None]) -> None:
    """Run a child's work on the folder named by the first argument, and leave without running destructors.

    The second argument, if there is one, is the process id of the parent.

    Engines crash in their exit handlers often enough to turn a finished measurement into a failed one; everything
    is on disk by then.
    """
    die_with_parent(int(sys.argv[2]) if len(sys.argv) > 2 else os.getppid())
    work(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when its parent goes, so that no measurement runs unattended.

    Args:
        parent: Process id of the parent; if it went before we came to ask, this process ends at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def limit_memory(limit_bytes: int | None) -> None:
    """Cap the data segment, so that a runaway engine fails by itself and not the machine with it."""
    if limit_bytes is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
