"""Charts as inline SVG: Pareto plots with error bars both ways, and a strip of the rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from leptonbench.report.axes import Axis, Box, Label, make_axis, place_labels
from leptonbench.report.numbers import lower_is_better, plain
from leptonbench.schema import METRICS, Provenance

WIDTH, HEIGHT = 400, 300
LEFT, RIGHT, TOP, BOTTOM = 48.0, 390.0, 30.0, 262.0

# Drawn around the origin, about equal in area; the order is the order of variants.
MARKERS = (
    "M4.2 0A4.2 4.2 0 1 1-4.2 0A4.2 4.2 0 1 1 4.2 0Z",
    "M-3.8-3.8H3.8V3.8H-3.8Z",
    "M0-5.2L4.9 3.6H-4.9Z",
    "M0-5.4L5.4 0 0 5.4-5.4 0Z",
    "M0 5.2L4.9-3.6H-4.9Z",
    "M-1.7-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7Z",
    "M0-5L4.8-1.5 2.9 4.1H-2.9L-4.8-1.5Z",
    "M-2.5-4.4H2.5L5 0 2.5 4.4H-2.5L-5 0Z",
    "M0-5.6L1.6-1.9 5.4-1.7 2.4.7 3.3 4.5 0 2.4-3.3 4.5-2.4.7-5.4-1.7-1.6-1.9Z",
    "M-5-2.6L-2.6-5 0-2.4 2.6-5 5-2.6 2.4 0 5 2.6 2.6 5 0 2.4-2.6 5-5 2.6-2.4 0Z",
    "M5.2 0L-3.6 4.9V-4.9Z",
    "M-5.2 0L3.6-4.9V4.9Z",
    "M-4.4-4.6H4.4L-4.4 4.6H4.4Z",
    "M-4.6-4.4V4.4L4.6-4.4V4.4Z",
    "M-5 2.6A5 5 0 0 1 5 2.6Z",
    "M-2.3-5.4H2.3V5.4H-2.3Z",
)
PALETTE_SIZE = 8
CROWDED = 24  # above so many points only those on the front are labelled
BARS_MATTER = 8  # with more points, labels may lie over error bars: there is no room beside all of them


class ChartPoint(NamedTuple):
    """One cell in a chart, all numbers in SI."""

    key: str
    anchor: str
    label: str
    x: float
    x_low: float
    x_high: float
    y: float
    y_low: float
    y_high: float
    colour: int
    marker: int
    provenance: Provenance
    front: bool
    below: bool = False


class Limits(NamedTuple):
    """What a buyer asks for, by metric in SI; drawn as a line across a chart whose axis reaches that far."""

    by_tag: dict[str, float]


class ChartTexts(NamedTuple):
    """The words of one chart; `limits` by metric."""

    title: str
    description: str
    x_title: str
    y_title: str
    better: str
    below: str
    limits: dict[str, str]


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def pareto_svg(
    chart_id: str, points: Sequence[ChartPoint], x_tag: str, y_tag: str, texts: ChartTexts, limits: Limits
) -> Markup:
    """Draw one Pareto chart.

    Hollow markers are dominated, pale ones below the quality floor; a dashed outline is a simulated number and a
    hatched one a projected or assumed number. A front line joins points of one provenance only.

    Args:
        chart_id: Unique in the page; labels the chart for assistive technology.
        points: At least one.
        x_tag: Metric on the horizontal axis.
        y_tag: Metric on the vertical axis.
        texts: In the reader's language.
        limits: Of the workload.
    """
    x_axis = make_axis(x_tag, METRICS[x_tag].unit, [v for p in points for v in (p.x, p.x_low, p.x_high)], LEFT, RIGHT)
    y_axis = make_axis(y_tag, METRICS[y_tag].unit, [v for p in points for v in (p.y, p.y_low, p.y_high)], BOTTOM, TOP)
    body = [
        _frame(x_axis, y_axis, texts),
        _corner(points, x_axis, y_axis, texts.better),
        *_limits(limits, x_axis, y_axis, texts),
        *_fronts(points, x_axis, y_axis),
        *_marks(points, x_axis, y_axis, texts.below),
        *_labels(points, x_axis, y_axis),
    ]
    head = (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{chart_id}t {chart_id}d">'
        f'<title id="{chart_id}t">{escape(texts.title)}</title>'
        f'<desc id="{chart_id}d">{escape(texts.description)}</desc>'
    )
    return Markup(head + "".join(body) + "</svg>")


def _frame(x_axis: Axis, y_axis: Axis, texts: ChartTexts) -> str:
    x_ticks, y_ticks = x_axis.ticks(), y_axis.ticks()
    grid = "".join(f"M{_n(at)} {_n(TOP)}V{_n(BOTTOM)}" for at, _ in x_ticks)
    grid += "".join(f"M{_n(LEFT)} {_n(at)}H{_n(RIGHT)}" for at, _ in y_ticks)
    words = "".join(f'<text x="{_n(at)}" y="{_n(BOTTOM + 15)}">{text}</text>' for at, text in x_ticks)
    sides = "".join(f'<text x="{_n(LEFT - 6)}" y="{_n(at + 3.4)}">{text}</text>' for at, text in y_ticks)
    x_name = f"{texts.x_title}{f', {x_axis.scale.unit}' if x_axis.scale.unit else ''}"
    y_name = f"{texts.y_title}{f', {y_axis.scale.unit}' if y_axis.scale.unit else ''}"
    return (
        f'<path class="grid" d="{grid}"/><path class="axis" d="M{_n(LEFT)} {_n(TOP)}V{_n(BOTTOM)}H{_n(RIGHT)}"/>'
        f'<g class="tx">{words}</g><g class="ty">{sides}</g>'
        f'<text class="name e" x="{_n(RIGHT)}" y="{HEIGHT - 5}">{escape(_arrow(x_axis.tag, "←", "→"))}{escape(x_name)}'
        f'</text><text class="name" x="4" y="14">{escape(_arrow(y_axis.tag, "↓", "↑"))}{escape(y_name)}</text>'
    )


def _arrow(tag: str, lower: str, higher: str) -> str:
    return f"{lower if lower_is_better(tag) else higher} "


def _limits(limits: Limits, x_axis: Axis, y_axis: Axis, texts: ChartTexts) -> list[str]:
    """Draw the limits that lie within the axes, each with its name at the frame."""
    lines = []
    x, y = limits.by_tag.get(x_axis.tag), limits.by_tag.get(y_axis.tag)
    if x is not None and x_axis.low < x < x_axis.high:
        at = x_axis.place(x)
        lines.append(f'<path class="limit" d="M{_n(at)} {_n(TOP)}V{_n(BOTTOM)}"/>')
        lines.append(f'<text class="limit m" x="{_n(at)}" y="{_n(TOP - 4)}">{escape(texts.limits[x_axis.tag])}</text>')
    if y is not None and y_axis.low < y < y_axis.high:
        at = y_axis.place(y)
        lines.append(f'<path class="limit" d="M{_n(LEFT)} {_n(at)}H{_n(RIGHT)}"/>')
        name = escape(texts.limits[y_axis.tag])
        lines.append(f'<text class="limit e" x="{_n(RIGHT)}" y="{_n(at + 10)}">{name}</text>')
    return lines


def _corner(points: Sequence[ChartPoint], x_axis: Axis, y_axis: Axis, better: str) -> str:
    """Name the corner where the better choices lie, unless a marker is there."""
    if _corner_taken(points, x_axis, y_axis):
        return ""
    x, y, side = _corner_place(x_axis, y_axis)
    return f'<text class="better{side}" x="{_n(x)}" y="{_n(y)}">{escape(better)}</text>'


def _corner_place(x_axis: Axis, y_axis: Axis) -> tuple[float, float, str]:
    x, side = (LEFT + 6, "") if lower_is_better(x_axis.tag) else (RIGHT - 6, " e")
    return x, BOTTOM - 7 if lower_is_better(y_axis.tag) else TOP + 12, side


def _corner_taken(points: Sequence[ChartPoint], x_axis: Axis, y_axis: Axis) -> bool:
    x, y, _ = _corner_place(x_axis, y_axis)
    return any(abs(x_axis.place(p.x) - x) < 46 and abs(y_axis.place(p.y) - y) < 16 for p in points)


def _fronts(points: Sequence[ChartPoint], x_axis: Axis, y_axis: Axis) -> list[str]:
    paths = []
    for kind in Provenance:
        corners = _staircase([p for p in points if p.front and p.provenance is kind], x_axis, y_axis)
        if len(corners) > 1:
            steps = "".join(f"H{_n(x)}V{_n(y)}" for x, y in corners[1:])
            start = f"M{_n(corners[0][0])} {_n(corners[0][1])}"
            paths.append(f'<path class="front f-{kind.value[0]}" d="{start}{steps}"/>')
    return paths


def _staircase(points: Sequence[ChartPoint], x_axis: Axis, y_axis: Axis) -> list[tuple[float, float]]:
    """Return the strictly best corners of a front, from the best x onwards, in pixels."""
    x_sign = 1 if lower_is_better(x_axis.tag) else -1
    y_sign = 1 if lower_is_better(y_axis.tag) else -1
    corners: list[tuple[float, float]] = []
    best = float("inf")
    for point in sorted(points, key=lambda p: (p.x * x_sign, p.y * y_sign)):
        if point.y * y_sign < best:
            best = point.y * y_sign
            corners.append((x_axis.place(point.x), y_axis.place(point.y)))
    return corners


def _marks(points: Sequence[ChartPoint], x_axis: Axis, y_axis: Axis, below: str) -> list[str]:
    marks = []
    for point in sorted(points, key=lambda p: p.front):
        x, y = x_axis.place(point.x), y_axis.place(point.y)
        bars = (
            f"M{_n(x_axis.place(point.x_low))} {_n(y)}H{_n(x_axis.place(point.x_high))}"
            f"M{_n(x)} {_n(y_axis.place(point.y_low))}V{_n(y_axis.place(point.y_high))}"
        )
        state = ("s" if point.front else "h") + (" b" if point.below else "")
        tip = f"{point.label}: {_tip(x_axis, point.x)}; {_tip(y_axis, point.y)}"
        tip += f"; {below}" if point.below else ""
        marks.append(
            f'<a href="#{point.anchor}" class="pt k{point.colour} {state} q-{point.provenance.value[0]}">'
            f"<title>{escape(tip)}</title>"
            f'<path d="{bars}"/>'
            f'<use href="#m{point.marker}" x="{_n(x)}" y="{_n(y)}"/></a>'
        )
    return marks


def _tip(axis: Axis, value: float) -> str:
    return plain(value, METRICS[axis.tag].unit, axis.tag)


def _labels(points: Sequence[ChartPoint], x_axis: Axis, y_axis: Axis) -> list[str]:
    crowded = len(points) > CROWDED
    ranked = sorted((p for p in points if p.front or not crowded), key=lambda p: not p.front)
    places = [(x_axis.place(p.x), y_axis.place(p.y), p.label) for p in ranked]
    bars = points if len(points) <= BARS_MATTER else []
    obstacles = [
        Box(x_axis.place(p.x) - 1, min(_ends(p, y_axis)), x_axis.place(p.x) + 1, max(_ends(p, y_axis))) for p in bars
    ]
    if not _corner_taken(points, x_axis, y_axis):
        x, y, _ = _corner_place(x_axis, y_axis)
        obstacles.append(Box(x - 34, y - 10, x + 34, y + 4))
    frame = Box(LEFT + 2, TOP - 8, RIGHT + 6, BOTTOM - 2)
    found = place_labels(places, frame, obstacles)
    return [
        _label(place, label, "" if point.front else " h")
        for point, place, label in zip(ranked, places, found, strict=True)
        if label is not None
    ]


def _ends(point: ChartPoint, y_axis: Axis) -> tuple[float, float]:
    return y_axis.place(point.y_low), y_axis.place(point.y_high)


def _label(place: tuple[float, float, str], label: Label, state: str) -> str:
    x, y, text = place
    side = {"start": "", "end": " e", "middle": " m"}[label.anchor]
    leader = f'<path class="lead" d="M{_n(x)} {_n(y)}L{_n(label.x)} {_n(label.y - 3.2)}"/>' if label.leader else ""
    return f'{leader}<text class="lb{side}{state}" x="{_n(label.x)}" y="{_n(label.y)}">{escape(text)}</text>'


def strip_svg(values: Sequence[float], low: float | None, high: float | None, title: str) -> Markup:
    """Draw rounds as ticks on one line, with the interval as a band.

    Args:
        values: One per round, SI; at least one.
        low: Lower end of the interval over rounds, if known.
        high: Upper end.
        title: What it shows, in the reader's language.
    """
    ends = [end for end in (low, high) if end is not None]
    axis = make_axis("latency_p50", "s", [*values, *ends], 8, 292)
    band = ""
    if low is not None and high is not None:
        left = axis.place(low)
        band = f'<rect class="spread" x="{_n(left)}" y="4" width="{_n(axis.place(high) - left)}" height="20"/>'
    marks = "".join(f"M{_n(axis.place(value))} 6v16" for value in values)
    texts = (
        f'<text x="8" y="38">{escape(plain(min(values), "s"))}</text>'
        f'<text class="e" x="292" y="38">{escape(plain(max(values), "s"))}</text>'
    )
    return Markup(
        f'<svg class="strip" viewBox="0 0 300 42" role="img"><title>{escape(title)}</title>{band}'
        f'<path class="axis" d="M8 14H292"/><path class="rounds" d="{marks}"/>{texts}</svg>'
    )
