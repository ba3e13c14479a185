"""The tables of the documentation's section on the scoreboard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leptonbench.fpga.scoreboard import Report
from leptonbench.fpga.scoreboard.score import Prediction

_BEGIN, _END = "<!-- scoreboard: begin -->", "<!-- scoreboard: end -->"


def with_tables(page: str, found: Report) -> str:
    """Return a page with the tables put between its two marks."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{markdown(found)}{_END}{after}"


def markdown(found: Report) -> str:
    """Return errors by group, by network, what is left out, and how rates scale, as tables."""
    parts = [*_groups(found), *_networks(found.board.predictions), *_left_out(found), *_sizes(found), *_cores(found)]
    return "\n".join(parts) + "\n"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> list[str]:
    """Return a table whose first columns are words and whose others are numbers."""
    marks = ["---" if number < words else "---:" for number in range(len(titles))]
    lines = [titles, marks, *rows]
    return ["", *(f"| {' | '.join(line)} |" for line in lines), ""]


def _groups(found: Report) -> list[str]:
    rows = [
        [
            one.name,
            "yes" if one.calibration else "no",
            str(one.figures),
            str(one.rows),
            f"{one.median:+.0%}",
            f"{one.low:+.0%} to {one.high:+.0%}" if one.low is not None and one.high is not None else "too few",
            f"{one.mean_absolute:.0%}",
        ]
        for one in found.board.summaries
    ]
    titles = ("group", "fitted", "figures", "rows", "median error", "quartiles", "mean absolute error")
    return _table(titles, rows, words=2)


def _networks(predictions: Sequence[Prediction]) -> list[str]:
    """Return one row a network on the board with one core and one source of figures, all cores."""
    wanted = [one for one in predictions if one.figure.board == "KV260" and not one.figure.single]
    rows = [
        [
            f"`{one.figure.network}`",
            f"{one.figure.frames_per_s:.4g}",
            f"{one.frames_per_s:.4g}",
            f"{one.error:+.0%}",
            f"{one.published_utilisation:.0%}",
            f"{one.utilisation:.0%}",
        ]
        for one in sorted(wanted, key=lambda one: one.error)
    ]
    titles = ("KV260, B4096 at 300 MHz", "published 1/s", "predicted 1/s", "error", "published use", "predicted use")
    return _table(titles, rows)


def _left_out(found: Report) -> list[str]:
    left_out = found.board.figures.left_out
    return _table(("left out because", "rows"), [[reason, str(count)] for reason, count in left_out.items()])


def _sizes(found: Report) -> list[str]:
    rows = [
        [
            f"`{one.network}`",
            str(one.macs_per_cycle),
            f"{one.frames_per_s:.4g}",
            f"{one.utilisation:.0%}",
            f"{one.bytes_per_s / 1e9:.2f}",
            f"{one.published_bytes_per_s / 1e9:.2f}" if one.published_bytes_per_s else "",
        ]
        for one in found.sizes
    ]
    return _table(("one core, 300 MHz, ZCU102", "MAC/cycle", "1/s", "use", "GB/s", "published GB/s"), rows)


def _cores(found: Report) -> list[str]:
    rows = [
        [f"`{one.network}`", str(one.cores), f"{one.frames_per_s:.4g}", f"{one.efficiency:.0%}"]
        + [f"{one.bytes_per_s / 1e9:.2f}", f"{one.sharing:.2f}"]
        for one in found.cores
    ]
    titles = ("B4096 at 300 MHz, ZCU102", "cores", "1/s", "of as many alone", "GB/s", "cores at the DRAM at a time")
    return _table(titles, rows)
