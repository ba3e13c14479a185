"""Charts of a plan as inline SVG: costs by choice, what moves the first one's cost, and the week."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from leptonbench.report.axes import Axis, make_axis, text_width
from leptonbench.report.numbers import write

_WIDTH, _RIGHT, _TOP, _ROW, _FOOT = 760.0, 745.0, 8.0, 24.0, 30.0
_WEEK_HEIGHT, _WEEK_LEFT = 150.0, 48.0
_SPACE = 10.0


class Bar(NamedTuple):
    """A row of a chart: a point with a bar around it, in one unit.

    Attributes:
        label: At the left.
        value: Marked; `None` marks nothing.
        low: Where the bar begins.
        high: Where it ends.
        tip: Shown at the pointer, and read out.
        start: Text at the bar's first end, for a figure that may run either way.
        end: Text at its other end.
    """

    label: str
    value: float | None
    low: float
    high: float
    tip: str
    start: str = ""
    end: str = ""


def bars_svg(chart_id: str, bars: Sequence[Bar], *, title: str, centre: float | None = None) -> Markup:
    """Draw rows of bars in USD on one axis; `centre` is a line through all of them.

    Raises:
        ValueError: If there are no bars.
    """
    left = min(max(text_width(bar.label) for bar in bars) * 1.15 + 12, 380.0)
    ends = [end for bar in bars for end in (bar.low, bar.high)] + ([centre] if centre is not None else [])
    axis = make_axis("", "USD", ends, left, _RIGHT)
    bottom = _TOP + _ROW * len(bars)
    body = [_grid(axis, bottom)]
    if centre is not None:
        body.append(f'<path class="limit" d="M{_n(axis.place(centre))} {_n(_TOP)}V{_n(bottom)}"/>')
    body += [_bar(bar, axis, _TOP + _ROW * (index + 0.5), left) for index, bar in enumerate(bars)]
    return _svg(chart_id, title, _WIDTH, bottom + _FOOT, "".join(body))


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _svg(chart_id: str, title: str, width: float, height: float, body: str) -> Markup:
    return Markup(
        f'<svg class="chart wide" viewBox="0 0 {_n(width)} {_n(height)}" role="img" aria-labelledby="{chart_id}t">'
        f'<title id="{chart_id}t">{escape(title)}</title>{body}</svg>'
    )


def _grid(axis: Axis, bottom: float) -> str:
    marks = axis.ticks()
    lines = "".join(f"M{_n(at)} {_n(_TOP)}V{_n(bottom)}" for at, _ in marks)
    words = "".join(f'<text x="{_n(at)}" y="{_n(bottom + 15)}">{text}</text>' for at, text in marks)
    unit = f'<text class="name e" x="{_n(_RIGHT)}" y="{_n(bottom + 28)}">USD</text>'
    return f'<path class="grid" d="{lines}"/><g class="tx">{words}</g>{unit}'


def _bar(bar: Bar, axis: Axis, y: float, left: float) -> str:
    low, high = axis.place(bar.low), axis.place(bar.high)
    mark = f'<circle cx="{_n(axis.place(bar.value))}" cy="{_n(y)}" r="4.2"/>' if bar.value is not None else ""
    sides = "".join(
        f'<text class="{style}" x="{_n(at)}" y="{_n(y + 3.4)}">{escape(text)}</text>'
        for text, at, style in ((bar.start, min(low, high) - 4, "end"), (bar.end, max(low, high) + 4, "start"))
        if text
    )
    return (
        f'<g class="pt k0 s"><title>{escape(bar.tip)}</title>'
        f'<text class="label e" x="{_n(left - _SPACE)}" y="{_n(y + 3.4)}">{escape(bar.label)}</text>'
        f'<rect class="span" x="{_n(min(low, high))}" y="{_n(y - 5)}" width="{_n(max(abs(high - low), 1))}" '
        f'height="10"/>{mark}{sides}</g>'
    )


def week_svg(rates_per_s: Sequence[float], *, title: str, axis_name: str) -> Markup:
    """Draw 168 hourly rates as steps, with a line at each midnight."""
    top, bottom = 12.0, _WEEK_HEIGHT - 28
    highest = max(rates_per_s)
    step = (_RIGHT - _WEEK_LEFT) / len(rates_per_s)

    def height(rate: float) -> float:
        return bottom - (bottom - top) * rate / highest

    path = f"M{_n(_WEEK_LEFT)} {_n(bottom)}"
    for hour, rate in enumerate(rates_per_s):
        path += f"V{_n(height(rate))}H{_n(_WEEK_LEFT + step * (hour + 1))}"
    nights = "".join(f"M{_n(_WEEK_LEFT + step * 24 * day)} {_n(top)}V{_n(bottom)}" for day in range(8))
    words = "".join(
        f'<text x="{_n(_WEEK_LEFT + step * 24 * day)}" y="{_n(bottom + 14)}">{24 * day}</text>' for day in range(8)
    )
    body = (
        f'<path class="grid" d="{nights}"/><path class="demand" d="{path}V{_n(bottom)}Z"/><g class="tx">{words}</g>'
        f'<g class="ty"><text x="{_n(_WEEK_LEFT - 6)}" y="{_n(top + 3.4)}">{write(highest, 1)}</text></g>'
        f'<text class="name e" x="{_n(_RIGHT)}" y="{_n(_WEEK_HEIGHT - 2)}">{escape(axis_name)}</text>'
    )
    return _svg("week", title, _WIDTH, _WEEK_HEIGHT, body)
