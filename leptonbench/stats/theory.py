"""How much faster a variant could be if arithmetic were all: a bound to hold a measured speedup against."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from leptonbench.schema import Fact, IsaRule, IsaTable


class TheoreticalSpeedup(NamedTuple):
    """A peak ratio and what it is made of.

    Attributes:
        value: `mac_ratio` x `arithmetic_ratio`.
        low: With the lower end of the arithmetic ratio.
        high: With its upper end.
        mac_ratio: Multiply-accumulates of the baseline over the variant's.
        arithmetic_ratio: Peak arithmetic of the precision over fp32 on this CPU.
        rule: Name of the rule that applied.
        derivation: How the arithmetic ratio follows from the instructions.
        ratio: The ratio with its source, for the list of assumptions.
    """

    value: float
    low: float
    high: float
    mac_ratio: float
    arithmetic_ratio: float
    rule: str
    derivation: str
    ratio: Fact


def peak_rule(table: IsaTable, *, precision: str, cpu_flags: Collection[str]) -> IsaRule | None:
    """Return the rule with the highest ratio whose flags the CPU has; `None` if none speaks of the precision."""
    flags = set(cpu_flags)
    fitting = [rule for rule in table.rules if rule.precision == precision and flags.issuperset(rule.flags)]
    return max(fitting, key=lambda rule: rule.ratio.value, default=None)


def theoretical_speedup(
    macs_base: float, macs_variant: float, *, precision: str, cpu_flags: Collection[str], table: IsaTable
) -> TheoreticalSpeedup | None:
    """Return the peak speedup over the fp32 baseline on a CPU, or `None` where no rule speaks of the precision on it.

    Memory traffic, conversions and whatever stays in fp32 are left out, so a measured speedup is usually lower; it is
    higher where memory is the limit and the variant's weights are smaller.

    Args:
        macs_base: Multiply-accumulates of one sample of the fp32 baseline.
        macs_variant: Those of the variant (fewer after structured pruning).
        precision: What the variant computes in: `fp32`, `bf16`, `fp16` or `int8`.
        cpu_flags: The CPU's flags, in Linux's spelling.
        table: `hardware_profiles/isa.yaml`.

    Raises:
        ValueError: If a count is not positive.
    """
    if not (macs_base > 0 and macs_variant > 0):
        raise ValueError(f"counts of multiply-accumulates are positive, got {macs_base} and {macs_variant}")
    rule = peak_rule(table, precision=precision, cpu_flags=cpu_flags)
    if rule is None:
        return None
    macs, ratio = macs_base / macs_variant, rule.ratio
    return TheoreticalSpeedup(
        value=macs * ratio.value,
        low=macs * (ratio.value if ratio.low is None else ratio.low),
        high=macs * (ratio.value if ratio.high is None else ratio.high),
        mac_ratio=macs,
        arithmetic_ratio=ratio.value,
        rule=rule.name,
        derivation=rule.derivation,
        ratio=ratio,
    )
