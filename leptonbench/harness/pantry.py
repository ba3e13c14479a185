"""What is prepared for a run: artifacts and tasks by workload, and why a cell has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from leptonbench.backends import backend
from leptonbench.compression import TECHNIQUES
from leptonbench.errors import BudgetSpent, LeptonError, NotApplicable, PrerequisiteError
from leptonbench.harness.children import run_prepares
from leptonbench.harness.feed import build_task
from leptonbench.harness.jobs import Failure, PrepareJob, PrepareResult, PrepareTarget, TaskRef
from leptonbench.harness.plan import RunPlan, WorkloadPlan, skipped_record
from leptonbench.schema import Artifact, CellRecord, CellSpec, Notice, Reason, Status, VariantSpec
from leptonbench.tasks import Task

# What keeps a variant from being made without being anyone's failure, and the code of its skipped cells.
_SKIPS = {
    NotApplicable.__name__: "not-applicable",
    BudgetSpent.__name__: "budget",
    PrerequisiteError.__name__: "prerequisite",
}

MOST_CHILDREN = 4  # at a time: each holds a framework, a model and its data in memory


class Pantry:
    """Prepared artifacts of a plan's workloads.

    Args:
        plan: What is to be run.
        cache: Folder of everything that is made once.
        seed: Of tuning.
        tune_budget_s: Longest that one variant may be tuned; `None` for a technique's own number of steps.
    """

    def __init__(self, plan: RunPlan, *, cache: Path, seed: int, tune_budget_s: float | None) -> None:
        self._plan = plan
        self._cache = cache
        self._seed = seed
        self._tune_budget_s = tune_budget_s
        self.prepared: dict[str, PrepareResult] = {}
        self._tasks: dict[str, Task] = {}

    def prepare(
        self,
        workloads: Sequence[WorkloadPlan],
        *,
        cores: int,
        on_line: Callable[[str, str], None],
        limit_s: float | None = None,
    ) -> None:
        """Make the artifacts that workloads' cells need in child processes, the suite's first variants first.

        A workload is made by as many children as may run at a time, so that the last one does not keep one core busy
        and the others waiting; variants that are exported from the same network stay together. Where the run has
        other workloads, one whose model or data cannot be read costs no more than its own cells, and a child that dies
        no more than its own variants.

        Args:
            workloads: Of the plan.
            cores: For all children together.
            on_line: Told a workload and a line of progress.
            limit_s: Nothing more is made after so long.

        Raises:
            LeptonError: If the model or the data of the only workload cannot be read.
        """
        whole = {workload.spec.name: self._job(workload) for workload in workloads}
        most = min(cores, MOST_CHILDREN)
        shares = [(name, share) for name, job in whole.items() for share in _shares(job, most)]
        at_once = min(most, len(shares))
        waves = -(-len(shares) // at_once)
        each_s = None if limit_s is None else limit_s / waves
        results = run_prepares(
            [share.model_copy(update={"limit_s": each_s}) for _, share in shares],
            threads=cores // at_once,
            at_once=at_once,
            on_line=lambda index, line: on_line(shares[index][0], line),
        )
        for name in whole:
            ends = [(share, end) for (owner, share), end in zip(shares, results, strict=True) if owner == name]
            if len(whole) == 1 and all(isinstance(end, LeptonError) for _, end in ends):
                raise next(end for _, end in ends if isinstance(end, LeptonError))
            self.prepared[name] = _together(ends)

    def _job(self, workload: WorkloadPlan) -> PrepareJob:
        """Say what is to be made for a workload."""
        name = workload.spec.name
        cells = [cell for cell in self._plan.cells if cell.workload == name]
        formats = {(cell.variant, backend(cell.backend).format) for cell in cells}
        targets = tuple(
            PrepareTarget(variant=variant, format=kind)
            for variant in self._plan.variants
            for kind in ("torch-export", "onnx")
            if (variant.name, kind) in formats
        )
        return PrepareJob(
            model=workload.spec.model,
            base=str(workload.base) if workload.base else None,
            task=self.reference(name),
            targets=targets,
            cache=str(self._cache),
            seed=self._seed,
            tune_budget_s=self._tune_budget_s,
        )

    def notices(self, workload: WorkloadPlan) -> tuple[Notice, ...]:
        """Return what the reader should know of a workload's model and data."""
        notices = self.prepared[workload.spec.name].notices
        folder = self.reference(workload.spec.name).model_dir
        if folder is not None and (Path(folder) / "preprocessor_config.json").exists():
            return notices
        assumed = Notice(
            code="preprocessing-assumed",
            message=f"`{workload.spec.model}` comes without pre-processing; the task's usual one is assumed",
            hint="put the model's preprocessor_config.json beside it: the wrong one costs quality, not speed",
        )
        return (*notices, assumed)

    def reference(self, workload: str) -> TaskRef:
        """Say how children build a workload's task."""
        chosen = next(w for w in self._plan.workloads if w.spec.name == workload)
        model = Path(chosen.spec.model)
        folder = chosen.base / model if chosen.base else model.expanduser()
        folder = folder.parent if folder.suffix == ".onnx" else folder
        prepared = self.prepared.get(workload)
        found = prepared.model_dir if prepared else None
        return TaskRef(
            name=chosen.spec.task,
            model_dir=str(folder.resolve()) if folder.is_dir() else found,
            data=chosen.spec.data,
            own=str(chosen.own.resolve()) if chosen.own else None,
            workload_dir=str(chosen.folder),
        )

    def task(self, workload: str) -> Task:
        """Return a workload's task."""
        if workload not in self._tasks:
            self._tasks[workload] = build_task(self.reference(workload))
        return self._tasks[workload]

    def artifact(self, cell: CellSpec) -> Artifact:
        """Return a cell's artifact.

        Raises:
            KeyError: If it could not be made; `refusal` says why.
        """
        return self.prepared[cell.workload].artifacts[self._target(cell)]

    def _target(self, cell: CellSpec) -> str:
        return PrepareTarget(variant=self._plan.variant(cell), format=backend(cell.backend).format).key

    def refusal(self, cell: CellSpec) -> CellRecord | None:
        """Return the record of a cell that cannot be measured with what was prepared, else `None`."""
        failure = self.prepared[cell.workload].failures.get(self._target(cell))
        if failure is not None:
            message = f"{failure.message}: {failure.cause}" if failure.cause else failure.message
            if failure.kind in _SKIPS:
                return skipped_record(cell, Reason(code=_SKIPS[failure.kind], message=message, hint=failure.hint))
            reason = Reason(code="prepare", message=message, hint=failure.hint)
            return CellRecord(cell=cell, status=Status.FAILED, reason=reason)
        artifact = self.artifact(cell)
        fixed = (
            next((spec.shape[0] for spec in artifact.inputs if spec.shape[0] is not None), None) if artifact else None
        )
        if fixed is None or fixed == cell.batch == 1:
            return None
        return skipped_record(
            cell,
            Reason(
                code="fixed-batch",
                message=f"the model takes batches of {fixed} only, and this cell runs batches up to {cell.batch}",
                hint="export it with a free batch dimension (torch.onnx.export: dynamic_axes or dynamic_shapes)",
            ),
        )


