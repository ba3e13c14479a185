"""`leptonbench fpga scoreboard`: predictions of other people's accelerators beside what they published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson

if TYPE_CHECKING:
    from leptonbench.fpga.scoreboard import Report


def scoreboard(
    published: Annotated[
        Path | None,
        typer.Option("--published", metavar="FILE.csv", help="Published figures in place of those that come along."),
    ] = None,
    system: Annotated[
        str, typer.Option("--system", metavar="TEXT", help="Only systems and boards whose names contain this.")
    ] = "",
    figures: Annotated[bool, typer.Option("--figures", help="Show every figure, not only the groups.")] = False,
    scaling: Annotated[
        bool, typer.Option("--scaling", help="Show how rates go with the array's size and the number of cores.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Predict other people's accelerators, and compare with what they published."""
    from leptonbench.fpga import scoreboard as room
    from leptonbench.schema import SCHEMA_VERSION

    found = room.report(published=published, system=system, scaling=scaling, progress=console.say)
    if as_json:
        console.document({"schema_version": SCHEMA_VERSION, **room.document(found)})
        return
    console.out(room.STATEMENT)
    if figures:
        _figures(found)
    _groups(found)
    _left_out(found)
    if scaling:
        _scaling(found)


def _figures(found: Report) -> None:
    titles = ("system", "board", "network", "threads", "MHz")
    numbers = ("published 1/s", "predicted 1/s", "error", "published use", "predicted use", "fitted")
    rows = [
        [
            one.figure.system,
            one.figure.board,
            one.figure.network,
            one.figure.threads or "all cores",
            f"{one.figure.clock_mhz:g}",
            f"{one.figure.frames_per_s:.4g}",
            f"{one.frames_per_s:.4g}",
            f"{one.error:+.1%}",
            f"{one.published_utilisation:.0%}",
            f"{one.utilisation:.0%}",
            "yes" if one.calibration else "",
        ]
        for one in found.board.predictions
    ]
    columns = [*map(console.Column, titles), *(console.Column(title, right=True) for title in numbers)]
    console.table(columns, rows, title="every figure")


def _groups(found: Report) -> None:
    rows = [
        [
            one.name,
            "yes" if one.calibration else "no",
            f"{one.figures}",
            f"{one.rows}",
            f"{one.median:+.1%}",
            f"{one.low:+.1%} .. {one.high:+.1%}" if one.low is not None and one.high is not None else "too few",
            f"{one.mean_absolute:.1%}",
        ]
        for one in found.board.summaries
    ]
    titles = ("figures", "rows", "median error", "quartiles", "mean absolute")
    columns = [
        console.Column("group"),
        console.Column("used in fitting"),
        *(console.Column(title, right=True) for title in titles),
    ]
    console.table(columns, rows, title="predicted over published, less one")
    host = found.board.host
    if host is not None:
        console.out(
            f"fitted: the host's time, {host.s_per_pixel * 1e9:.1f} ns an input pixel "
            f"(quartiles {host.low * 1e9:.1f} to {host.high * 1e9:.1f}, {host.pairs} networks)"
        )


def _left_out(found: Report) -> None:
    figures = found.board.figures
    columns = [console.Column("rows", right=True), console.Column("left out because")]
    rows = [[f"{count}", reason] for reason, count in figures.left_out.items()]
    console.table(
        columns, rows, title=f"{sum(figures.left_out.values())} of {figures.rows} published rows are left out"
    )


def _scaling(found: Report) -> None:
    right = [console.Column(title, right=True) for title in ("MAC/cycle", "1/s", "use", "GB/s", "published GB/s")]
    rows = [
        [
            one.network,
            f"{one.macs_per_cycle}",
            f"{one.frames_per_s:.4g}",
            f"{one.utilisation:.0%}",
            f"{one.bytes_per_s / 1e9:.2f}",
            f"{one.published_bytes_per_s / 1e9:.2f}" if one.published_bytes_per_s else "",
        ]
        for one in found.sizes
    ]
    console.table([console.Column("network"), *right], rows, title="one DPUCZDX8G core of each size, ZCU102, 300 MHz")
    right = [console.Column(title, right=True) for title in ("cores", "1/s", "of as many alone", "GB/s", "sharing")]
    rows = [
        [
            one.network,
            f"{one.cores}",
            f"{one.frames_per_s:.4g}",
            f"{one.efficiency:.0%}",
            f"{one.bytes_per_s / 1e9:.2f}",
            f"{one.sharing:.2f}",
        ]
        for one in found.cores
    ]
    console.table([console.Column("network"), *right], rows, title="B4096 cores on one DRAM, ZCU102, 300 MHz")
