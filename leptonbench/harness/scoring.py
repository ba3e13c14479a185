"""Score each group of cells once: same artifact, engine, device and threads, whatever the scenario."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from leptonbench.backends import BACKENDS
from leptonbench.errors import UsageError
from leptonbench.harness.children import run_workers, scratch_folder
from leptonbench.harness.jobs import Score, WorkerJob, WorkerResult, write_message
from leptonbench.harness.process import Ended
from leptonbench.harness.system import package_version, processing_identity
from leptonbench.schema import Reason

_CACHE_REVISION = 4  # raise when scoring changes


@dataclass(frozen=True, slots=True)
class Ask:
    """A group to be scored.

    Attributes:
        job: Of the worker; its folder is chosen here.
        data_sha256: Of the evaluation data's identity.
        timeout_s: After this the worker is killed.
        only_cached: Whether there is no time for more than a look into the cache.
    """

    job: WorkerJob
    data_sha256: str
    timeout_s: float
    only_cached: bool = False


def score_groups(asks: Iterable[Ask], *, at_once: int) -> Generator[tuple[int, Score | Reason | None], None, None]:
    """Score groups, from the cache where artifact, engine, CPU features, threads and data are the same.

    Args:
        asks: Each is asked for only when there is room for it.
        at_once: How many may be scored at the same time.

    Yields:
        The position of each in `asks`, and its score or why there is none; `None` if it is not in the cache and
        nothing else is asked for.

    Raises:
        UsageError: If the user's data cannot be read: no cell of this run could be scored.
    """
    known: list[tuple[int, Score | None]] = []
    scored: list[tuple[int, Ask]] = []

    with scratch_folder() as scratch:

        def unknown() -> Iterator[tuple[WorkerJob, float]]:
            for number, ask in enumerate(asks):
                cached = _read(_cache_path(ask.job, ask.data_sha256))
                if cached is not None:
                    # Another variant, workload or device name may have made the same artifact.
                    known.append((number, cached.model_copy(update={"reused": True, "group": ask.job.cell.group})))
                elif ask.only_cached:
                    known.append((number, None))
                else:
                    scored.append((number, ask))
                    yield ask.job.model_copy(update={"out": str(scratch / str(number))}), ask.timeout_s

        with closing(run_workers(unknown(), at_once=at_once)) as results:
            for index, result, ended in results:
                number, ask = scored[index]
                yield number, _score(ask, result, ended)
    yield from known


def score_group(ask: Ask) -> Score | Reason | None:
    """Score one group, as `score_groups` does."""
    return next(outcome for _, outcome in score_groups([ask], at_once=1))


def _score(ask: Ask, result: WorkerResult | None, ended: Ended) -> Score | Reason:
    """Turn what a worker left into a score, and keep it."""
    job = ask.job
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
        path = _cache_path(job, ask.data_sha256)
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
