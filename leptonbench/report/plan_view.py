"""What a plan says to someone who has to choose: sentences and tables in the reader's language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from leptonbench.report.i18n import Translator, load_messages
from leptonbench.report.naming import Namer
from leptonbench.report.numbers import NO_VALUE, Figure, Scale, figure, write
from leptonbench.schema import Provenance, Quantity
from leptonbench.schema.plan import AtVolume, Flip, PlanChoice, PlanDocument, PlanRow, Ranked
from leptonbench.schema.prices import Terms

_SCALES = {"percent": Scale(0.01, "%"), "count": Scale(1, "", 0), "own": None}
_FLIPS = 5  # sentences; further figures would have to change more


def plan_translator(lang: str) -> Translator:
    """Return the translator of the plan's own messages beside the report's.

    Raises:
        UsageError: If there is no such language.
    """
    return Translator(lang, load_messages(lang) | load_messages(lang, "plan"))


class PlanLine(NamedTuple):
    """One choice as a row of the table of cells.

    Attributes:
        first: Whether it is its cell's first row, which carries what all of its choices share.
        span: Rows of the cell.
        row: The cell.
        name: Of the cell.
        choice: On one kind of terms.
    """

    first: bool
    span: int
    row: PlanRow
    name: str
    choice: PlanChoice


class Unpriced(NamedTuple):
    """Why cells cannot be had on some terms.

    Attributes:
        why: In the plan's own words.
        terms: On which.
        cells: Names, with the units that they would need.
    """

    why: str
    terms: Terms
    cells: tuple[str, ...]


class PlanView(NamedTuple):
    """A plan ready to be shown.

    Attributes:
        asked: The question, in one paragraph.
        answer: Sentences: the first choice, who ties with it, who is next.
        flips: Sentences: what would have to change.
        lines: Feasible cells by choice, the cheapest first.
        unpriced: Why a feasible cell has no price on some terms, each reason once, with terms and cells.
        unfit: Cells that are infeasible or not eligible, with their names.
        volumes: The cheapest choice at other volumes, with its name.
        ranking: Places with their names.
    """

    document: PlanDocument
    asked: Markup
    answer: tuple[Markup, ...]
    flips: tuple[Markup, ...]
    lines: tuple[PlanLine, ...]
    unpriced: tuple[Unpriced, ...]
    unfit: tuple[tuple[str, PlanRow], ...]
    volumes: tuple[tuple[AtVolume, Markup], ...]
    ranking: tuple[tuple[Ranked, Markup], ...]


class Names:
    """Names of a plan's cells: variant, backend, what tells siblings apart, and the scenario."""

    def __init__(self, document: PlanDocument, translate: Translator) -> None:
        self._cells = {row.cell.key: row.cell for row in document.rows}
        self._namer = Namer(list(self._cells.values()))
        self._translate = translate

    def cell(self, key: str) -> str:
        """Name one cell."""
        cell = self._cells[key]
        return f"{self._namer.short(cell)} · {self._translate(f'scenario.{cell.scenario.value}')}"

    def choice(self, key: str, terms: str) -> Markup:
        """Name one cell on one kind of terms."""
        return self._translate("outcome.named", cell=self.cell(key), terms=self._translate(f"terms.{terms}"))


def percent(value: float) -> str:
    """Write a fraction as per cent."""
    return f"{write(100 * value, 0)}\u00a0%"


def money(quantity: Quantity) -> str:
    """Write dollars with their range: `USD 1,230 (900 to 2,100)`."""
    shown = figure("", quantity)
    if shown.value is None:
        return NO_VALUE
    text = f"USD\u00a0{shown.text}"
    return f"{text} ({shown.span})" if shown.span else text


def as_figure(quantity: Quantity, kind: str = "own") -> Figure:
    """Return how a quantity is shown: `percent` and `count` as they are called, else in the unit that suits it."""
    return figure("", quantity, _SCALES[kind])


def percentile_name(percentile: float) -> str:
    """Return `99 %`."""
    return f"{100 * percentile:.6g}\u00a0%"


def seconds(value_s: float) -> str:
    """Write a time in the unit that suits it."""
    shown = figure("", Quantity(value=value_s, unit="s", provenance=Provenance.ASSUMED))
    return f"{shown.text}\u00a0{shown.unit}"


