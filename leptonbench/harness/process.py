"""Child processes: a group of their own, waited for asleep, killed as a group, classified by how they end."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

_OUT_OF_MEMORY = re.compile(
    r"MemoryError|bad_alloc|cannot allocate memory|can't allocate memory|out of memory|DefaultCPUAllocator",
    re.IGNORECASE,
)
_TAIL_LINES = 12


class Ended(NamedTuple):
    """How a child ended.

    Attributes:
        code: `ok`, `crash`, `timeout` or `out-of-memory`.
        message: One sentence for a reader.
        stderr: The last lines it wrote.
        wall_s: From start to end.
    """

    code: str
    message: str
    stderr: tuple[str, ...]
    wall_s: float


def run_child(
    module: str, folder: Path, *, timeout_s: float, threads: int, on_line: Callable[[str], None] | None = None
) -> Ended:
    """Run `python -m module folder` and wait for it without using the CPU.

    Args:
        module: Reads `folder/job.json` and writes `folder/result.json`.
        folder: Also holds the child's `stderr.txt`.
        timeout_s: After this the whole process group is killed.
        threads: For the thread pools that read their size from the environment.
        on_line: Called with each line of the child's stdout; leave it out while timing.
    """
    started = time.perf_counter()
    with (folder / "stderr.txt").open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", module, str(folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if on_line else stderr,
            stderr=stderr,
            env=_environment(threads),
            start_new_session=True,
        )
    try:
        finished = _follow(child, timeout_s, on_line) if on_line else _sleep_until_exit(child, timeout_s)
    finally:
        # Also on Ctrl-C and on errors of our own: no child outlives its round, nor do its own children.
        _kill_group(child)
    return _classify(child.returncode, finished, timeout_s, folder, time.perf_counter() - started)


def _environment(threads: int) -> Mapping[str, str]:
    """Return the parent's environment with the thread pools sized and chatter off."""
    sizes = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    quiet = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    return {**os.environ, **sizes, **quiet}


def _sleep_until_exit(child: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Return whether the child ended in time. One system call, no polling: the child has the cores to itself."""
    if not hasattr(os, "pidfd_open"):  # pragma: no cover - systems without pidfd fall back to the library's wait
        try:
            child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True
    descriptor = os.pidfd_open(child.pid)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))
    finally:
        os.close(descriptor)


def _follow(child: subprocess.Popen[bytes], timeout_s: float, on_line: Callable[[str], None]) -> bool:
    """Hand on the child's stdout line by line until it ends or runs out of time."""
    if child.stdout is None:
        raise RuntimeError("the child was started without a pipe")
    deadline = time.monotonic() + timeout_s
    poller = select.poll()
    poller.register(child.stdout, select.POLLIN | select.POLLHUP)
    rest = b""
    while (left_s := deadline - time.monotonic()) > 0:
        if not poller.poll(left_s * 1000):
            return False
        # Not `readline`: it would wait for the end of a line, and keep back lines that came in one piece.
        chunk = os.read(child.stdout.fileno(), 65536)
        if not chunk:
            return _sleep_until_exit(child, max(0.0, deadline - time.monotonic()))
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            on_line(line.decode(errors="replace"))
    return False


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the child's process group and reap the child."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        child.kill() if child.poll() is None else None
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _classify(returncode: int, finished: bool, timeout_s: float, folder: Path, wall_s: float) -> Ended:
    text = (folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")
    tail = tuple(text.strip().splitlines()[-_TAIL_LINES:])
    if not finished:
        return Ended("timeout", f"no result after {timeout_s:.0f} s; the process group was killed", tail, wall_s)
    if returncode == 0:
        return Ended("ok", "", tail, wall_s)
    if _OUT_OF_MEMORY.search(text):
        return Ended("out-of-memory", "the process ran out of memory", tail, wall_s)
    if returncode == -signal.SIGKILL:
        return Ended(
            "out-of-memory", "the process was killed from outside, as the kernel does without memory", tail, wall_s
        )
    if returncode < 0:
        return Ended("crash", f"the process died of {signal.Signals(-returncode).name}", tail, wall_s)
    return Ended("crash", f"the process exited with {returncode}", tail, wall_s)
