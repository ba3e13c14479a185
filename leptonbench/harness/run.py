"""`leptonbench run`: plan, prepare, score, measure, aggregate; a finished round is on disk before the next starts."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil

from leptonbench.errors import LeptonError, UsageError
from leptonbench.harness.accelerator import HOST_GPU, measure_idle
from leptonbench.harness.budget import (
    PREPARE_SHARE,
    RESERVE_S,
    SCORE_SHARE,
    Budget,
    fit_budget,
    groups_by_importance,
    round_estimate_s,
)
from leptonbench.harness.children import run_worker, scratch_folder
from leptonbench.harness.device import host_idle_w, powered_host
from leptonbench.harness.finish import finish_records
from leptonbench.harness.jobs import GpuRef, Score, WorkerJob
from leptonbench.harness.manifest import (
    check_same_artifact,
    check_same_machine,
    check_same_plan,
    discard,
    first_window_s,
    new_manifest,
    resumed_request,
    run_name,
    with_window,
)
from leptonbench.harness.measuring import measure_cells
from leptonbench.harness.pantry import MOST_CHILDREN, Pantry
from leptonbench.harness.plan import RunPlan, plan_run, skipped_record
from leptonbench.harness.rate import decide
from leptonbench.harness.request import Plan, Progress, RunOutcome, RunRequest
from leptonbench.harness.rounds import run_round, trials
from leptonbench.harness.scoring import Ask, score_groups
from leptonbench.harness.simulated import answering, is_simulated
from leptonbench.harness.simulating import simulate_cells
from leptonbench.harness.system import cores_available, cpu_features, fingerprint
from leptonbench.paths import cache_dir, results_dir
from leptonbench.schema import (
    CellRecord,
    CellSpec,
    Notice,
    Reason,
    RoundRecord,
    Scenario,
    Status,
)
from leptonbench.store import RunStore

_TIMEOUT_FACTOR = 10.0  # a round that takes ten times its estimate hangs
_TIMEOUT_FLOOR_S = 120.0
_MEMORY_SHARE = 0.9  # of the memory available at the start: a runaway engine fails before the machine swaps


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
        self.budget = Budget(request.budget_s, started)
        self.device, self.device_matched = powered_host(store.manifest.fingerprint.identity)
        self.features = tuple(sorted(cpu_features()))
        self.pantry = Pantry(decided, cache=cache_dir(), seed=request.seed, tune_budget_s=self.tune_budget_s())
        self.scores: dict[str, Score] = {}
        self.simulated: list[CellRecord] = []
        self.memory_limit_bytes = int(psutil.virtual_memory().available * _MEMORY_SHARE)
        self.duration_s = first_window_s(store.manifest) or decided.suite.duration_s
        self.attempt = 1 + max(
            (record.attempt for cell in decided.cells for record in store.rounds(cell.key)), default=-1
        )

    def go(self) -> RunOutcome:
        """Do everything that is not done yet."""
        self.progress.plan(self.plan.summary())
        for notice in self.plan.notices:
            self.progress.notice(notice)
        self.prepare()
        cells = self.runnable(self.plan.cells)
        if any(not is_simulated(cell) for cell in cells):
            self.measure_null()
        cells = self.score(cells)
        self.simulated = simulate_cells(self, [cell for cell in cells if is_simulated(cell)])
        return self.complete(self.within_budget([cell for cell in cells if not is_simulated(cell)]))

    @functools.cached_property
    def gpu(self) -> GpuRef:
        """Return the GPU, first asked for before any worker uses it, with what it draws then."""
        return measure_idle()

    @functools.cached_property
    def host_idle_w(self) -> float | None:
        """Return what the CPU draws by its own counters, first asked for before any worker runs."""
        return host_idle_w()

    def complete(self, cells: list[CellSpec]) -> RunOutcome:
        """Measure the rounds that are missing and turn everything measured into records."""
        done = {cell.key: self.store.rounds(cell.key) for cell in cells}
        for cell in cells:
            check_same_artifact(done[cell.key], self.pantry.artifact(cell).sha256, cell=cell.key)
        finished = cells
        try:
            finished = measure_cells(self, cells, done)
        finally:
            # Also on Ctrl-C: what was measured becomes records, those with too few rounds marked as such.
            self.progress.phase("write the records")
            artifacts = {cell.key: self.pantry.artifact(cell) for cell in finished}
            workloads = {cell.workload for cell in (*finished, *(record.cell for record in self.simulated))}
            metrics = {name: self.pantry.task(name).metric for name in workloads}
            finish_records(
                self.store,
                self.plan,
                artifacts=artifacts,
                scores=self.scores,
                metrics=metrics,
                done=done,
                simulated=self.simulated,
            )
        manifest = self.store.finish()
        return RunOutcome(self.store.path, manifest, tuple(self.store.records()))

    def prepare(self) -> None:
        """Make the artifacts of all workloads, as many at a time as there are cores: nothing is timed yet."""
        workloads = self.plan.workloads
        self.progress.phase(f"prepare {', '.join(workload.spec.name for workload in workloads)}")
        self.pantry.prepare(
            workloads,
            cores=cores_available(),
            on_line=lambda name, line: self.progress.phase(f"prepare {name}: {line}"),
            limit_s=self.budget.until_s(PREPARE_SHARE),
        )
        for workload in workloads:
            for notice in self.pantry.notices(workload):
                self.tell(notice)

    def tell(self, notice: Notice) -> None:
        """Keep a notice in the manifest, once, and show it."""
        if notice not in self.store.manifest.notices:
            self.store.update(notices=(*self.store.manifest.notices, notice))
        self.progress.notice(notice)

    def runnable(self, cells: Sequence[CellSpec]) -> list[CellSpec]:
        """Record the cells whose artifact could not be made, or cannot run as asked, and return the others."""
        kept = []
        for cell in cells:
            record = self.pantry.refusal(cell)
            if record is None:
                kept.append(cell)
            else:
                self.store.write_record(record)
        return kept

    def job(self, cell: CellSpec, *, mode: str, out: Path, round_index: int = 0, samples: int = 64) -> WorkerJob:
        """Make a worker's job."""
        return WorkerJob.model_validate(
            {
                "mode": mode,
                "cell": cell,
                "scenario": self.plan.scenario(cell),
                "artifact": None if mode == "null" else self.pantry.artifact(cell),
                "task": self.pantry.reference(cell.workload),
                "round_index": round_index,
                "duration_s": self.duration_s,
                "seed": self.request.seed,
                "latency_target_s": self.plan.suite.target_s(cell.workload),
                "samples": samples,
                "out": str(out),
                "cache": str(cache_dir()),
                "features": self.features,
                "device": self.device,
                "device_matched": self.device_matched,
                "host_idle_w": self.host_idle_w,
                "gpu": self.gpu if cell.device == HOST_GPU else None,
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
        return self.budget.left_s()

    def tune_budget_s(self) -> float | None:
        """Return how long one variant may be tuned: its part of a budget's share; `None` without a budget."""
        total = self.request.tuned_within_s if self.request.resume else self.budget.total_s
        compressed = sum(bool(variant.steps) for variant in self.plan.variants)
        return None if total is None else PREPARE_SHARE * total / (len(self.plan.workloads) * max(1, compressed))

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
        """Score every group, the most important first; return the cells that have a score.

        The cells of a group that cannot be scored are recorded as failed, and those of a group that a budget leaves
        no time for as skipped.
        """
        groups: dict[str, list[str]] = {}  # those that one engine answers for, by its own
        asked: list[CellSpec] = []
        for group, cell in groups_by_importance(cells, self.plan.suite).items():
            engine = answering(cell)
            if engine.group not in groups:
                asked.append(engine)
            groups.setdefault(engine.group, []).append(group)
        at_once = min(MOST_CHILDREN, cores_available(), len(asked))
        missing: dict[str, Reason | None] = {}

        def asks() -> Iterator[Ask]:
            for number, cell in enumerate(asked):
                words = f"score {cell.workload}, {cell.variant} on {cell.backend}"
                self.progress.phase(words, done=number + 1, total=len(asked))
                ask = self.score_ask(cell, waves=-(-(len(asked) - number) // at_once), at_once=at_once)
                yield replace(ask, only_cached=ask.only_cached and number >= len(self.plan.workloads))

        with closing(score_groups(asks(), at_once=at_once)) as scored:
            for number, outcome in scored:
                for group in groups[asked[number].group]:
                    if isinstance(outcome, Score):
                        self.scores[group] = outcome.model_copy(update={"group": group})
                    else:
                        missing[group] = outcome
        for cell in cells:
            if cell.group in missing:
                self.without_score(cell, missing[cell.group])
        return [cell for cell in cells if cell.group not in missing]

    def score_ask(self, cell: CellSpec, *, waves: int, at_once: int) -> Ask:
        """Say how a cell's group is scored.

        Args:
            cell: Of the group.
            waves: How many groups still are to be scored one after another, this one included.
            at_once: How many are at the same time; they share the cores, since no time is taken.
        """
        samples = self.plan.scored_samples(cell)
        left_s = self.budget.until_s(PREPARE_SHARE + SCORE_SHARE)
        alone = cell.model_copy(update={"threads": max(1, min(cell.threads, cores_available() // at_once))})
        job = self.job(alone, mode="score", out=Path(), samples=samples)
        return Ask(
            job.model_copy(update={"score_limit_s": None if left_s is None else left_s / waves}),
            self.pantry.prepared[cell.workload].data_sha256,
            self.score_timeout_s(cell, samples),
            only_cached=left_s == 0,
        )

    def without_score(self, cell: CellSpec, reason: Reason | None) -> None:
        """Record a cell whose answers could not be scored; without a reason, it is the budget's."""
        if reason is None:
            self.skip_for_budget(cell)
        else:
            self.store.write_record(CellRecord(cell=cell, status=Status.FAILED, reason=reason))

    def score_timeout_s(self, cell: CellSpec, samples: int) -> float:
        """Return how long scoring may take: half a second a sample beside what a round may take."""
        return self.request.round_timeout_s or self.timeout_s(cell) + 0.5 * samples

    def within_budget(self, cells: Sequence[CellSpec]) -> list[CellSpec]:
        """Cut the run to the time left; what is dropped is recorded as skipped with the reason."""
        others = tuple(notice for notice in self.store.manifest.notices if notice.code != "budget")
        if others != self.store.manifest.notices:  # an earlier attempt's
            self.store.update(notices=others)
        left = self.left_s()
        if left is None:
            return list(cells)
        known = {group: score.sample_s for group, score in self.scores.items()}
        suite = self.plan.suite.model_copy(update={"duration_s": self.duration_s})
        kept, dropped, window_s = fit_budget(cells, suite, left_s=left - RESERVE_S, sample_s=known)
        if self.attempt == 0:
            self.duration_s = window_s
            self.store.update(settings=with_window(self.store.manifest.settings, window_s))
        for cell in dropped:
            self.skip_for_budget(cell)
        if dropped or self.duration_s < self.plan.suite.duration_s:
            message = f"the budget allows windows of {self.duration_s:g} s and {len(kept)} of {len(cells)} cells"
            notice = Notice(code="budget", message=message, hint="a larger --budget measures the rest")
            self.tell(notice)
        return list(kept)

    def skip_for_budget(self, cell: CellSpec, rounds: int = 0) -> None:
        """Record a cell that the budget leaves no time for, or only for some of its rounds, which are kept."""
        hint = f"`leptonbench run --resume` or a larger --budget than {self.request.budget_s:g} s"
        message = "the time budget is spent"
        if rounds:
            message += f"; it sufficed for {rounds} of {self.plan.suite.rounds} rounds"
        self.store.write_record(skipped_record(cell, Reason(code="budget", message=message, hint=hint)))

    def measure_round(self, cell: CellSpec, done: Sequence[RoundRecord]) -> RoundRecord:
        """Measure one round of one cell."""
        index = len(done)
        with scratch_folder() as folder:
            job = self.job(cell, mode="performance", out=folder, round_index=index)
            if cell.scenario is Scenario.SERVER:
                job = job.model_copy(update={"target_qps": decide(trials(done), self.plan.suite.rounds).rate_per_s})
            return run_round(
                job,
                self.store,
                scored=self.scores.get(cell.group),
                metric=self.pantry.task(cell.workload).metric,
                timeout_s=self.timeout_s(cell),
                attempt=self.attempt,
            )
