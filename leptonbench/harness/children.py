"""The parent's side of its children: write a job, run it asleep, read the result, say how it ended."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from leptonbench.errors import MeasurementError
from leptonbench.harness.jobs import (
    JOB_FILE,
    RESULT_FILE,
    PrepareJob,
    PrepareResult,
    WorkerJob,
    WorkerResult,
    write_message,
)
from leptonbench.harness.process import Ended, run_child
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
    folder = Path(job.out)
    folder.mkdir(parents=True, exist_ok=True)
    write_message(folder / JOB_FILE, job)
    (folder / RESULT_FILE).unlink(missing_ok=True)
    module = _PROBE if job.mode == "probe" else _WORKER
    ended = run_child(module, folder, timeout_s=timeout_s, threads=job.cell.threads)
    return _read(folder / RESULT_FILE, WorkerResult), ended


def run_prepare(job: PrepareJob, *, threads: int, on_line: Callable[[str], None]) -> PrepareResult:
    """Run the preparation of one workload.

    Raises:
        LeptonError: If the model or data cannot be read, or the process died.
    """
    with scratch_folder() as folder:
        write_message(folder / JOB_FILE, job)
        ended = run_child(_PREPARE, folder, timeout_s=_PREPARE_TIMEOUT_S, threads=threads, on_line=on_line)
        result = _read(folder / RESULT_FILE, PrepareResult)
    if result is None:
        raise MeasurementError(
            f"the model `{job.model}` could not be prepared",
            cause="; ".join((ended.message, *ended.stderr[-3:])),
            hint="run it again with LEPTONBENCH_DEBUG=1, or with a smaller model if memory was short",
        )
    if result.error is not None:
        raise result.error.error()
    return result


def _read(path: Path, model: type[R]) -> R | None:
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
