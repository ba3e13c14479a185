"""The history as one self-contained HTML page: a plot a series, its changes and where the machine changed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from markupsafe import Markup, escape

from leptonbench.report.axes import Axis, make_axis
from leptonbench.report.history import Change, Segment, Series
from leptonbench.report.i18n import HTML_LANG, Translator
from leptonbench.report.numbers import plain
from leptonbench.report.render import asset, csp_hash, environment

WIDTH, HEIGHT = 900, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 70.0, 884.0, 24.0, 212.0


class Row(NamedTuple):
    """One change in words."""

    run: str
    commit: str
    text: Markup
    kind: str


class Plot(NamedTuple):
    """One series on the page."""

    title: str
    svg: Markup
    rows: tuple[Row, ...]
    notes: tuple[Markup, ...]


def render_history(series: Sequence[Series], *, lang: str = "en") -> str:
    """Return the page.

    Args:
        series: Those with most changes should be first: the page keeps their order.
        lang: `en` or `zh`.

    Raises:
        UsageError: If there is no such language.
        StorageError: If templates or messages cannot be read.
    """
    translate = Translator(lang)
    style = asset("report.css") + asset("history.css")
    runs = len({point.run for one in series for point in one.points})
    return (
        environment()
        .get_template("history.html.j2")
        .render(
            t=translate,
            html_lang=HTML_LANG[lang],
            plots=[_plot(one, translate) for one in series],
            runs=runs,
            style=Markup(style),
            style_hash=Markup(csp_hash(style)),
        )
    )


def _plot(series: Series, translate: Translator) -> Plot:
    title = f"{series.cell.key}: {translate.metric(series.metric)}"
    rows = tuple(_row(series, change, translate) for change in series.changes)
    notes = [
        translate("history.split", run=series.points[segment.start].run, what=", ".join(segment.differs))
        for segment in series.segments
        if segment.differs
    ]
    notes += [translate("history.few", n=s.end - s.start) for s in series.segments if s.why_none]
    return Plot(title, _svg(series, title), rows, tuple(notes))


def _row(series: Series, change: Change, translate: Translator) -> Row:
    kind = {True: "worse", False: "better", None: "different"}[change.worse]
    text = translate(
        f"history.{kind}",
        before=plain(change.before, series.unit, series.metric),
        after=plain(change.after, series.unit, series.metric),
        percent=f"{100 * (change.ratio - 1):+.1f}",
        p=f"{change.p_value:.2g}",
    )
    return Row(change.run, change.commit, text, kind)


def _svg(series: Series, title: str) -> Markup:
    ends = [end for p in series.points for end in (p.value, p.low, p.high) if end is not None]
    axis = make_axis(series.metric, series.unit, ends, _BOTTOM, _TOP)
    count = len(series.points)
    step = (_RIGHT - _LEFT) / max(count, 1)
    xs = [_LEFT + step * (index + 0.5) for index in range(count)]
    parts = [_frame(axis), *(_splits(series, step)), *(_level(series, one, axis, xs) for one in series.segments)]
    parts += [_whiskers(series, axis, xs), _marks(series, axis, xs)]
    return Markup(
        f'<svg class="chart history" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(title)}</title>'
        + "".join(parts)
        + "</svg>"
    )


def _frame(axis: Axis) -> str:
    ticks = axis.ticks()
    grid = "".join(f"M{_LEFT:g} {at:.1f}H{_RIGHT:g}" for at, _ in ticks)
    words = "".join(f'<text x="{_LEFT - 6:g}" y="{at + 3.4:.1f}">{text}</text>' for at, text in ticks)
    return (
        f'<path class="grid" d="{grid}"/><path class="axis" d="M{_LEFT:g} {_TOP:g}V{_BOTTOM:g}H{_RIGHT:g}"/>'
        f'<g class="ty">{words}</g><text class="name" x="4" y="14">{escape(axis.scale.unit)}</text>'
    )


def _splits(series: Series, step: float) -> list[str]:
    """Draw where another machine begins, and where the level changes."""
    machines = "".join(f"M{_LEFT + step * s.start:.1f} {_TOP:g}V{_BOTTOM:g}" for s in series.segments[1:])
    drawn = [f'<path class="machine" d="{machines}"/>'] if machines else []
    for change in series.changes:
        kind = {True: "worse", False: "better", None: "different"}[change.worse]
        drawn.append(f'<path class="change {kind}" d="M{_LEFT + step * change.start:.1f} {_TOP:g}V{_BOTTOM:g}"/>')
    return drawn


def _level(series: Series, segment: Segment, axis: Axis, xs: Sequence[float]) -> str:
    """Draw the median of each stretch between changes."""
    edges = [segment.start, *(change.start for change in segment.changes), segment.end]
    lines = []
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        at = axis.place(median(point.value for point in series.points[start:end]))
        lines.append(f"M{xs[start]:.1f} {at:.1f}H{xs[end - 1]:.1f}")
    return f'<path class="level" d="{"".join(lines)}"/>'


def _whiskers(series: Series, axis: Axis, xs: Sequence[float]) -> str:
    lines = [
        f"M{x:.1f} {axis.place(point.low):.1f}V{axis.place(point.high):.1f}"
        for x, point in zip(xs, series.points, strict=True)
        if point.low is not None and point.high is not None
    ]
    return f'<path class="whisker" d="{"".join(lines)}"/>' if lines else ""


def _marks(series: Series, axis: Axis, xs: Sequence[float]) -> str:
    return "".join(
        f'<circle class="run" cx="{x:.1f}" cy="{axis.place(point.value):.1f}" r="3"><title>'
        f"{escape(point.run)} {escape(point.commit)}: {escape(plain(point.value, series.unit, series.metric))}"
        "</title></circle>"
        for x, point in zip(xs, series.points, strict=True)
    )
