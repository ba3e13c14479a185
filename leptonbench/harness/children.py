"""The parent's side of its children: write a job, run it asleep, read the result, say how it ended."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from leptonbench.errors import LeptonError, MeasurementError
from leptonbench.harness.jobs import (
    JOB_FILE,
    RESULT_FILE,
    PrepareJob,
    PrepareResult,
    WorkerJob,
    WorkerResult,
    write_message,
)
from leptonbench.harness.process import Ended, Start, run_child, run_children
from leptonbench.schema import Frozen

R = TypeVar("R", bound=Frozen)

_PREPARE_TIMEOUT_S = 3600.0
_WORKER = "leptonbench.harness.worker"
_PROBE = "leptonbench.harness.probe"
_PREPARE = "leptonbench.harness.prepare"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="leptonbench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_worker(job: WorkerJob, *, timeout_s: float) -> tuple[WorkerResult | None, Ended]:
    """Run a worker on a job in the job's own folder.

    Returns:
        Its result if it left a whole one, and how its process ended.
    """
    ended = run_child(_worker(job, timeout_s))
    return _read(Path(job.out) / RESULT_FILE, WorkerResult), ended


def run_workers(
    jobs: Iterable[tuple[WorkerJob, float]], *, at_once: int
) -> Generator[tuple[int, WorkerResult | None, Ended], None, None]:
    """Run workers whose times do not matter, some at the same time.

    Args:
        jobs: Each in its own folder, with the seconds it may take; each is asked for only when there is room for it.
        at_once: How many may run at the same time.

    Yields:
        The position of each in `jobs`, its result if it left a whole one, and how its process ended.
    """
    outs: list[Path] = []

    def starts() -> Iterator[Start]:
        for job, timeout_s in jobs:
            outs.append(Path(job.out))
            yield _worker(job, timeout_s)._replace(on_line=_unheard)

    with closing(run_children(starts(), at_once=at_once)) as ends:
        for index, ended in ends:
            yield index, _read(outs[index] / RESULT_FILE, WorkerResult), ended


def _unheard(line: str) -> None:
    """Pass over a line of a child that has nothing to say."""


def _worker(job: WorkerJob, timeout_s: float) -> Start:
    """Lay a worker's job into its folder."""
    folder = Path(job.out)
    folder.mkdir(parents=True, exist_ok=True)
    write_message(folder / JOB_FILE, job)
    (folder / RESULT_FILE).unlink(missing_ok=True)
    return Start(_PROBE if job.mode == "probe" else _WORKER, folder, timeout_s, job.cell.threads)


def run_prepares(
    jobs: Sequence[PrepareJob], *, threads: int, at_once: int, on_line: Callable[[int, str], None]
) -> list[PrepareResult | LeptonError]:
    """Run the preparation of several workloads.

    Args:
        jobs: One a workload.
        threads: Of each.
        at_once: How many may run at the same time.
        on_line: Told the job's position and a line of progress.

    Returns:
        What each made, or why it could not: the model or data cannot be read, or the process died.
    """
    with scratch_folder() as scratch:
        starts = []
        for index, job in enumerate(jobs):
            folder = scratch / str(index)
            folder.mkdir()
            write_message(folder / JOB_FILE, job)
            starts.append(Start(_PREPARE, folder, _PREPARE_TIMEOUT_S, threads, functools.partial(on_line, index)))
        with closing(run_children(starts, at_once=at_once)) as running:
            ends = dict(running)
        return [_prepared(job, starts[index].folder, ends[index]) for index, job in enumerate(jobs)]


def _prepared(job: PrepareJob, folder: Path, ended: Ended) -> PrepareResult | LeptonError:
    result = _read(folder / RESULT_FILE, PrepareResult)
    if result is None:
        return MeasurementError(
            f"the model `{job.model}` could not be prepared",
            cause="; ".join((ended.message, *ended.stderr[-3:])),
            hint="run it again with LEPTONBENCH_DEBUG=1, or with a smaller model if memory was short",
        )
    return result if result.error is None else result.error.error()


def _read(path: Path, model: type[R]) -> R | None:
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
