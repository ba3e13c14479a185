"""Score each group of cells once: same artifact, engine, device and threads, whatever the scenario."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from leptonbench.backends import BACKENDS
from leptonbench.errors import UsageError
from leptonbench.harness.children import run_worker, scratch_folder
from leptonbench.harness.jobs import Score, WorkerJob, write_message
from leptonbench.harness.process import Ended
from leptonbench.harness.system import package_version, processing_identity
from leptonbench.schema import Reason

_CACHE_REVISION = 4  # raise when scoring changes


def score_group(
    job: WorkerJob, *, data_sha256: str, timeout_s: float, only_cached: bool = False
) -> Score | Reason | None:
    """Return a group's score, from the cache if artifact, engine, CPU features, threads and data are the same.

    Returns:
        The score, or why there is none; `None` if it is not in the cache and nothing else is asked for.

    Raises:
        UsageError: If the user's data cannot be read: no cell of this run could be scored.
    """
    path = _cache_path(job, data_sha256)
    cached = _read(path)
    if cached is not None:
        # Another variant, workload or device name may have made the same artifact.
        return cached.model_copy(update={"reused": True, "group": job.cell.group})
    if only_cached:
        return None
    with scratch_folder() as folder:
        result, ended = run_worker(job.model_copy(update={"out": str(folder)}), timeout_s=timeout_s)
    if result is not None and result.error is not None and result.error.kind == UsageError.__name__:
        raise result.error.error()
    if result is None or result.error is not None or result.quality is None:
        failure = result.error if result else None
        return failure_reason(ended, result.error_code if result else "", failure.message if failure else "", failure)
    score = Score(
        group=job.cell.group,
        artifact_sha256=job.artifact.sha256 if job.artifact else "",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        quality=result.quality,
        answers=result.answers,
        targets=result.targets,
        effective=result.effective,
        sample_s=result.values.get("sample_s", 0.0),
    )
    if not result.cut_short:  # one that a budget cut short stands in no other run's way
        path.parent.mkdir(parents=True, exist_ok=True)
        write_message(path, score)
    return score


def failure_reason(ended: Ended, code: str, message: str, failure: object = None) -> Reason:
    """Return the reason of a failed child: what it said itself, else how its process ended."""
    cause = getattr(failure, "cause", "")
    hint = getattr(failure, "hint", "")
    hints = {
        "timeout": "the engine hangs or is far slower than expected; raise the limit with --round-timeout",
        "out-of-memory": "use a smaller batch or a machine with more memory",
        "crash": "the engine's own words are in the record; update it, or leave the cell out",
    }
    if code:
        message = f"{message}: {cause}" if cause else message
        return Reason(code=code, message=message, hint=hint or hints.get(code, ""), stderr=ended.stderr)
    message = ended.message or "the process left no result"
    return Reason(
        code=ended.code if ended.code != "ok" else "crash",
        message=message,
        hint=hints.get(ended.code, ""),
        stderr=ended.stderr,
    )


def _cache_path(job: WorkerJob, data_sha256: str) -> Path:
    packages = BACKENDS.get(job.cell.backend).packages
    identity = {
        "revision": _CACHE_REVISION,
        "artifact": job.artifact.sha256 if job.artifact else "",
        "backend": job.cell.backend,
        "versions": {name: package_version(name) for name in packages},
        "threads": job.cell.threads,
        "options": job.cell.options.model_dump(mode="json"),
        "features": job.features,
        "task": job.task.name,
        "processing": processing_identity(job.task.model_dir),
        "data": data_sha256,
        "samples": job.samples,
        "seed": job.seed,
    }
    if job.gpu is not None and job.artifact is not None:  # one file may run in several precisions there
        identity["gpu"] = [job.gpu.name, job.gpu.driver]
        identity["runs_as"] = [job.artifact.precision, [step.model_dump(mode="json") for step in job.artifact.recipe]]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Path(job.cache) / "scores" / f"{key[:32]}.json"


def _read(path: Path) -> Score | None:
    """Return a cached score; a damaged file counts as none and is written anew."""
    try:
        return Score.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
