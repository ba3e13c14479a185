"""What a run is asked to do, and how it tells its progress: the seam between the command line and the harness."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from leptonbench.schema import CellRecord, CellSpec, EngineOptions, Frozen, Notice, RunManifest, Status


class LatencyTarget(Frozen):
    """What a percentile of the latencies must not exceed, in seconds."""

    percentile: float = Field(gt=0, lt=1)
    seconds: float = Field(gt=0, allow_inf_nan=False)


class Overrides(Frozen):
    """Settings of every cell that the user asked for; `None` means "what the suite says".

    What a cell's scenario or engine cannot honour makes it a skipped cell, with the reason.

    Attributes:
        instances: Copies of the engine that serve one queue; without `threads` they share the cores.
        max_batch: Server and offline: largest batch.
        max_wait_s: Server: longest time the batcher waits for a fuller batch.
        slo: In place of the suite's latency targets.
        engine: Options of the engine.
    """

    instances: int | None = Field(default=None, ge=1)
    max_batch: int | None = Field(default=None, ge=1)
    max_wait_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    slo: LatencyTarget | None = None
    engine: EngineOptions = EngineOptions()


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One invocation, as the user gave it; `None` or empty means "what the suite says".

    Attributes:
        filters: Axis name (`workload`, `variant`, `backend`, `device`, `scenario`) to the names kept.
        duration_s: Length of one timed window.
        budget_s: Upper bound for the whole run; rounds and durations are cut to fit, never below three rounds.
        tuned_within_s: The budget that the run started with, where it goes on: tuning follows it, so that no artifact
            changes between rounds.
        model: A Hugging Face folder or hub id, or an ONNX file, that replaces the workload's own model.
        data: The user's own data (an image folder by class).
        round_timeout_s: Longest a single round may take before its process group is killed.
        overrides: Settings of every cell that are not the suite's.
        passed: The options the user typed, for the manifest.
    """

    suite: str = "manufacturing"
    filters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rounds: int | None = None
    duration_s: float | None = None
    budget_s: float | None = None
    tuned_within_s: float | None = None
    out: Path | None = None
    resume: Path | None = None
    threads: int | None = None
    seed: int = 0
    executor: str = "local"
    model: str | None = None
    data: Path | None = None
    round_timeout_s: float | None = None
    overrides: Overrides = Overrides()
    passed: dict[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be run: the cells, the skipped ones with their reasons, and the estimated time."""

    cells: tuple[CellSpec, ...]
    skipped: tuple[CellRecord, ...]
    rounds: int
    duration_s: float
    estimate_s: float


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What came out."""

    path: Path
    manifest: RunManifest
    records: tuple[CellRecord, ...]

    @property
    def clean(self) -> bool:
        """Return whether something was measured, and no cell failed or is invalid."""
        statuses = {record.status for record in self.records}
        return Status.OK in statuses and statuses <= {Status.OK, Status.SKIPPED}


class Progress(Protocol):
    """Where the harness tells what it does; it is never called while a round is timed."""

    def plan(self, plan: Plan) -> None:
        """Tell the plan, once."""

    def phase(self, text: str, *, done: int = 0, total: int = 0) -> None:
        """Tell what is being done outside timed rounds (preparing, scoring)."""

    def round(self, cell: CellSpec, done: int, total: int, *, status: str, detail: str, eta_s: float | None) -> None:
        """Tell that a round starts (`status` is `running`) or how it ended."""

    def notice(self, notice: Notice) -> None:
        """Tell something the reader should know."""


class Silent:
    """Progress that says nothing: for tests and for `--json`."""

    def plan(self, plan: Plan) -> None:
        """Say nothing."""

    def phase(self, text: str, *, done: int = 0, total: int = 0) -> None:
        """Say nothing."""

    def round(self, cell: CellSpec, done: int, total: int, *, status: str, detail: str, eta_s: float | None) -> None:
        """Say nothing."""

    def notice(self, notice: Notice) -> None:
        """Say nothing."""


__all__ = ["LatencyTarget", "Overrides", "Plan", "Progress", "RunOutcome", "RunRequest", "Silent"]
