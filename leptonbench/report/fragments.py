"""Small pieces of markup that sentences and templates share: a figure, a badge, a named cell."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from leptonbench.report.i18n import Translator
from leptonbench.report.naming import Namer
from leptonbench.report.numbers import Figure, Ratio, decimals_for, figure, write
from leptonbench.schema import CellRecord, Provenance

LETTER = {kind: kind.value[0].upper() for kind in Provenance}


def badge(translate: Translator, kind: Provenance) -> Markup:
    """Return a provenance badge: letter, shape (by style sheet) and colour, with the word as its title."""
    return Markup('<abbr class="p{}" title="{}">{}</abbr>').format(
        kind.value[0], translate(f"provenance.{kind.value}"), LETTER[kind]
    )


def letter(kind: Provenance) -> Markup:
    """Return a provenance badge without its title, for places where the word or a legend is near."""
    return Markup('<b class="p{}">{}</b>').format(kind.value[0], LETTER[kind])


def data(shown: Figure) -> Markup:
    """Return a number as `<data>`: the text for people, the exact SI value for machines.

    Raises:
        ValueError: If the figure has no value.
    """
    if shown.value is None:
        raise ValueError(f"{shown.tag} has no value to show")
    return Markup('<data value="{}">{}</data>').format(repr(shown.value), shown.text)


def interval(shown: Figure) -> Markup:
    """Return `low to high` with exact ends for machines; empty where there is no interval."""
    if not shown.has_interval:
        return Markup("")
    return Markup('<span class="i"><data value="{}">{}</data>{}<data value="{}">{}</data></span>').format(
        repr(shown.low), shown.low_text, shown.dash, repr(shown.high), shown.high_text
    )


def amount(translate: Translator, record: CellRecord, tag: str) -> Markup:
    """Return a metric in prose: value, unit, interval, n and provenance, e.g. `7.06 ms (7.01-7.13, n = 5, M)`."""
    shown = figure(tag, record.metrics[tag])
    value = Markup("<b>{}\u00a0{}</b>").format(data(shown), shown.unit) if shown.unit else data(shown)
    parts = [interval(shown)] if shown.has_interval else [translate("prose.no_interval")]
    if shown.n is not None:
        parts.append(translate("prose.n", n=shown.n))
    if shown.provenance is not None:
        parts.append(translate(f"provenance.{shown.provenance.value}"))
    return translate("prose.amount", value=value, facts=translate("list.facts").join(parts))


def times(translate: Translator, ratio: Ratio) -> Markup:
    """Return a ratio in prose with its interval."""
    decimals = max(decimals_for(ratio.value), 0)
    value = write(ratio.value, decimals)
    if ratio.low is None or ratio.high is None:
        return translate("prose.ratio_bare", value=value)
    return translate("prose.ratio", value=value, low=write(ratio.low, decimals), high=write(ratio.high, decimals))


def ratio_text(ratio: Ratio) -> str:
    """Return a ratio's value for a table."""
    return write(ratio.value, max(decimals_for(ratio.value), 0))


def ratio_span(ratio: Ratio) -> str:
    """Return a ratio's interval for a table; empty where there is none."""
    if ratio.low is None or ratio.high is None:
        return ""
    decimals = max(decimals_for(ratio.value), 0)
    return f"{write(ratio.low, decimals)}\u2013{write(ratio.high, decimals)}"


def cell_link(record: CellRecord, namer: Namer) -> Markup:
    """Return a cell's name as a link to its details."""
    return Markup('<a href="#{}">{}</a>').format(namer.anchor(record.cell), namer.short(record.cell))


def foreign(translate: Translator, text: str) -> Markup:
    """Return a record's own words, which are English, marked as such on a page in another language."""
    if translate.lang == "en":
        return Markup("{}").format(text)
    return Markup('<span lang="en">{}</span>').format(text)


def listed(translate: Translator, names: Iterable[str]) -> Markup:
    """Return names in a row: `a, b and c`."""
    return translate.join([Markup("{}").format(name) for name in names])