def build_plan_view(document: PlanDocument, translate: Translator) -> PlanView:
    """Return what a page or a terminal shows of a plan."""
    names = Names(document, translate)
    feasible = [row for row in document.rows if row.reason is None]
    lines: list[PlanLine] = []
    for row in feasible:
        for index, choice in enumerate(row.choices):
            lines.append(PlanLine(index == 0, len(row.choices), row, names.cell(row.cell.key), choice))
    return PlanView(
        document=document,
        asked=_asked(document, translate),
        answer=tuple(_answer(document, names, translate)),
        flips=tuple(_flips(document, names, translate)),
        lines=tuple(lines),
        unpriced=_unpriced(feasible, names),
        unfit=tuple((names.cell(row.cell.key), row) for row in document.rows if row.reason is not None),
        volumes=tuple((one, names.choice(one.cell, one.terms.value)) for one in document.by_volume),
        ranking=tuple((place, names.choice(place.cell, place.terms.value)) for place in document.ranking),
    )


def _unpriced(feasible: Sequence[PlanRow], names: Names) -> tuple[Unpriced, ...]:
    found: dict[tuple[str, Terms], list[str]] = {}
    for row in feasible:
        need = as_figure(row.required, "count").text
        for absence in row.absent:
            found.setdefault((absence.why, absence.terms), []).append(f"{names.cell(row.cell.key)} ({need})")
    return tuple(Unpriced(why, terms, tuple(cells)) for (why, terms), cells in found.items())


def _asked(document: PlanDocument, translate: Translator) -> Markup:
    rates = document.demand.rates_per_s
    n = document.spare_nodes
    spares = translate("page.spares.none") if n == 0 else translate.count("page.spares", n)
    return translate(
        "page.asked",
        rate=_rate(max(rates)),
        mean=_rate(sum(rates) / len(rates)),
        source=document.demand.source,
        percentile=percentile_name(document.target.percentile),
        latency=seconds(document.target.latency_s),
        spares=spares,
        region=document.region,
        years=f"{document.horizon_years:g}",
        day=document.as_of,
    )


def _rate(per_s: float) -> str:
    return f"{per_s:,.4g}/s"


def _answer(document: PlanDocument, names: Names, translate: Translator) -> list[Markup]:
    if not document.ranking:
        return [translate("outcome.none")]
    first, *others = document.ranking
    sentences = [_best(document, first, names, translate)]
    tied = [names.choice(place.cell, place.terms.value) for place in others if place.tied]
    sentences.append(translate("outcome.tied", names=translate.join(tied)) if tied else translate("outcome.clear"))
    clear = next((place for place in others if not place.tied), None)
    if clear is not None:
        more = (clear.usd_horizon.value or 0.0) / (first.usd_horizon.value or 1.0) - 1
        name = names.choice(clear.cell, clear.terms.value)
        sentences.append(translate("outcome.next", name=name, usd=money(clear.usd_horizon), more=percent(more)))
    return sentences


def _best(document: PlanDocument, first: Ranked, names: Names, translate: Translator) -> Markup:
    row = next(row for row in document.rows if row.cell.key == first.cell)
    choice = next(choice for choice in row.choices if choice.terms is first.terms)
    units = translate.count("outcome.units", choice.units)
    if choice.nodes != choice.units:
        units = translate("outcome.nodes", units=units, n=choice.nodes)
    return translate(
        "outcome.best",
        years=f"{document.horizon_years:g}",
        cell=names.cell(first.cell),
        terms=translate(f"terms.{first.terms.value}"),
        offer=choice.offer,
        units=units,
        usd=money(choice.usd_horizon),
        busy=percent(row.utilisation_peak.value or 0.0),
        percentile=percentile_name(document.target.percentile),
        latency=seconds(row.latency.value or 0.0),
    )


def _flips(document: PlanDocument, names: Names, translate: Translator) -> list[Markup]:
    if len(document.ranking) < 2:
        return [translate("flips.single")]
    if not document.flips:
        return [translate("flips.none")]
    return [_flip(flip, names, translate) for flip in document.flips[:_FLIPS]]


def _flip(flip: Flip, names: Names, translate: Translator) -> Markup:
    rises = flip.threshold > flip.value
    name = Markup('<span lang="en">{}</span>').format(flip.name) if translate.lang != "en" else flip.name
    return translate(
        "flips.up" if rises else "flips.down",
        name=name,
        value=with_unit(flip.value, flip.unit),
        threshold=with_unit(flip.threshold, flip.unit),
        change=f"{write(100 * (flip.threshold / flip.value - 1), 0, signed=True)}\u00a0%",
        cell=names.cell(flip.cell),
        terms=translate(f"terms.{flip.terms.value}"),
        range=translate("flips.inside" if flip.within_range else "flips.outside"),
    )


def with_unit(value: float, unit: str) -> str:
    """Write an input figure with three digits in its own unit."""
    text = f"{value:,.3g}" if abs(value) < 1e3 else f"{value:,.0f}"
    return text if unit == "1" else f"{text}\u00a0{unit}"
