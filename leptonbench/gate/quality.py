"""Are the head's answers worse? Pure: both sides' answers to the same evaluation samples in, a finding out.

As elsewhere in leptonbench the floor is judged by the value: the head keeps a share of the base's quality. Below it,
the paired test says whether the samples can tell: McNemar's exact test for classes, the metric's own paired interval
(a bootstrap over images or utterances) otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leptonbench.gate.model import Answers, Finding, Layer, Rules, Verdict
from leptonbench.schema import Provenance, Quantity
from leptonbench.stats.proportion import mcnemar_exact
from leptonbench.tasks import Metric

TOP1 = "top-1"


def judge_quality(base: Answers | None, head: Answers | None, metric: Metric, rules: Rules) -> Finding:
    """Compare the quality of both sides of a cell, sample by sample."""
    if base is None or head is None:
        side = "base" if base is None else "head"
        return _without(f"the {side} has no answers to compare")
    if base.targets != head.targets or base.metric != head.metric:
        return _without("the two sides were asked other samples, or by another metric")
    order = sorted(base.answers)
    truth = [base.targets[index] for index in order]
    ours, theirs = ([side.answers[index] for index in order] for side in (head, base))
    difference = metric.difference(ours, theirs, truth)
    change = Quantity(
        value=difference.value,
        low=difference.low,
        high=difference.high,
        unit="1",
        n=difference.n,
        confidence=difference.confidence,
        provenance=Provenance.MEASURED,
        name=base.metric,
        method=f"head less base on the same samples; {difference.method}",
    )
    p_value, worse, better = _tested(base, head, change, order, rules)
    verdict, reason, hint = _verdict(base.quality, head.quality, change, worse=worse, better=better, rules=rules)
    if all(metric.same(one, other) for one, other in zip(ours, theirs, strict=True)):
        reason = f"all {len(order)} answers are the same"
    return Finding(
        layer=Layer.QUALITY,
        metric="quality",
        verdict=verdict,
        reason=reason,
        hint=hint,
        base=base.quality,
        head=head.quality,
        change=change,
        p_value=p_value,
    )


def _tested(
    base: Answers, head: Answers, change: Quantity, order: list[int], rules: Rules
) -> tuple[float | None, bool, bool]:
    """Return the p-value where there is a test, and whether the head is significantly worse or better."""
    value = change.value or 0.0
    if base.metric == TOP1:
        only_base, only_head = _discordant(base.answers, head.answers, base.targets, order)
        p_value = mcnemar_exact(only_base, only_head)
        significant = p_value <= 1.0 - rules.confidence
        return p_value, significant and value < 0, significant and value > 0
    worse = change.high is not None and change.high < 0
    better = change.low is not None and change.low > 0
    return None, worse, better


def _discordant(
    base: Mapping[int, Any], head: Mapping[int, Any], targets: Mapping[int, Any], order: list[int]
) -> tuple[int, int]:
    right = [(base[index] == targets[index], head[index] == targets[index]) for index in order]
    return sum(one and not other for one, other in right), sum(other and not one for one, other in right)


def _verdict(
    base: Quantity, head: Quantity, change: Quantity, *, worse: bool, better: bool, rules: Rules
) -> tuple[Verdict, str, str]:
    before, after = base.value or 0.0, head.value or 0.0
    words = f"{before:.4f} became {after:.4f} on {change.n} samples"
    if after < rules.kept * before:
        if worse:
            return Verdict.REGRESSED, f"{words}: below {rules.kept:.0%} of the base", ""
        return (
            Verdict.INCONCLUSIVE,
            f"{words}: below {rules.kept:.0%} of the base, and so few samples cannot tell it from chance",
            "raise `quality_samples`",
        )
    return (Verdict.IMPROVED if better else Verdict.PASS), words, ""


def _without(reason: str) -> Finding:
    return Finding(
        layer=Layer.QUALITY,
        metric="quality",
        verdict=Verdict.INCOMPARABLE,
        reason=reason,
        hint="both sides need the same evaluation data and the same task",
    )