def _shares(job: PrepareJob, most: int) -> list[PrepareJob]:
    """Split a workload's targets; those made from one network by one export stay together."""
    groups: dict[str, list[PrepareTarget]] = {}
    for target in job.targets:
        groups.setdefault(_network(target.variant), []).append(target)
    shares: list[list[PrepareTarget]] = [[] for _ in range(min(most, len(groups)))]
    for group in groups.values():
        min(shares, key=len).extend(group)
    return [job.model_copy(update={"targets": tuple(share)}) for share in shares]


def _network(variant: VariantSpec) -> str:
    """Name the network that a variant is exported from, by the steps that make it."""
    return str([step for step in variant.steps if TECHNIQUES.get(step.technique).stage == "module"])


def _together(ends: Sequence[tuple[PrepareJob, PrepareResult | LeptonError]]) -> PrepareResult:
    """Put what a workload's children made, or why they could not, into one result."""
    made = [end for _, end in ends if isinstance(end, PrepareResult)]
    failures = {
        target.key: Failure.of(end) for share, end in ends if isinstance(end, LeptonError) for target in share.targets
    }
    first = made[0] if made else PrepareResult()
    return first.model_copy(
        update={
            "artifacts": {key: artifact for result in made for key, artifact in result.artifacts.items()},
            "failures": failures | {key: failure for result in made for key, failure in result.failures.items()},
            "cached": tuple(key for result in made for key in result.cached),
        }
    )
