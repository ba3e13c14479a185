"""Which cells of the two sides belong together, and whether they are the same question. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from leptonbench.comparison import identity_differences
from leptonbench.gate.model import Candidate, SideReport, Verdict
from leptonbench.schema import Notice, TensorSpec


def match(base: SideReport, head: SideReport) -> tuple[list[Candidate], list[Notice]]:
    """Pair the cells of both sides by key; where each has just one, they are a pair whatever they are called.

    Returns:
        The candidates, and a notice for each cell that has no counterpart.
    """
    ours, theirs = ({item.cell.key: item for item in report.cells} for report in (head, base))
    if len(ours) == len(theirs) == 1:
        (key, one), (_, other) = *ours.items(), *theirs.items()
        same = one.cell.workload == other.cell.workload and one.cell.scenario is other.cell.scenario
        if same:
            return [Candidate(key, other, one)], []
    alone = [
        Notice(
            code="only-one-side",
            message=f"`{key}` is only in the {side}, and not compared",
            hint="gate the same cells on both sides",
        )
        for side, mine, others in (("head", ours, theirs), ("base", theirs, ours))
        for key in mine
        if key not in others
    ]
    return [Candidate(key, theirs[key], one) for key, one in ours.items() if key in theirs], alone


def environments(base: SideReport, head: SideReport) -> list[Notice]:
    """Return a notice where the sides run in other packages: then these are compared, too."""
    differences = identity_differences(base.identity, head.identity)
    if not differences:
        return []
    words = "; ".join(f"{item.field}: {item.a} | {item.b}" for item in differences)
    hint = "a git ref with `[gate.environment]` installs its own packages, a folder uses the present ones"
    return [
        Notice(code="environments-differ", message=f"base and head are not in equal environments: {words}", hint=hint)
    ]


def unfit(candidate: Candidate) -> tuple[Verdict, str, str] | None:
    """Return why a pair of cells cannot be compared: one cannot run, or they are not the same question."""
    for side, cell in (("base", candidate.base), ("head", candidate.head)):
        if cell.reason is not None or cell.job is None:
            why = cell.reason.message if cell.reason else "it was not prepared"
            return Verdict.INVALID, f"the {side} cannot be measured: {why}", cell.reason.hint if cell.reason else ""
    for name in ("inputs", "outputs"):
        before, after = (getattr(cell, name) for cell in (candidate.base, candidate.head))
        if not fit(before, after):
            hint = "a model that takes or gives something else is another workload"
            return Verdict.INCOMPARABLE, f"the {name} differ: {_shapes(before)} and {_shapes(after)}", hint
    if candidate.base.data_sha256 != candidate.head.data_sha256:
        hint = "give both sides the same `data`"
        return Verdict.INCOMPARABLE, "the evaluation data of the two sides differ", hint
    return None


def fit(base: Sequence[TensorSpec], head: Sequence[TensorSpec]) -> bool:
    """Return whether tensors are of the same types and shapes, in order; a free dimension fits any size."""
    if [(spec.dtype, len(spec.shape)) for spec in base] != [(spec.dtype, len(spec.shape)) for spec in head]:
        return False
    sizes = [pair for one, other in zip(base, head, strict=True) for pair in zip(one.shape, other.shape, strict=True)]
    return all(one is None or other is None or one == other for one, other in sizes)


def _shapes(specs: Sequence[TensorSpec]) -> str:
    """Word shapes and types; names are the exporter's own and say nothing."""
    return ", ".join(f"{s.dtype}[{', '.join('?' if d is None else str(d) for d in s.shape)}]" for s in specs)
