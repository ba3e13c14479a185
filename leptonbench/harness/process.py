"""Child processes: a group of their own, waited for asleep, killed as a group, classified by how they end."""

from __future__ import annotations

import itertools
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
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


class Start(NamedTuple):
    """A child to be started: `python -m module folder`.

    Attributes:
        module: Reads `folder/job.json` and writes `folder/result.json`.
        folder: Also holds the child's `stderr.txt`.
        timeout_s: After this the whole process group is killed.
        threads: For the thread pools that read their size from the environment.
        on_line: Called with each line of the child's stdout.
        python: The interpreter, where it is another environment's than our own.
        environment: Variables on top of ours.
        cwd: The child's current folder, from which Python imports first; ours by default.
    """

    module: str
    folder: Path
    timeout_s: float
    threads: int
    on_line: Callable[[str], None] | None = None
    python: str = sys.executable
    environment: Mapping[str, str] = MappingProxyType({})
    cwd: Path | None = None


class _Child:
    """A child that was started."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._started = time.perf_counter()
        self._rest = b""
        self.deadline = time.monotonic() + start.timeout_s
        with (start.folder / "stderr.txt").open("wb") as stderr:
            self.process = subprocess.Popen(
                [start.python, "-m", start.module, str(start.folder), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if start.on_line else stderr,
                stderr=stderr,
                env={**_environment(start.threads), **start.environment},
                cwd=start.cwd,
                start_new_session=True,
            )

    def left_s(self) -> float:
        """Return the seconds until it has run too long, not below zero."""
        return max(0.0, self.deadline - time.monotonic())

    def read(self) -> bool:
        """Hand on the lines that it wrote; return whether more may come."""
        if self.process.stdout is None or self._start.on_line is None:
            raise RuntimeError("the child was started without a pipe")
        # Not `readline`: it would wait for the end of a line, and keep back lines that came in one piece.
        chunk = os.read(self.process.stdout.fileno(), 65536)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._start.on_line(line.decode(errors="replace"))
        return bool(chunk)

    def end(self) -> Ended:
        """Wait for its end as long as it may take, and say how it ended."""
        in_time = _sleep_until_exit(self.process, self.left_s())
        self.kill()
        wall_s = time.perf_counter() - self._started
        return _classify(self.process.returncode, in_time, self._start.timeout_s, self._start.folder, wall_s)

    def kill(self) -> None:
        """Kill whatever is left of it and its own children."""
        _kill_group(self.process)


def run_child(start: Start) -> Ended:
    """Run a child and wait for it without using the CPU; without `on_line` not even to read, as timing wants it."""
    if start.on_line is not None:
        return next(ended for _, ended in run_children([start], at_once=1))
    child = _Child(start)
    try:
        return child.end()
    finally:
        # Also on Ctrl-C and on errors of our own: no child outlives its round, nor do its own children.
        child.kill()


def run_children(starts: Iterable[Start], *, at_once: int) -> Generator[tuple[int, Ended], None, None]:
    """Run children that write lines, some at the same time, and hand on their lines as they come.

    Closing the iterator kills those that still run.

    Args:
        starts: All with `on_line`. Each is asked for only when there is room for it.
        at_once: How many may run at the same time.

    Yields:
        The position of each in `starts` and how it ended, in the order in which they end.
    """
    waiting = enumerate(starts)
    running: dict[int, tuple[int, _Child]] = {}
    poller = select.poll()
    try:
        while True:
            for index, start in itertools.islice(waiting, at_once - len(running)):
                child = _Child(start)
                if child.process.stdout is None:
                    child.kill()
                    raise ValueError("a child that is not read cannot run beside others")
                running[child.process.stdout.fileno()] = index, child
                poller.register(child.process.stdout, select.POLLIN | select.POLLHUP)
            if not running:
                return
            ready = {descriptor for descriptor, _ in poller.poll(1000 * min(c.left_s() for _, c in running.values()))}
            for descriptor, (index, child) in list(running.items()):
                if child.read() if descriptor in ready else child.left_s() > 0:
                    continue
                poller.unregister(descriptor)
                del running[descriptor]
                try:
                    ended = child.end()
                finally:
                    child.kill()
                yield index, ended
    finally:
        for _, child in running.values():
            child.kill()


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
