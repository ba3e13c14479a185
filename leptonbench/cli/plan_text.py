"""How a procurement plan is worded on a terminal."""

from __future__ import annotations

from leptonbench.cli import console
from leptonbench.cli.console import Column
from leptonbench.cli.wording import counted, plain_text
from leptonbench.report.plan_view import PlanView, as_figure, build_plan_view, percent, plan_translator
from leptonbench.schema import Provenance, Quantity
from leptonbench.schema.plan import PlanDocument

_LINES = 15  # of the table; --json and --out have all


def show_document(document: PlanDocument) -> None:
    """Print the answer, the cheapest choices, what would change the answer, and what it rests on."""
    view = build_plan_view(document, plan_translator("en"))
    console.out(plain_text(view.asked))
    console.out()
    for sentence in view.answer:
        console.out(plain_text(sentence))
    console.out()
    _show_choices(view)
    console.out()
    console.out("what would have to change")
    for sentence in view.flips:
        console.out(f"  {plain_text(sentence)}")
    for one, name in view.volumes:
        console.out(f"  at {one.factor:g} times the demand: {plain_text(name)}, {_text(one.usd_horizon)}")
    _show_unpriced(view)
    _show_unfit(view)
    assumed = sum(row.assumed for row in document.assumptions)
    console.say(
        f"rests on {counted(len(document.assumptions), 'figure')} not measured here, {assumed} of them judgements: "
        "--json and --out list them"
    )
    for notice in document.warnings:
        console.say(f"warning: {notice.message}" + (f"; {notice.hint}" if notice.hint else ""))


def _show_choices(view: PlanView) -> None:
    document = view.document
    columns = [Column("cell")]
    titles = (
        "units",
        "busy",
        f"p{100 * document.target.percentile:g}",
        "bought",
        "USD a month",
        f"USD over {document.horizon_years:g} a",
        "USD per million",
        "break-even use",
        "power",
        "carbon a month",
    )
    columns += [Column("terms"), *(Column(title, right=True) for title in titles)]
    lines = {(line.row.cell.key, line.choice.terms): line for line in view.lines}
    rows = []
    for place, _ in view.ranking[:_LINES]:
        line = lines[(place.cell, place.terms)]
        row, choice = line.row, line.choice
        mark = " (tied)" if place.tied else ""
        rows.append(
            [
                line.name,
                choice.terms.value + mark,
                _text(row.required, "count") + ("" if row.required.high is not None else " [open]"),
                percent(row.utilisation_peak.value or 0.0).replace("\u00a0", " "),
                _text(row.latency),
                str(choice.units),
                _text(choice.usd_per_month),
                _text(choice.usd_horizon),
                _text(choice.usd_per_million),
                "-" if choice.break_even.value is None else percent(choice.break_even.value).replace("\u00a0", " "),
                _text(choice.power_peak_w),
                _text(choice.carbon_kg_per_month),
            ]
        )
    console.table(columns, rows)
    if len(view.ranking) > _LINES:
        console.say(f"and {counted(len(view.ranking) - _LINES, 'more choice')}: --json and --out have all")


def _text(quantity: Quantity, kind: str = "own") -> str:
    shown = as_figure(quantity, kind)
    if shown.value is None:
        return "-"
    unit = "" if shown.unit in ("", "1", "USD") else f" {shown.unit}"
    span = f" [{shown.low_text}, {shown.high_text}]" if shown.span else ""
    mark = "" if quantity.provenance is Provenance.MEASURED else f" ({quantity.provenance})"
    return f"{shown.text}{unit}{span}" + (mark if quantity.unit == "USD" else "")


def _show_unpriced(view: PlanView) -> None:
    """Name the feasible cells that have no price at all; --json and --out have the reason of each kind of terms."""
    priced = {line.row.cell.key for line in view.lines}
    bare = [row for row in view.document.rows if row.reason is None and row.cell.key not in priced]
    if not bare:
        return
    console.out()
    console.out("feasible, and without any price")
    for row in bare:
        whys = "; ".join(dict.fromkeys(absence.why for absence in row.absent))
        console.out(f"  {row.cell.key}: {_text(row.required, 'count')} units; {whys}")


def _show_unfit(view: PlanView) -> None:
    if not view.unfit:
        return
    reasons: dict[str, list[str]] = {}
    for name, row in view.unfit:
        reasons.setdefault(row.reason.message if row.reason else "", []).append(name)
    console.out()
    console.out("not feasible, or not eligible")
    for why, names in reasons.items():
        console.out(f"  {why}: {', '.join(names)}")
