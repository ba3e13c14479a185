"""The command line as a user has it: a process of its own, on a tiny model and tiny images."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.doubles import install
from tests.tiny import make_images, make_model, suite_text

LIMIT_S = 240.0  # for a busy machine; nothing here takes a tenth of it on a quiet one


@dataclass(frozen=True)
class Bench:
    """A model, images and an environment in which the doubles are installed."""

    root: Path
    environment: Mapping[str, str]
    model: Path
    images: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def scratch(self) -> Path:
        """Return where the command line puts its scratch folders."""
        return Path(self.environment["TMPDIR"])

    def alive(self) -> list[int]:
        """Return the ids of the children that are alive: they name their scratch folder on their command lines."""
        found = psutil.process_iter(["cmdline", "status"])
        return [
            process.pid
            for process in found
            if str(self.scratch) in " ".join(process.info["cmdline"] or ())
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ]

    def suite(self, folder: Path, backends: Sequence[str], **settings: object) -> Path:
        """Write a suite file over these backends."""
        path = folder / "tiny.yaml"
        path.write_text(suite_text(backends=backends, **settings), encoding="utf-8")  # type: ignore[arg-type]
        return path

    def own(self) -> list[str]:
        """Return the options that put the tiny model and images in place of the workload's."""
        return ["--model", str(self.model), "--data", str(self.images)]

    def start(self, *arguments: str | Path, cwd: Path | None = None, **extra: str) -> subprocess.Popen[str]:
        """Start the command line."""
        process = subprocess.Popen(
            [sys.executable, "-m", "leptonbench", *map(str, arguments)],
            cwd=cwd or self.root,
            env={**self.environment, **extra},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_interrupts,
        )
        self.started.append(process)
        return process

    def call(self, *arguments: str | Path, cwd: Path | None = None, **extra: str) -> Finished:
        """Run the command line to its end."""
        return finish(self.start(*arguments, cwd=cwd, **extra))


@dataclass(frozen=True)
class Finished:
    """How a command line ended."""

    code: int
    out: str
    err: str


def _hear_interrupts() -> None:
    """Undo what a shell does to jobs in the background: they ignore SIGINT, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(process: subprocess.Popen[str]) -> Finished:
    """Wait for a command line that was started."""
    out, err = process.communicate(timeout=LIMIT_S)
    return Finished(process.returncode, out, err)


def wait_until(condition: Callable[[], bool], what: str, *, limit_s: float = LIMIT_S) -> None:
    """Wait for a condition, and fail if it does not come."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come within {limit_s:.0f} s")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Return a model, images and an environment; every process that was started from it has ended afterwards."""
    root = tmp_path_factory.mktemp("bench")
    doubles = install(root / "installed")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("LEPTON", "COVERAGE"))},
        "PYTHONPATH": os.pathsep.join(filter(None, (str(doubles), os.environ.get("PYTHONPATH")))),
        "LEPTONBENCH_CACHE": str(root / "cache"),
        "TMPDIR": str(root / "scratch"),
    }
    (root / "scratch").mkdir()
    made = Bench(root, environment, make_model(root / "model" / "tiny.onnx"), make_images(root / "images"))
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
