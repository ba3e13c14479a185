"""`leptonbench run`: plan, prepare, score, measure, aggregate; a finished round is on disk before the next starts."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from leptonbench import __version__
from leptonbench.backends import BACKENDS
from leptonbench.errors import LeptonError, StorageError, UsageError
from leptonbench.harness.children import run_prepare, run_worker, scratch_folder
from leptonbench.harness.device import resolve_host
from leptonbench.harness.finish import finish_records
from leptonbench.harness.jobs import PrepareJob, PrepareResult, PrepareTarget, Score, TaskRef, WorkerJob
from leptonbench.harness.plan import RunPlan, WorkloadPlan, fit_budget, plan_run, round_estimate_s, skipped_record
from leptonbench.harness.rate import decide
from leptonbench.harness.request import Plan, Progress, RunOutcome, RunRequest
from leptonbench.harness.rounds import run_round, schedule, trials
from leptonbench.harness.scoring import score_group
from leptonbench.harness.system import cpu_features, fingerprint, git_state
from leptonbench.paths import cache_dir, results_dir
from leptonbench.schema import (
    Artifact,
    CellRecord,
    CellSpec,
    Fingerprint,
    Notice,
    Reason,
    RoundRecord,
    RunManifest,
    Scenario,
    Settings,
    Status,
)
from leptonbench.store import MANIFEST, RunStore

_TIMEOUT_FACTOR = 10.0  # a round that takes ten times its estimate hangs
_TIMEOUT_FLOOR_S = 120.0
_MEMORY_SHARE = 0.9  # of the memory available at the start: a runaway engine fails before the machine swaps
_SCORE_SHARE = 0.35  # of a budget
_RESUMABLE = ("budget", "too-few-rounds")  # reasons that more time cures
_STOP_BEFORE_S = 8.0  # left in a budget: no further round is started


def plan(request: RunRequest) -> Plan:
    """Say what would be run, without running it.

    Raises:
        UsageError: On unknown names or malformed files.
    """
    return plan_run(request, fingerprint()).summary()


def execute(request: RunRequest, progress: Progress) -> RunOutcome:
    """Run what is asked for.

    Raises:
        LeptonError: If nothing can be run, or the folder cannot be written; completed rounds are kept.
    """
    started = time.monotonic()
    if request.resume is not None:
        with RunStore.open(request.resume, writable=True) as store:
            request = resumed_request(request, store)
            decided = plan_run(request, fingerprint())
            check_same_machine(store.manifest)
            check_same_plan(decided, store.manifest)
            return Run(request, decided, store, progress=progress, started=started).go()
    machine = fingerprint()
    decided = plan_run(request, machine)
    if not decided.cells:
        reasons = "; ".join(sorted({r.reason.message for r in decided.skipped if r.reason}))
        raise UsageError("nothing is left to run", cause=reasons, hint="see `--dry-run`, and loosen the filters")
    path = request.out or results_dir() / run_name(decided.suite.name)
    with RunStore.create(path, new_manifest(request, decided, machine, path.name)) as store:
        for record in decided.skipped:
            store.write_record(record)
        try:
            return Run(request, decided, store, progress=progress, started=started).go()
        except LeptonError:
            if not (path / "rounds").exists():
                discard(path)
            raise


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
    device, _ = resolve_host(machine.identity)
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
        devices=(device,),
        cells=(*decided.cells, *(record.cell for record in decided.skipped)),
        settings=Settings(
            requested=request.passed,
            effective={
                "suite": lasting_path(request.suite),
                "filters": {axis: list(names) for axis, names in request.filters.items()},
                "rounds": decided.suite.rounds,
                "duration_s": decided.suite.duration_s,
                "threads": decided.cells[0].threads,
                "seed": request.seed,
                "model": lasting_path(request.model) if request.model else None,
                "data": str(request.data.resolve()) if request.data else None,
            },
        ),
        seed=request.seed,
        fingerprint=machine,
        notices=decided.notices,
    )


def lasting_path(name: str) -> str:
    """Return a path that is still right in another current folder; a name that is no file's stays as it is."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() and ("/" in name or path.suffix) else name


