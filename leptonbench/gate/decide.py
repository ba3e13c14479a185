"""Verdicts from figures: pure, with no clock, no files and no globals.

A pass of the duet layer gives each cell pairs of base and head, and of base and base (the control) from the same
schedule. A flag is a suspicion; only a second, independent pass makes it a regression, judged on its own pairs alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist, median
from typing import NamedTuple

from leptonbench.gate.model import Finding, Layer, Pass, Rules, Verdict
from leptonbench.schema import Provenance, Quantity
from leptonbench.stats.paired import PairedRatio, holm, paired_ratio, robust_sd

LATENCY = "latency_p50"
_POWER = 0.9  # of the smallest change that a gate says it could have seen


class Duet(NamedTuple):
    """One pass over one cell, computed.

    Attributes:
        head: Head over base.
        control: Base over base, of the same schedule.
        slower_s: Median difference of a pair in seconds, head less base.
        base_s: Median of the base in seconds.
    """

    head: PairedRatio
    control: PairedRatio
    slower_s: float
    base_s: float


def duet(measured: Pass, rules: Rules) -> Duet:
    """Compute a pass.

    Raises:
        ValueError: If the pass has no pairs, or a value is not finite and positive.
    """
    return Duet(
        head=paired_ratio(measured.base_s, measured.head_s, confidence=rules.confidence),
        control=paired_ratio(measured.base_s, measured.control_s, confidence=rules.confidence),
        slower_s=median(head - base for base, head in zip(measured.base_s, measured.head_s, strict=True)),
        base_s=median(measured.base_s),
    )


def noise(found: Duet) -> float:
    """Return the relative noise of one pair: the control's, in which nothing but noise can be."""
    return math.expm1(found.control.spread)


def wants_more(measured: Pass, rules: Rules) -> bool:
    """Return whether the noise asks for the larger number of pairs; the head's figures have no say in it."""
    n = len(measured.base_s)
    ratios = [math.log(control / base) for base, control in zip(measured.base_s, measured.control_s, strict=True)]
    return n < rules.pairs[1] and math.expm1(robust_sd(ratios)) > rules.noise_more


def control_moved(found: Duet, rules: Rules) -> bool:
    """Return whether base and base differ by what would be called a change: then nothing can be said of the head."""
    control = found.control
    return abs(control.value) >= math.log1p(rules.delta) and (control.low > 0 or control.high < 0)


def flagged(found: Duet, rules: Rules) -> bool:
    """Return whether the head looks slower.

    Estimate at least `delta` and the floor, and a lower bound above 0; on a machine noisier than `noise_most` above
    `delta` itself, for bounds of so much noise are wide and seldom right by chance alone.
    """
    return _slower(found, rules) and found.slower_s >= rules.floor_s


def _slower(found: Duet, rules: Rules) -> bool:
    return found.head.value >= math.log1p(rules.delta) and found.head.low > _bar(found, rules)


def improved(found: Duet, rules: Rules) -> bool:
    """Return whether the head looks faster, by the same rule the other way round."""
    head = found.head
    return (
        head.value <= -math.log1p(rules.delta) and head.high < -_bar(found, rules) and found.slower_s <= -rules.floor_s
    )


def _bar(found: Duet, rules: Rules) -> float:
    """Return the log ratio that the bound of a flag must be beyond."""
    return math.log1p(rules.delta) if noise(found) > rules.noise_most else 0.0


def suspects(first: Mapping[str, Pass], rules: Rules) -> tuple[str, ...]:
    """Return the cells that a second pass must confirm: flagged, with a control that did not move."""
    found = {key: duet(measured, rules) for key, measured in first.items()}
    return tuple(key for key, one in found.items() if flagged(one, rules) and not control_moved(one, rules))


def confirmed(second: Mapping[str, Pass], rules: Rules) -> frozenset[str]:
    """Return which suspects are flagged again in a pass of their own, over all of which Holm's correction holds."""
    found = {key: duet(measured, rules) for key, measured in second.items()}
    stands = holm({key: one.head.p_larger for key, one in found.items()}, alpha=1.0 - rules.confidence)
    return frozenset(key for key in stands if flagged(found[key], rules))


