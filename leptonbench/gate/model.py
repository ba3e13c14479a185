"""What a gate is asked, what it finds, and the words for it: frozen models, written to `gate.json`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from leptonbench.errors import EXIT_INVALID, EXIT_OK, EXIT_REGRESSION
from leptonbench.schema import CellSpec, Frozen, Identity, Notice, Quantity, Reason, TensorSpec

GATE_SCHEMA_VERSION = 1
GATE_FILE = "gate.json"


class Verdict(StrEnum):
    """What a layer says of the head, from the best to the worst."""

    PASS = "pass"  # noqa: S105 - a verdict
    IMPROVED = "improved"
    INCOMPARABLE = "incomparable"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"
    CHANGED = "changed"
    REGRESSED = "regressed"

    @property
    def exit_code(self) -> int:
        """Return the exit code that the verdict stands for."""
        if self in (Verdict.PASS, Verdict.IMPROVED):
            return EXIT_OK
        return EXIT_REGRESSION if self in (Verdict.CHANGED, Verdict.REGRESSED) else EXIT_INVALID


_ORDER = tuple(Verdict)


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return what several verdicts come to: the worst; an improvement of one excuses nothing of another.

    Raises:
        ValueError: If there is none: a gate that looked at nothing has no verdict.
    """
    return max(verdicts, key=_ORDER.index)


class Layer(StrEnum):
    """What kind of question a finding answers."""

    EXACT = "exact"
    DUET = "duet"
    QUALITY = "quality"
    BUDGET = "budget"


class Rules(Frozen):
    """When the gate speaks.

    Attributes:
        delta: Smallest relative change worth a word.
        promise: Relative change that the gate promises to catch: a pass says that the head is not slower by so much.
        floor_s: Smallest change of the latency in seconds that counts.
        confidence: Of each bound.
        pairs: Pairs at first, and where the noise asks for more.
        noise_more: Relative noise of one pair above which more pairs are measured.
        noise_most: Relative noise above which a flag also wants the lower bound beyond `delta`.
        kept: Share of the base's quality that the head must keep.
    """

    delta: float = Field(default=0.03, gt=0, lt=1)
    promise: float = Field(default=0.05, gt=0, lt=1)
    floor_s: float = Field(default=50e-6, ge=0)
    confidence: float = Field(default=0.99, gt=0.5, lt=1)
    pairs: tuple[int, int] = (20, 30)
    noise_more: float = Field(default=0.03, gt=0)
    noise_most: float = Field(default=0.08, gt=0)
    kept: float = Field(default=0.99, gt=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Rules:
        if not 5 <= self.pairs[0] <= self.pairs[1] <= 200:
            raise ValueError("`pairs` are two numbers from 5 to 200, the first not above the second")
        if self.promise < self.delta:
            raise ValueError("`promise` is at least `delta`: what is not worth a word cannot be promised")
        return self


class Pass(Frozen):
    """One schedule of processes: one value each, in the order of the pairs; base, head, and the base once more."""

    base_s: tuple[float, ...]
    head_s: tuple[float, ...]
    control_s: tuple[float, ...]


class Finding(Frozen):
    """What one layer says of one metric of one cell.

    Attributes:
        base: The base's figure.
        head: The head's.
        change: Head over base, or head less base for quality (its unit says which), with its bounds.
        p_value: That there is no change for the worse.
        noise: Relative standard deviation of one pair of the same thing.
        seen: Smallest relative change that this gate could have seen.
        stated: For what is no number: base and head as text.
        hint: What the user can do.
    """

    layer: Layer
    metric: str
    verdict: Verdict
    reason: str
    hint: str = ""
    base: Quantity | None = None
    head: Quantity | None = None
    change: Quantity | None = None
    p_value: float | None = None
    noise: float | None = None
    seen: float | None = None
    stated: tuple[str, str] | None = None


class Shown(Frozen):
    """A figure of both sides that is told and never judged."""

    metric: str
    base: Quantity
    head: Quantity
    change: Quantity


class CellResult(Frozen):
    """Everything about one cell.

    Attributes:
        base_cell: The base's cell, where it is another variant or backend than the head's.
        passes: The raw values, first pass and confirmation, so that any figure can be computed again.
    """

    cell: CellSpec
    base_cell: CellSpec | None = None
    verdict: Verdict
    findings: tuple[Finding, ...]
    shown: tuple[Shown, ...] = ()
    passes: tuple[Pass, ...] = ()


class SideInfo(Frozen):
    """What a side was."""

    given: str
    kind: str
    commit: str | None = None
    leptonbench_version: str = ""
    identity: Identity | None = None


class GateResult(Frozen):
    """The outcome of one gate, and everything behind it."""

    schema_version: int = GATE_SCHEMA_VERSION
    created: str
    wall_s: float
    verdict: Verdict
    advisory: bool
    base: SideInfo
    head: SideInfo
    rules: Rules
    cells: tuple[CellResult, ...]
    notices: tuple[Notice, ...] = ()

    @property
    def exit_code(self) -> int:
        """Return the process's exit code; an advisory gate passes whatever it finds."""
        return EXIT_OK if self.advisory else self.verdict.exit_code


PROTOCOL = 1
"""Of the messages between the gate and the process that prepares a side, which may be another leptonbench."""


class SideJob(Frozen):
    """What a side is to prepare."""

    protocol: int = PROTOCOL
    suite: str
    workload: str
    variants: tuple[str, ...]
    backends: tuple[str, ...]
    scenarios: tuple[str, ...]
    model: str | None
    data: str | None
    threads: int | None
    window_s: float
    quality_samples: int
    seed: int


class Answers(Frozen):
    """A side's answers to the evaluation samples, by sample."""

    metric: str
    quality: Quantity
    answers: dict[int, Any]
    targets: dict[int, Any]


class SideCell(Frozen):
    """One cell of a side, ready to be measured.

    Attributes:
        reason: Why it cannot be measured, if so.
        job: The worker's job, a message of the side's own leptonbench; the gate sets its round and folder only.
        exact: Counts on what was prepared, by metric.
        absent: Exact metrics that cannot be had, with the reason.
        data_sha256: Of the evaluation data.
    """

    cell: CellSpec
    reason: Reason | None = None
    job: dict[str, Any] | None = None
    timeout_s: float = 120.0
    exact: dict[str, int | str] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    artifact_sha256: str = ""
    data_sha256: str = ""
    answers: Answers | None = None


class SideReport(Frozen):
    """What a side prepared."""

    protocol: int = PROTOCOL
    leptonbench_version: str
    identity: Identity
    cells: tuple[SideCell, ...] = ()
    notices: tuple[Notice, ...] = ()
    error: dict[str, str] | None = None


class Candidate(NamedTuple):
    """One cell on both sides."""

    key: str
    base: SideCell
    head: SideCell


Kind = Literal["onnx", "folder", "config", "tree", "ref"]
