"""What a gate says where people read it: GitHub's annotations and job summary. Pure: a result in, text out."""

from __future__ import annotations

from collections.abc import Iterator

from leptonbench.gate.model import CellResult, Finding, GateResult, Layer, Shown, Verdict
from leptonbench.report.numbers import plain
from leptonbench.schema import METRICS, Direction, Quantity

_LEVEL = {
    Verdict.REGRESSED: "error",
    Verdict.CHANGED: "error",
    Verdict.INVALID: "warning",
    Verdict.INCONCLUSIVE: "warning",
    Verdict.INCOMPARABLE: "warning",
    Verdict.IMPROVED: "notice",
}


def annotation_lines(result: GateResult) -> list[str]:
    """Return GitHub's workflow commands, one a finding that is no pass; an advisory gate warns at most."""
    lines = []
    for cell in result.cells:
        for finding in cell.findings:
            level = _LEVEL.get(finding.verdict)
            if level is None:
                continue
            level = "warning" if result.advisory and level == "error" else level
            title = f"leptonbench: {finding.metric} {finding.verdict.value}"
            text = f"{cell.cell.key}: {finding.reason}" + (f"\n{finding.hint}" if finding.hint else "")
            lines.append(f"::{level} title={_escaped(title, property_=True)}::{_escaped(text)}")
    if not result.cells:
        reasons = "; ".join(notice.message for notice in result.notices)
        title = f"leptonbench: {result.verdict.value}"
        lines.append(f"::warning title={_escaped(title, property_=True)}::{_escaped(reasons)}")
    return lines


def _escaped(text: str, *, property_: bool = False) -> str:
    """Escape as GitHub's own toolkit does (`@actions/core`, command.ts): data by %0A, properties also `:` and `,`."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if property_ else text


def summary(result: GateResult) -> str:
    """Return the job summary in Markdown."""
    advisory = " (advisory: it blocks nothing)" if result.advisory else ""
    lines = [
        f"## leptonbench gate: {result.verdict.value}{advisory}",
        "",
        f"base {_side(result.base.given, result.base.commit)}, head {_side(result.head.given, result.head.commit)}, "
        f"{result.wall_s:.0f} s",
    ]
    for cell in result.cells:
        lines += ["", *_cell(cell)]
    if result.notices:
        lines += ["", *(f"- {notice.code}: {notice.message}" for notice in result.notices)]
    return "\n".join(lines) + "\n"


def _cell(cell: CellResult) -> Iterator[str]:
    yield f"### {cell.cell.key}: {cell.verdict.value}"
    yield ""
    yield "| | metric | verdict | base | head | why |"
    yield "|---|---|---|---|---|---|"
    for finding in cell.findings:
        base, head = sides(finding)
        why = finding.reason.replace("|", "\\|")
        yield f"| {finding.layer.value} | {finding.metric} | {finding.verdict.value} | {base} | {head} | {why} |"
    if cell.shown:
        yield ""
        yield "| also measured or derived | base | head | head / base | |"
        yield "|---|---|---|---|---|"
        for item in cell.shown:
            figures = (amount(item.base, item.metric), amount(item.head, item.metric), change(item), provenance(item))
            yield f"| {METRICS[item.metric].title_en} | {' | '.join(figures)} |"


def sides(finding: Finding) -> tuple[str, str]:
    """Word both sides' figures."""
    if finding.stated is not None:
        return finding.stated[0].replace("|", "\\|"), finding.stated[1].replace("|", "\\|")
    if finding.layer is Layer.EXACT:
        return exactly(finding.base), exactly(finding.head)
    return amount(finding.base, finding.metric), amount(finding.head, finding.metric)


def exactly(quantity: Quantity | None) -> str:
    """Word a count in full: rounded, two that differ could look the same."""
    if quantity is None or quantity.value is None:
        return "-"
    return f"{int(quantity.value):,}" + ("" if quantity.unit == "1" else f" {quantity.unit}")


def amount(quantity: Quantity | None, tag: str = "") -> str:
    """Word a figure in a friendly unit."""
    if quantity is None or quantity.value is None:
        return "-"
    return plain(quantity.value, quantity.unit, tag).replace("\u00a0", " ")


def change(item: Shown | Finding) -> str:
    """Word head over base as a change in percent with its bounds."""
    found = item.change
    if found is None or found.value is None:
        return "-"
    text = f"{found.value - 1:+.1%}"
    if found.low is not None and found.high is not None:
        text += f" [{found.low - 1:+.1%}, {found.high - 1:+.1%}]"
    return text


def provenance(item: Shown) -> str:
    """Say how a figure was obtained, and which way is better."""
    direction = METRICS[item.metric].direction
    better = {Direction.LOWER: "lower is better", Direction.HIGHER: "higher is better"}.get(direction, "")
    origin = item.head.provenance.value if item.head.provenance else ""
    return ", ".join(filter(None, (origin, better)))


def _side(given: str, commit: str | None) -> str:
    return f"`{given}`" + (f" ({commit[:12]})" if commit else "")
