"""Messages between the parent and its child processes: JSON files, validated on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from leptonbench.backends import Estimate
from leptonbench.errors import (
    BudgetSpent,
    LeptonError,
    MeasurementError,
    NotApplicable,
    PrerequisiteError,
    StorageError,
    UsageError,
)
from leptonbench.schema import (
    Artifact,
    CellSpec,
    DataSpec,
    DeviceProfile,
    EnergyReading,
    Frozen,
    Notice,
    Quantity,
    ScenarioSpec,
    VariantSpec,
)

_KINDS: dict[str, type[LeptonError]] = {
    kind.__name__: kind
    for kind in (BudgetSpent, LeptonError, MeasurementError, NotApplicable, PrerequisiteError, StorageError, UsageError)
}


class TaskRef(Frozen):
    """How a child builds the same task as its parent.

    Attributes:
        name: Registered name of the task.
        model_dir: Folder with the model's pre-processing; `None` until a model of the hub is here.
        own: The user's own data; `None` for the workload's.
        workload_dir: The workload's folder, for data and tuned weights that ship with it.
    """

    name: str
    model_dir: str | None
    data: DataSpec
    own: str | None = None
    workload_dir: str | None = None


class Failure(Frozen):
    """An error that crossed a process boundary."""

    kind: str
    message: str
    cause: str = ""
    hint: str = ""

    @classmethod
    def of(cls, error: LeptonError) -> Failure:
        """Flatten an error."""
        return cls(kind=type(error).__name__, message=error.message, cause=error.cause, hint=error.hint)

    def error(self) -> LeptonError:
        """Rebuild the error."""
        return _KINDS.get(self.kind, LeptonError)(self.message, cause=self.cause, hint=self.hint)


class PrepareTarget(Frozen):
    """One artifact to make: a variant in the format that some engine loads."""

    variant: VariantSpec
    format: Literal["torch-export", "onnx"]

    @property
    def key(self) -> str:
        """Return a name that is unique within a job."""
        return f"{self.variant.name}|{self.format}"


class PrepareJob(Frozen):
    """Make every artifact of one workload.

    Attributes:
        tune_budget_s: Longest that one variant may be tuned; `None` for a technique's own number of steps.
        limit_s: After so long nothing more is made, but for variants without steps; `None` makes everything.
    """

    model: str
    base: str | None
    task: TaskRef
    targets: tuple[PrepareTarget, ...]
    cache: str
    seed: int = 0
    tune_budget_s: float | None = None
    limit_s: float | None = None


class PrepareResult(Frozen):
    """What was made, what could not be, what was found in the cache, and the folder the model turned out to be in."""

    artifacts: dict[str, Artifact] = Field(default_factory=dict)
    failures: dict[str, Failure] = Field(default_factory=dict)
    cached: tuple[str, ...] = ()
    data_sha256: str = ""
    model_dir: str | None = None
    notices: tuple[Notice, ...] = ()
    error: Failure | None = None


class GpuRef(Frozen):
    """The GPU that a job runs on.

    Attributes:
        idle_w: What it drew before the run did anything; `None` where it does not tell.
    """

    index: int
    uuid: str
    name: str
    driver: str
    idle_w: float | None = None


class WorkerJob(Frozen):
    """Measure one round of one cell, score or simulate one group of cells, or build what one is simulated with.

    Attributes:
        target_qps: Server: the rate to verify; `None` lets the worker predict one from measured service times.
        samples: How many evaluation samples to prepare for timing, or to score.
        score_limit_s: Scoring stops after so long, though not below `SCORE_FLOOR` samples; `None` scores them all.
        out: Folder for the result, the latencies and LoadGen's logs.
        device: Profile behind the CPU power model, or what is simulated.
        device_matched: Whether that profile was matched to this CPU, rather than the generic one.
        host_idle_w: What the CPU's own counters saw before the run did anything; `None` without any.
        gpu: That the cell runs on; `None` for a cell on the CPU.
    """

    mode: Literal["performance", "score", "null", "probe", "build", "simulate"]
    cell: CellSpec
    scenario: ScenarioSpec
    artifact: Artifact | None
    task: TaskRef
    round_index: int
    duration_s: float
    seed: int
    latency_target_s: float
    target_qps: float | None = None
    samples: int = 64
    score_limit_s: float | None = None
    out: str
    cache: str
    features: tuple[str, ...]
    device: DeviceProfile
    device_matched: bool
    host_idle_w: float | None = None
    gpu: GpuRef | None = None
    memory_limit_bytes: int | None = None


class WorkerResult(Frozen):
    """What a worker measured; the parent adds how the process ended."""

    values: dict[str, float] = Field(default_factory=dict)
    queries: int = 0
    valid: bool = True
    invalid_reasons: tuple[str, ...] = ()
    loadgen: dict[str, Any] = Field(default_factory=dict)
    effective: dict[str, Any] = Field(default_factory=dict)
    energy: EnergyReading | None = None
    inferences: int = 0
    cut_short: bool = False
    answers: dict[int, Any] = Field(default_factory=dict)
    targets: dict[int, Any] = Field(default_factory=dict)
    quality: Quantity | None = None
    profile: dict[str, Any] = Field(default_factory=dict)
    estimate: Estimate | None = None
    notices: tuple[Notice, ...] = ()
    error: Failure | None = None
    error_code: str = ""


SCORE_FLOOR = 200  # samples: below, the interval of top-1 is too wide to say anything
JOB_FILE = "job.json"
RESULT_FILE = "result.json"
LATENCIES_FILE = "latencies.npy"


class Score(Frozen):
    """What one engine answered on the evaluation samples, shared by the cells of a group.

    Attributes:
        created: When it was scored (UTC, ISO), since a score may come from the cache.
        reused: Whether it did.
        answers: By sample index.
        targets: By sample index.
        sample_s: Mean time of one inference, untimed by any rule: for estimates.
    """

    group: str
    artifact_sha256: str
    created: str
    reused: bool = False
    quality: Quantity
    answers: dict[int, Any]
    targets: dict[int, Any]
    effective: dict[str, Any]
    sample_s: float = 0.0


def write_message(path: Path, message: Frozen) -> None:
    """Write a message whole or not at all."""
    scratch = path.with_suffix(".tmp")
    scratch.write_text(message.model_dump_json(), encoding="utf-8")
    scratch.replace(path)
