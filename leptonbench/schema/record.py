"""What came out: one record a cell, one manifest a run. Everything downstream reads only these.

Format history (`SCHEMA_VERSION`):

1   2026-11: first version.
2   2026-11: a workload's quality floor is a share of fp32's value (`relative_floor`) in place of points lost; a suite's
    exclusions list several names an axis; a cell may carry engine options; an artifact may carry facts of its steps; a
    suite may give its demand by the hour, its threads and its own assumptions.
3   2026-11: a workload's metric does not say whether higher is better: it always is.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from leptonbench.schema.artifact import Artifact
from leptonbench.schema.cause import Cause
from leptonbench.schema.environment import Fingerprint
from leptonbench.schema.quantity import Frozen, Provenance, Quantity
from leptonbench.schema.spec import CellSpec, DeviceProfile, SuiteSpec, VariantSpec, WorkloadSpec

SCHEMA_VERSION = 3


class Status(StrEnum):
    """How a cell ended."""

    OK = "ok"
    INVALID = "invalid"
    FAILED = "failed"
    SKIPPED = "skipped"


class Reason(Frozen):
    """Why a cell is not `ok`.

    Attributes:
        code: Stable word: `crash`, `timeout`, `out-of-memory`, `non-finite`, `unsupported`, `excluded`, ...
        stderr: The last lines the worker wrote, for failures.
    """

    code: str
    message: str
    hint: str = ""
    stderr: tuple[str, ...] = ()


class Notice(Frozen):
    """Something the reader should know before trusting a number, with its remedy."""

    code: str
    message: str
    hint: str = ""


class WallEnergy(Frozen):
    """What a window took at the wall plug, with the rest of the server that a device's own meter does not see."""

    energy_j: float
    low_j: float
    high_j: float
    method: str
    provenance: Provenance


class EnergyReading(Frozen):
    """What a meter saw over one window.

    Attributes:
        energy_j: Total over the window; `low_j` and `high_j` are the meter's error band.
        idle_j: The part an idle machine would have drawn; `None` where the meter cannot tell.
        coverage: Fraction of the window that samples cover.
        samples: How many readings stand behind it.
        wall: The same window at the wall; `None` where nothing tells.
    """

    energy_j: float
    low_j: float
    high_j: float
    idle_j: float | None = None
    window_s: float
    boundary: str
    method: str
    provenance: Provenance
    coverage: float
    samples: int
    wall: WallEnergy | None = None


class RoundRecord(Frozen):
    """One fresh process measuring one cell once.

    Attributes:
        values: The round's own figures by metric tag, in SI; only those it measured.
        loadgen: What LoadGen said: validity, reasons, requested and effective settings.
        attempt: 0 where the run was started, and one more each time that it went on: only rounds of one attempt were
            interleaved.
        queries: Number of latencies behind it (they are in the Parquet file beside the record).
        profile: The engine's own account of one inference outside timing, by kind of operator; of a cell's first round.
    """

    index: int
    started: str
    attempt: int = 0
    wall_s: float
    status: Status
    reason: Reason | None = None
    values: dict[str, float] = Field(default_factory=dict)
    queries: int = 0
    loadgen: dict[str, Any] = Field(default_factory=dict)
    effective: dict[str, Any] = Field(default_factory=dict)
    profile: dict[str, Any] = Field(default_factory=dict)
    energy: EnergyReading | None = None
    notices: tuple[Notice, ...] = ()
    load_average: float | None = None


class Settings(Frozen):
    """What the user passed apart from what came to be used."""

    requested: dict[str, Any] = Field(default_factory=dict)
    effective: dict[str, Any] = Field(default_factory=dict)


class CellRecord(Frozen):
    """One cell's result.

    Attributes:
        causes: Why it is not faster than fp32 on the same engine, or not by as much as arithmetic promises.
    """

    schema_version: int = SCHEMA_VERSION
    cell: CellSpec
    status: Status
    reason: Reason | None = None
    metrics: dict[str, Quantity] = Field(default_factory=dict)
    rounds: tuple[RoundRecord, ...] = ()
    artifact: Artifact | None = None
    settings: Settings = Settings()
    warnings: tuple[Notice, ...] = ()
    causes: tuple[Cause, ...] = ()
    meets_target: bool | None = None
    meets_quality: bool | None = None


class Assumption(Frozen):
    """One figure that was not measured here and that a conclusion leans on."""

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    source: str
    date: str
    assumed: bool


class RunManifest(Frozen):
    """One invocation: what was asked, on what, with which figures, and which cells it spans."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    created: str
    finished: str | None = None
    leptonbench_version: str
    git_commit: str | None = None
    git_dirty: bool | None = None
    command: tuple[str, ...]
    suite: SuiteSpec
    workloads: tuple[WorkloadSpec, ...]
    variants: tuple[VariantSpec, ...]
    devices: tuple[DeviceProfile, ...]
    cells: tuple[CellSpec, ...]
    settings: Settings
    seed: int
    fingerprint: Fingerprint
    assumptions: tuple[Assumption, ...] = ()
    null_query_s: float | None = None
    notices: tuple[Notice, ...] = ()