def resumed_request(request: RunRequest, store: RunStore) -> RunRequest:
    """Return the request that a stored run was started with.

    Raises:
        StorageError: If the run is complete.
    """
    manifest = store.manifest
    unmeasured = any(r.reason is not None and r.reason.code in _RESUMABLE for r in store.records())
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
        resume=request.resume,
        threads=effective["threads"],
        seed=effective["seed"],
        model=effective["model"],
        data=Path(effective["data"]) if effective["data"] else None,
        round_timeout_s=request.round_timeout_s,
        command=request.command,
        passed=request.passed,
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


class Run:
    """One run in progress.

    Args:
        request: What was asked.
        decided: The plan.
        store: The run folder, open for writing.
        progress: Told what happens.
        started: Monotonic time that the budget counts from.
    """

    def __init__(
        self, request: RunRequest, decided: RunPlan, store: RunStore, *, progress: Progress, started: float
    ) -> None:
        self.request = request
        self.plan = decided
        self.store = store
        self.progress = progress
        self.started = started
        self.device, self.device_matched = resolve_host(store.manifest.fingerprint.identity)
        self.features = tuple(sorted(cpu_features()))
        self.prepared: dict[str, PrepareResult] = {}
        self.scores: dict[str, Score] = {}
        self.memory_limit_bytes = int(psutil.virtual_memory().available * _MEMORY_SHARE)
        self.duration_s = decided.suite.duration_s

    def go(self) -> RunOutcome:
        """Do everything that is not done yet."""
        self.progress.plan(self.plan.summary())
        for notice in self.plan.notices:
            self.progress.notice(notice)
        for workload in self.plan.workloads:
            self.prepare(workload)
        cells = self.without_failed_preparation(self.plan.cells)
        self.measure_null()
        cells = self.score(cells)
        cells = self.within_budget(cells)
        done = {cell.key: self.store.rounds(cell.key) for cell in cells}
        try:
            self.measure(cells, done)
        finally:
            # Also on Ctrl-C: what was measured becomes records, those with too few rounds marked as such.
            self.progress.phase("write the records")
            finish_records(self.store, self.plan, artifacts=self.artifacts(cells), scores=self.scores, done=done)
        manifest = self.store.finish()
        return RunOutcome(self.store.path, manifest, tuple(self.store.records()))

    def prepare(self, workload: WorkloadPlan) -> None:
        """Make the artifacts of one workload."""
        cells = [cell for cell in self.plan.cells if cell.workload == workload.spec.name]
        formats = {(cell.variant, BACKENDS.get(cell.backend).format) for cell in cells}
        targets = tuple(
            PrepareTarget(variant=variant, format=kind)
            for variant in self.plan.variants
            for kind in ("torch-export", "onnx")
            if (variant.name, kind) in formats
        )
        self.progress.phase("prepare the models and the data")
        job = PrepareJob(
            model=workload.spec.model,
            base=str(workload.base) if workload.base else None,
            task=self.task(workload),
            targets=targets,
            cache=str(cache_dir()),
        )
        threads = self.plan.cells[0].threads
        self.prepared[workload.spec.name] = run_prepare(
            job, threads=threads, on_line=lambda line: self.progress.phase(f"prepare: {line}")
        )
        folder = self.task(workload).model_dir
        if folder is None or not (Path(folder) / "preprocessor_config.json").exists():
            self.tell(
                Notice(
                    code="preprocessing-assumed",
                    message=f"`{workload.spec.model}` comes without pre-processing; ImageNet's is assumed",
                    hint="put the model's preprocessor_config.json beside it: the wrong one costs quality, not speed",
                )
            )

    def tell(self, notice: Notice) -> None:
        """Keep a notice in the manifest, once, and show it."""
        if notice not in self.store.manifest.notices:
            self.store.update(notices=(*self.store.manifest.notices, notice))
        self.progress.notice(notice)

    def task(self, workload: WorkloadPlan) -> TaskRef:
        """Say how children build the workload's task."""
        model = Path(workload.spec.model)
        folder = workload.base / model if workload.base else model.expanduser()
        folder = folder.parent if folder.suffix == ".onnx" else folder
        prepared = self.prepared.get(workload.spec.name)
        found = prepared.model_dir if prepared else None
        return TaskRef(
            name=workload.spec.task,
            model_dir=str(folder.resolve()) if folder.is_dir() else found,
            data=workload.spec.data,
            images=str(workload.images.resolve()) if workload.images else None,
        )

    def without_failed_preparation(self, cells: Sequence[CellSpec]) -> list[CellSpec]:
        """Record the cells whose artifact could not be made as failed, and return the others."""
        kept = []
        for cell in cells:
            failure = self.prepared[cell.workload].failures.get(self.target(cell))
            if failure is None:
                kept.append(cell)
                continue
            reason = Reason(code="prepare", message=f"{failure.message}: {failure.cause}", hint=failure.hint)
            self.store.write_record(CellRecord(cell=cell, status=Status.FAILED, reason=reason))
        return kept

    def target(self, cell: CellSpec) -> str:
        """Return the key of a cell's artifact in the preparation's result."""
        return PrepareTarget(variant=self.plan.variant(cell), format=BACKENDS.get(cell.backend).format).key

    def artifacts(self, cells: Sequence[CellSpec]) -> dict[str, Artifact]:
        """Return the artifact of each cell, by the cell's key."""
        return {cell.key: self.prepared[cell.workload].artifacts[self.target(cell)] for cell in cells}

    def job(self, cell: CellSpec, *, mode: str, out: Path, round_index: int = 0, samples: int = 64) -> WorkerJob:
        """Make a worker's job."""
        return WorkerJob.model_validate(
            {
                "mode": mode,
                "cell": cell,
                "scenario": self.plan.scenario(cell),
                "artifact": self.prepared[cell.workload].artifacts.get(self.target(cell)),
                "task": self.task(self.plan.workload(cell)),
                "round_index": round_index,
                "duration_s": self.duration_s,
                "seed": self.request.seed,
                "latency_target_s": self.plan.suite.latency_target_s,
                "samples": samples,
                "out": str(out),
                "cache": str(cache_dir()),
                "features": self.features,
                "device": self.device,
                "device_matched": self.device_matched,
                "memory_limit_bytes": self.memory_limit_bytes,
            }
        )

    def timeout_s(self, cell: CellSpec) -> float:
        """Return how long a child of this cell may take."""
        if self.request.round_timeout_s is not None:
            return self.request.round_timeout_s
        estimate = round_estimate_s(cell, self.plan.suite) / self.plan.suite.rounds
        return max(_TIMEOUT_FLOOR_S, _TIMEOUT_FACTOR * estimate)

    def left_s(self) -> float | None:
        """Return the seconds left in the budget; `None` without one."""
        budget = self.request.budget_s
        return None if budget is None else budget - (time.monotonic() - self.started)

    def measure_null(self) -> None:
        """Measure what LoadGen and Python add to a query, once a run."""
        if self.store.manifest.null_query_s is not None:
            return
        with scratch_folder() as folder:
            job = self.job(self.plan.cells[0], mode="null", out=folder)
            result, _ = run_worker(job, timeout_s=_TIMEOUT_FLOOR_S)
        if result is not None and "latency_mean" in result.values:
            self.store.update(null_query_s=result.values["latency_mean"])

    def score(self, cells: Sequence[CellSpec]) -> list[CellSpec]:
        """Score every group; record the cells of a group that cannot be scored as failed, and return the others."""
        groups = {cell.group: cell for cell in reversed(cells)}
        failed: dict[str, Reason] = {}
        for number, (group, cell) in enumerate(sorted(groups.items()), 1):
            self.progress.phase(f"score {cell.variant} on {cell.backend}", done=number, total=len(groups))
            samples = self.plan.scored_samples(cell)
            job = self.job(cell, mode="score", out=Path(), samples=samples)
            job = job.model_copy(update={"score_limit_s": self.score_limit_s(len(groups))})
            data = self.prepared[cell.workload].data_sha256
            outcome = score_group(job, data_sha256=data, timeout_s=self.score_timeout_s(cell, samples))
            if isinstance(outcome, Reason):
                failed[group] = outcome
            else:
                self.scores[group] = outcome
        for cell in cells:
            if cell.group in failed:
                self.store.write_record(CellRecord(cell=cell, status=Status.FAILED, reason=failed[cell.group]))
        return [cell for cell in cells if cell.group not in failed]

    def score_limit_s(self, groups: int) -> float | None:
        """Return how long each group may be scored: its part of a budget's share; `None` without a budget."""
        return None if self.request.budget_s is None else self.request.budget_s * _SCORE_SHARE / groups

    def score_timeout_s(self, cell: CellSpec, samples: int) -> float:
        """Return how long scoring may take: half a second a sample beside what a round may take."""
        return self.request.round_timeout_s or self.timeout_s(cell) + 0.5 * samples

    def within_budget(self, cells: Sequence[CellSpec]) -> list[CellSpec]:
        """Cut the run to the time left; what is dropped is recorded as skipped with the reason."""
        left = self.left_s()
        if left is None:
            return list(cells)
        kept, dropped, self.duration_s = fit_budget(cells, self.plan.suite, left_s=left)
        for cell in dropped:
            self.skip_for_budget(cell)
        if dropped or self.duration_s < self.plan.suite.duration_s:
            message = f"the budget allows windows of {self.duration_s:g} s and {len(kept)} of {len(cells)} cells"
            notice = Notice(code="budget", message=message, hint="a larger --budget measures the rest")
            self.tell(notice)
        return list(kept)

    def skip_for_budget(self, cell: CellSpec) -> None:
        """Record a cell that the budget leaves no time for."""
        hint = f"`leptonbench run --resume` or a larger --budget than {self.request.budget_s:g} s"
        message = "the time budget is spent"
        self.store.write_record(skipped_record(cell, Reason(code="budget", message=message, hint=hint)))

    def measure(self, cells: list[CellSpec], done: dict[str, list[RoundRecord]]) -> None:
        """Measure the rounds that are missing, interleaved; each is on disk before the next starts."""
        rounds = self.plan.suite.rounds
        total = len(cells) * rounds
        walls: list[float] = []
        for cell in schedule(cells, done, rounds=rounds, seed=self.request.seed):
            left = self.left_s()
            if left is not None and left < _STOP_BEFORE_S:
                break
            finished = sum(min(rounds, len(done[c.key])) for c in cells)
            eta_s = (total - finished) * sum(walls) / len(walls) if walls else None
            self.progress.round(cell, finished, total, status="running", detail="", eta_s=eta_s)
            record = self.measure_round(cell, done[cell.key])
            done[cell.key].append(record)
            walls.append(record.wall_s)
            detail = round_detail(record)
            self.progress.round(cell, finished + 1, total, status=record.status.value, detail=detail, eta_s=None)

    def measure_round(self, cell: CellSpec, done: Sequence[RoundRecord]) -> RoundRecord:
        """Measure one round of one cell."""
        index = len(done)
        with scratch_folder() as folder:
            job = self.job(cell, mode="performance", out=folder, round_index=index)
            if cell.scenario is Scenario.SERVER:
                job = job.model_copy(update={"target_qps": decide(trials(done), self.plan.suite.rounds).rate_per_s})
            return run_round(job, self.store, scored=self.scores.get(cell.group), timeout_s=self.timeout_s(cell))


def round_detail(record: RoundRecord) -> str:
    """Return a round's outcome in a few words."""
    if record.reason is not None:
        return record.reason.message
    if "latency_p50" in record.values:
        return f"p50 {record.values['latency_p50'] * 1e3:.2f} ms"
    return f"{record.values.get('throughput', 0.0):.1f}/s"