def judge_duet(first: Pass, rules: Rules, *, second: Pass | None = None, stands: bool | None = None) -> Finding:
    """Return what the duet layer says of one cell.

    Args:
        first: The first pass.
        rules: When to speak.
        second: The confirming pass of a suspect.
        stands: Whether the suspicion stood in it, among all suspects; `None` where no second pass was made.

    Raises:
        ValueError: If a second pass comes without its outcome.
    """
    if second is not None and stands is None:
        raise ValueError("a confirming pass has an outcome")
    measured = second or first
    found = duet(measured, rules)
    verdict, reason, hint = _verdict(found, rules, confirming=second is not None, stands=stands)
    ratio = found.head.ratio()
    return Finding(
        layer=Layer.DUET,
        metric=LATENCY,
        verdict=verdict,
        reason=reason,
        hint=hint,
        base=_seconds(measured.base_s),
        head=_seconds(measured.head_s),
        change=Quantity(
            value=ratio.value,
            low=ratio.low,
            high=ratio.high,
            unit="1",
            n=ratio.n,
            confidence=ratio.confidence,
            provenance=Provenance.MEASURED,
            method=ratio.method,
        ),
        p_value=found.head.p_larger,
        noise=noise(found),
        seen=smallest_seen(found, rules),
    )


def smallest_seen(found: Duet, rules: Rules) -> float:
    """Return the smallest relative slowdown that such pairs flag nine times out of ten; a red is two flags in a row.

    All that a flag wants must come out: the estimate at `delta` and at the floor (a true change of just that size is
    estimated below it every other time), and the bound beyond its bar.
    """
    least = max(math.log1p(rules.delta), math.log1p(rules.floor_s / found.base_s))
    bound = _bar(found, rules) + NormalDist().inv_cdf(rules.confidence) * found.head.error
    return math.expm1(max(least, bound) + NormalDist().inv_cdf(_POWER) * found.head.error)


def _verdict(found: Duet, rules: Rules, *, confirming: bool, stands: bool | None) -> tuple[Verdict, str, str]:
    if control_moved(found, rules):
        moved = math.expm1(found.control.value)
        return (
            Verdict.INVALID,
            f"the control moved: the base differs from itself by {moved:+.1%}",
            "the machine is not steady; run the gate again when it is quieter",
        )
    slower = math.expm1(found.head.value)
    if flagged(found, rules):
        if confirming and stands:
            return Verdict.REGRESSED, f"{slower:+.1%}, confirmed by a second pass", ""
        if confirming:
            return Verdict.INCONCLUSIVE, f"{slower:+.1%} does not stand among all that was confirmed", ""
        return (
            Verdict.INCONCLUSIVE,
            f"{slower:+.1%} in the first pass, not confirmed yet",
            "confirm it on another runner: `leptonbench gate ... --confirm gate.json`",
        )
    if improved(found, rules):
        return Verdict.IMPROVED, f"{slower:+.1%}", ""
    if math.expm1(found.head.high) < rules.promise:
        after = " in the second pass: the first one's suspicion was not confirmed" if confirming else ""
        return Verdict.PASS, f"{slower:+.1%}, less than {rules.promise:.0%} for sure{after}", ""
    if _slower(found, rules):
        return (
            Verdict.INCONCLUSIVE,
            f"{slower:+.1%} or {1e6 * found.slower_s:.3g} us: below the floor of {1e6 * rules.floor_s:.3g} us",
            "lower `floor_s` under `[gate.rules]` to gate so fast a model",
        )
    return (
        Verdict.INCONCLUSIVE,
        f"{slower:+.1%}, at most {math.expm1(found.head.high):+.1%}; "
        f"this run could have seen {smallest_seen(found, rules):.1%} or more",
        "a quieter machine or more `pairs` tell smaller changes",
    )


def _seconds(values: tuple[float, ...]) -> Quantity:
    """Return a side's median over its processes; the spread between the sides is in the ratio, not here."""
    return Quantity(
        value=median(values),
        unit="s",
        low=min(values),
        high=max(values),
        n=len(values),
        provenance=Provenance.MEASURED,
        method=f"median of {len(values)} processes' medians; the range is the fastest and the slowest process",
    )
