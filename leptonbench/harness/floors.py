"""Whether a variant's answers are good enough for its speed to count: backends are judged before they are searched.

Backends do not share kernels, so a quantised variant may keep its quality on one and lose it on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from leptonbench.errors import MeasurementError
from leptonbench.harness.aggregate import clears, quality_delta
from leptonbench.harness.budget import PREPARE_SHARE
from leptonbench.harness.jobs import Score
from leptonbench.harness.plan import RunPlan
from leptonbench.harness.run import Run
from leptonbench.harness.scoring import Ask, score_group
from leptonbench.schema import CellSpec, QualitySpec, Reason
from leptonbench.tasks import Metric

BASELINE = "fp32"
_SHARE = 0.20  # of the budget, after preparation: scores come from the cache from the second search on
_NO_TIME = "the budget left no time to score it"


class Judgement(NamedTuple):
    """Whether answers meet their floors, `None` where nothing tells, and the figures or the reason in words."""

    meets: bool | None
    words: str


def judge(score: Score, base: Score | str, *, metric: Metric, quality: QualitySpec, relative_floor: float) -> Judgement:
    """Hold a score against the workload's floor and against the drop from fp32 that is allowed.

    Args:
        score: Of the variant.
        base: Of fp32 on the same backend, `score` itself where that is the variant; else why there is none.
        metric: Of the workload.
        quality: Its floor.
        relative_floor: Least share of fp32's quality.
    """
    found = score.quality
    name = found.name or quality.name
    if found.value is None:
        return Judgement(None, f"{name} is unknown: {found.why_null}")
    words = [f"{name} is {found.value:.4g} and must be {quality.floor:.4g}"] if quality.floor else []
    if isinstance(base, str):
        if clears(found, quality.floor) is False:
            return Judgement(False, words[0])
        words.append(f"how much of fp32's {name} it keeps is unknown: {base}")
        return Judgement(None, "; ".join(words))
    if base.group == score.group:
        return Judgement(clears(found, quality.floor), words[0] if words else f"{name} is {found.value:.4g}, as fp32")
    delta = quality_delta(score, base, metric)
    allowed = -(1 - relative_floor) * (base.quality.value or 0.0)
    kept = clears(delta, allowed)
    if kept is None:
        words.append(f"its difference from fp32 is unknown: {delta.why_null}")
    else:
        words.append(f"it differs from fp32's by {delta.value:+.4f} and may by {allowed:+.4f}")
    verdicts = (clears(found, quality.floor), kept)
    meets = False if False in verdicts else None if None in verdicts else True
    return Judgement(meets, "; ".join(words))


class Floors:
    """Scores of the variant and of fp32 on every backend, each with its default engine.

    Args:
        run: Prepared with the variant and with fp32.
        baselines: The cells of fp32; none where that is the variant.

    Attributes:
        references: Scores of fp32 by backend, or why there is none.
        judgements: By backend.
    """

    def __init__(self, run: Run, baselines: Sequence[CellSpec]) -> None:
        self.run = run
        self.baselines = {cell.backend: cell for cell in baselines}
        self.references: dict[str, Score | str] = {}
        self.judgements: dict[str, Judgement] = {}

    def judge_backends(self, cells: Sequence[CellSpec]) -> dict[str, str]:
        """Score each backend's default and fp32 on it; return what is below the floor or cannot be scored, and why.

        Args:
            cells: One a backend.

        Raises:
            UsageError: If the user's data cannot be read.
        """
        refused: dict[str, str] = {}
        for number, cell in enumerate(cells):
            left = 2 * (len(cells) - number)
            score = self.score(cell, groups=left)
            self.references[cell.backend] = self.baseline(cell, score, groups=left - 1)
            if isinstance(score, Reason):
                refused[cell.backend] = f"it could not be scored: {score.message}"
                continue
            self.judgements[cell.backend] = found = self.judged(cell, score)
            if found.meets is False:
                refused[cell.backend] = f"its quality is below the floor: {found.words}"
        return refused

    def baseline(self, cell: CellSpec, score: Score | Reason | None, *, groups: int) -> Score | str:
        """Return fp32's score on a cell's backend with the same engine settings, or why there is none."""
        if cell.variant == BASELINE:
            return score if isinstance(score, Score) else _NO_TIME
        usual = self.baselines.get(cell.backend)
        if usual is None:
            return f"{cell.backend} does not run fp32 here"
        refusal = self.run.pantry.refusal(usual.model_copy(update={"batch": 1}))
        if refusal is not None:
            return refusal.reason.message if refusal.reason else refusal.status.value
        found = self.score(cell.model_copy(update={"variant": BASELINE}), groups=groups)
        if isinstance(found, Score):
            return found
        return _NO_TIME if found is None else found.message

    def score(self, cell: CellSpec, *, groups: int) -> Score | Reason | None:
        """Return the score of a cell's group, why it could not be scored, or `None` where there was no time.

        Args:
            cell: Whose group is meant.
            groups: That share the time left, this one included.
        """
        run = self.run
        run.progress.phase(f"score {cell.workload}, {cell.variant} on {cell.backend}")
        samples = run.plan.scored_samples(cell)
        left_s = run.budget.until_s(PREPARE_SHARE + _SHARE)
        job = run.job(cell, mode="score", out=Path(), samples=samples)
        job = job.model_copy(update={"score_limit_s": None if left_s is None else left_s / groups})
        data_sha256 = run.pantry.prepared[cell.workload].data_sha256
        return score_group(Ask(job, data_sha256, run.score_timeout_s(cell, samples), only_cached=left_s == 0))

    def judged(self, cell: CellSpec, score: Score | None) -> Judgement:
        """Judge a score of a cell on one of the backends, whatever its other settings."""
        if score is None:
            return Judgement(None, _NO_TIME)
        plan = self.run.plan
        quality = plan.workload(cell).spec.quality
        return judge(
            score,
            score if cell.variant == BASELINE else self.references[cell.backend],
            metric=self.run.pantry.task(cell.workload).metric,
            quality=quality,
            relative_floor=plan.suite.relative_floor or quality.relative_floor,
        )

    def lend(self, cells: Sequence[CellSpec]) -> None:
        """Let cells with other engine settings be held against fp32 on their backend: its answers are the same."""
        for cell in cells:
            reference = self.references.get(cell.backend)
            if cell.variant != BASELINE and isinstance(reference, Score):
                self.run.scores[cell.model_copy(update={"variant": BASELINE}).group] = reference


def none_left(variant: str, reasons: dict[str, str]) -> MeasurementError:
    """Say that no backend keeps the variant's quality."""
    return MeasurementError(
        f"no backend keeps the quality that is asked of `{variant}`",
        cause="; ".join(f"{name}: {why}" for name, why in reasons.items()),
        hint="name another --variant; the floors are in the workload's workload.yaml",
    )


def of_variant(plan: RunPlan, variant: str) -> RunPlan:
    """Return the part of a plan that is about one variant."""
    suite = plan.suite.model_copy(update={"variants": (variant,)})
    cells = tuple(cell for cell in plan.cells if cell.variant == variant)
    skipped = tuple(record for record in plan.skipped if record.cell.variant == variant)
    return RunPlan(suite, plan.workloads, plan.variants, cells, skipped, plan.notices)
