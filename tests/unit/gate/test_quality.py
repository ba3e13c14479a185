"""Answers compared sample by sample."""

from __future__ import annotations

from leptonbench.gate.model import Rules, Verdict
from leptonbench.gate.quality import judge_quality
from leptonbench.tasks.top1 import Top1
from tests.gate_factory import answers

RULES = Rules()


def test_the_same_answers_pass() -> None:
    found = judge_quality(answers(4), answers(4), Top1(), RULES)
    assert found.verdict is Verdict.PASS
    assert found.reason == "all 200 answers are the same"
    assert found.p_value == 1.0


def test_a_real_loss_is_a_regression_with_its_p_value() -> None:
    found = judge_quality(answers(4), answers(24), Top1(), RULES)
    assert found.verdict is Verdict.REGRESSED
    assert found.p_value is not None and found.p_value < 1e-4
    assert found.change is not None and found.change.value == -0.1
    assert found.change.high is not None and found.change.high < 0


def test_a_loss_that_so_few_samples_cannot_tell_from_chance_is_inconclusive() -> None:
    found = judge_quality(answers(1, 20), answers(3, 20), Top1(), RULES)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.hint == "raise `quality_samples`"


def test_a_loss_within_what_may_be_lost_passes() -> None:
    assert judge_quality(answers(4), answers(5), Top1(), RULES).verdict is Verdict.PASS
    assert judge_quality(answers(4), answers(5), Top1(), Rules(kept=1.0)).verdict is Verdict.INCONCLUSIVE


def test_a_gain_is_an_improvement() -> None:
    assert judge_quality(answers(40), answers(4), Top1(), RULES).verdict is Verdict.IMPROVED


def test_other_samples_or_no_answers_are_incomparable() -> None:
    assert judge_quality(answers(4), answers(4, 100), Top1(), RULES).verdict is Verdict.INCOMPARABLE
    assert judge_quality(None, answers(4), Top1(), RULES).verdict is Verdict.INCOMPARABLE
    assert judge_quality(answers(4), answers(4, metric="mAP"), Top1(), RULES).verdict is Verdict.INCOMPARABLE


def test_another_metric_is_judged_by_its_own_paired_interval() -> None:
    base, head = answers(4, metric="own"), answers(60, metric="own")
    found = judge_quality(base, head, Top1(), RULES)
    assert found.verdict is Verdict.REGRESSED and found.p_value is None
