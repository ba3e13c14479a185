"""Budgets: what a figure must meet, as people write it (`50ms`, `>= 0.98 x base`), and whether it does. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from leptonbench.errors import UsageError
from leptonbench.gate.model import Finding, Layer, Verdict
from leptonbench.registry import closest
from leptonbench.schema import METRICS, Direction, Quantity

_BUDGET = re.compile(
    r"(?P<sign><=|>=|<|>)?\s*(?P<number>\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)\s*(?P<unit>[A-Za-z/%$]*?)"
    r"\s*(?P<base>(?:x|\*|times)\s*base)?"
)
_UNITS: dict[str, dict[str, float]] = {
    "s": {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "J": {"": 1.0, "j": 1.0, "mj": 1e-3, "uj": 1e-6},
    "B": {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30},
    "1/s": {"": 1.0, "/s": 1.0},
    "USD": {"": 1.0, "usd": 1.0, "$": 1.0},
    "1": {"": 1.0, "%": 1e-2},
}
_SHORT = {"p50": "latency_p50", "p90": "latency_p90", "p99": "latency_p99", "p999": "latency_p999"}
_SHORT |= {"energy": "energy_per_inference", "cost": "cost_per_million", "memory": "peak_memory", "size": "model_size"}


class Budget(NamedTuple):
    """One bound.

    Attributes:
        metric: Its tag.
        at_least: Whether the value is the least rather than the most.
        value: In SI, or a share of the base's figure.
        of_base: Whether it is such a share.
        text: As it was written.
    """

    metric: str
    at_least: bool
    value: float
    of_base: bool
    text: str

    def bound(self, base: Quantity | None) -> float | None:
        """Return the bound in SI; `None` where it wants a base's figure that is not there."""
        if not self.of_base:
            return self.value
        return None if base is None or base.value is None else self.value * base.value

    def meets(self, value: float, bound: float) -> bool:
        """Return whether a value is within the bound."""
        return value >= bound if self.at_least else value <= bound


def parse_budget(name: str, text: str) -> Budget:
    """Read a budget: a metric's tag or short name, and `[<= or >=] NUMBER[UNIT] [x base]`.

    Without a sign the metric's own better direction decides.

    Raises:
        UsageError: If the metric is unknown, the text is no bound, or the unit is another metric's.
    """
    tag = _SHORT.get(name, name)
    if tag not in METRICS:
        known = [*METRICS, *_SHORT]
        guess = closest(name, known)
        raise UsageError(
            f"no budget can be set on `{name}`",
            cause="there is no such metric",
            hint=f"did you mean `{guess}`?" if guess else f"metrics: {', '.join(known)}",
        )
    match = _BUDGET.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"`{text}` is no budget for `{name}`", hint='write it like "50ms" or ">= 0.98 x base"')
    of_base = match["base"] is not None
    units = _UNITS["1"] if of_base else _UNITS[METRICS[tag].unit]
    unit = match["unit"].casefold()
    if unit not in units:
        raise UsageError(
            f"`{text}` is no budget for `{name}`",
            cause=f"`{match['unit']}` is no unit of it",
            hint=f"its units: {', '.join(filter(None, units)) or 'none'}",
        )
    sign = match["sign"]
    at_least = sign.startswith(">") if sign else METRICS[tag].direction is Direction.HIGHER
    return Budget(tag, at_least, float(match["number"]) * units[unit], of_base, text)


def judge_budget(budget: Budget, head: Quantity | None, base: Quantity | None) -> Finding:
    """Hold a figure against its budget.

    By its value, as floors of quality are judged; where the interval reaches over the bound the breach is not certain,
    and the finding is inconclusive rather than red.
    """
    bound = budget.bound(base)
    if head is None or head.value is None or bound is None:
        missing = head if bound is not None else base
        why = missing.why_null if missing is not None and missing.why_null else "it was not measured"
        side = "head" if bound is not None else "base"
        return _finding(budget, Verdict.INCOMPARABLE, f"the {side} has no `{budget.metric}`: {why}", head, base)
    sign = "at least" if budget.at_least else "at most"
    words = f"{head.value:.6g} {head.unit}, {sign} {bound:.6g} {head.unit} wanted"
    if budget.meets(head.value, bound):
        return _finding(budget, Verdict.PASS, words, head, base)
    nearest = head.high if budget.at_least else head.low
    if nearest is not None and budget.meets(nearest, bound):
        reason = f"{words}; its interval reaches to {nearest:.6g}, so it is not certain"
        return _finding(budget, Verdict.INCONCLUSIVE, reason, head, base)
    return _finding(budget, Verdict.REGRESSED, words, head, base)


def _finding(budget: Budget, verdict: Verdict, reason: str, head: Quantity | None, base: Quantity | None) -> Finding:
    return Finding(
        layer=Layer.BUDGET,
        metric=budget.metric,
        verdict=verdict,
        reason=f"{reason} (`{budget.text}`)",
        head=head,
        base=base,
    )
