"""A run's manifest: written before anything runs, and read again when a run goes on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from leptonbench import __version__
from leptonbench.errors import StorageError
from leptonbench.harness.accelerator import HOST_GPU, current_gpu, gpu_profile
from leptonbench.harness.device import resolve_host
from leptonbench.harness.plan import RunPlan
from leptonbench.harness.request import Overrides, RunRequest
from leptonbench.harness.system import fingerprint, git_state
from leptonbench.schema import DeviceProfile, Fingerprint, RoundRecord, RunManifest, Settings
from leptonbench.store import MANIFEST, RunStore

RESUMABLE = ("budget", "too-few-rounds")  # reasons that more time cures


def discard(path: Path) -> None:
    """Delete a run in which nothing was measured: it would only stand in the way of the last good one.

    The user may have given a folder with hidden files of their own: nothing is deleted but what a run writes.
    """
    for name in ("cells", "logs", "samples"):
        shutil.rmtree(path / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        (path / MANIFEST).unlink()
        (path / ".lock").unlink()
        path.rmdir()


def run_name(suite: str) -> str:
    """Return a name for a run folder: the suite and the UTC time to the second."""
    return f"{suite}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def new_manifest(request: RunRequest, decided: RunPlan, machine: Fingerprint, run_id: str) -> RunManifest:
    """Write down what is asked, on what, before anything runs."""
    commit, dirty = git_state()
    return RunManifest(
        run_id=run_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        leptonbench_version=__version__,
        git_commit=commit,
        git_dirty=dirty,
        command=request.command,
        suite=decided.suite,
        workloads=tuple(w.spec for w in decided.workloads),
        variants=decided.variants,
        devices=(*_devices(decided, machine), *decided.boards),
        cells=(*decided.cells, *(record.cell for record in decided.skipped)),
        settings=Settings(
            requested=request.passed,
            effective={
                "suite": lasting_path(request.suite),
                "filters": {axis: list(names) for axis, names in request.filters.items()},
                "rounds": decided.suite.rounds,
                "duration_s": decided.suite.duration_s,
                "budget_s": request.budget_s,
                "threads": decided.cells[0].threads,
                "overrides": request.overrides.model_dump(mode="json"),
                "seed": request.seed,
                "model": lasting_path(request.model) if request.model else None,
                "data": str(request.data.resolve()) if request.data else None,
            },
        ),
        seed=request.seed,
        fingerprint=machine,
        notices=decided.notices,
    )


def _devices(decided: RunPlan, machine: Fingerprint) -> tuple[DeviceProfile, ...]:
    """Return the host's profile, and its GPU's where cells run on it."""
    host, _ = resolve_host(machine.identity)
    facts = current_gpu(machine.identity) if any(cell.device == HOST_GPU for cell in decided.cells) else None
    return (host,) if facts is None else (host, gpu_profile(facts))


def lasting_path(name: str) -> str:
    """Return a path that is still right in another current folder; a name that is no file's stays as it is."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() and ("/" in name or path.suffix) else name


def resumed_request(request: RunRequest, store: RunStore) -> RunRequest:
    """Return the request that a stored run was started with.

    Raises:
        StorageError: If the run is complete, or is a search.
    """
    manifest = store.manifest
    if "tune" in manifest.settings.effective:
        raise StorageError(
            f"run `{manifest.run_id}` is a search for a setting, which does not go on",
            cause="what it measured last was chosen by what it measured first",
            hint="search again: `leptonbench tune`, with a larger --budget",
        )
    unmeasured = any(r.reason is not None and r.reason.code in RESUMABLE for r in store.records())
    if manifest.finished is not None and not unmeasured:
        raise StorageError(
            f"run `{manifest.run_id}` is complete", hint="start a new run, or `leptonbench report` this one"
        )
    effective = manifest.settings.effective
    return RunRequest(
        suite=effective["suite"],
        filters={axis: tuple(names) for axis, names in effective["filters"].items()},
        rounds=effective["rounds"],
        duration_s=effective["duration_s"],
        budget_s=request.budget_s,
        tuned_within_s=effective.get("budget_s"),
        resume=request.resume,
        threads=effective["threads"],
        overrides=Overrides.model_validate(effective.get("overrides", {})),
        seed=effective["seed"],
        model=effective["model"],
        data=Path(effective["data"]) if effective["data"] else None,
        round_timeout_s=request.round_timeout_s,
        command=request.command,
        passed=request.passed,
    )


def first_window_s(manifest: RunManifest) -> float | None:
    """Return the window that the run's first rounds had, if a budget shortened it; later rounds get the same."""
    window_s = manifest.settings.effective.get("window_s")
    return None if window_s is None else float(window_s)


def with_window(settings: Settings, window_s: float) -> Settings:
    """Return the settings with the window that a budget leaves."""
    return settings.model_copy(update={"effective": {**settings.effective, "window_s": window_s}})


def check_same_artifact(done: Sequence[RoundRecord], sha256: str, *, cell: str) -> None:
    """Refuse to add rounds of one artifact to those of another.

    Raises:
        StorageError: Naming the cell.
    """
    before = {str(record.effective["artifact_sha256"]) for record in done if "artifact_sha256" in record.effective}
    if before - {sha256}:
        raise StorageError(
            f"the model behind cell `{cell}` is not the one that its first rounds measured",
            cause="the model, its data or a tuned variant changed since the run was started, or the cache was cleared",
            hint="start a new run",
        )


def check_same_machine(manifest: RunManifest) -> None:
    """Refuse to go on with a run on another machine or with other packages: its rounds would not be comparable.

    Raises:
        StorageError: Naming the fields that differ.
    """
    now, then = fingerprint().identity, manifest.fingerprint.identity
    differing = [name for name in type(now).model_fields if getattr(now, name) != getattr(then, name)]
    if differing:
        raise StorageError(
            f"run `{manifest.run_id}` was started on another machine or with other packages",
            cause=f"these differ: {', '.join(differing)}",
            hint="start a new run here",
        )


def check_same_plan(decided: RunPlan, manifest: RunManifest) -> None:
    """Refuse to go on with a run whose suite or variants were edited since it started.

    Raises:
        StorageError: Naming what differs.
    """
    pairs = {"suite": (decided.suite, manifest.suite), "variants": (decided.variants, manifest.variants)}
    differing = [name for name, (now, then) in pairs.items() if now != then]
    if differing:
        raise StorageError(
            f"the {' and the '.join(differing)} of run `{manifest.run_id}` changed since it was started",
            cause="its rounds would not be comparable with further ones",
            hint="start a new run, or undo the change",
        )
