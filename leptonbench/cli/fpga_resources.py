"""`leptonbench fpga resources`: what a board's cores take of its part."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leptonbench.cli import console
from leptonbench.cli.fpga_build import BoardName
from leptonbench.cli.options import AsJson, parse_duration
from leptonbench.errors import EXIT_INVALID, EXIT_OK

if TYPE_CHECKING:
    from leptonbench.fpga.resources import Resources
    from leptonbench.schema import Board

_TITLES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram": "BRAM", "uram": "URAM"}


def resources(
    board: BoardName = "kv260",
    limit: Annotated[
        str, typer.Option(metavar="DURATION", help="Stop Yosys after so long a module; its figure is then absent.")
    ] = "15m",
    again: Annotated[
        bool, typer.Option("--synthesise", help="Run Yosys for modules that are shipped without a figure.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Count what a board's cores take: lookup tables, flip-flops, multipliers and memories.

    Modules are synthesised by Yosys one by one and added up; the bundled boards' figures are shipped. An accelerator
    that does not fit is refused with what to shrink (exit code 2); one that cannot be counted in full ends with 3.
    """
    from leptonbench.catalog import load_board
    from leptonbench.fpga.resources import resources as count
    from leptonbench.fpga.synthesis import synthesise

    profile = load_board(board)
    if profile.board is None:
        raise ValueError("a board has a part `board`")
    limit_s = parse_duration(limit)
    found = count(
        profile.board, synthesised=functools.partial(synthesise, limit_s=limit_s, again=again, progress=console.say)
    )
    if as_json:
        console.document(_document(profile.name, found))
    else:
        _show(profile.name, profile.board, found)
    for reason in found.missing:
        console.say(f"not counted: {reason}")
    found.require(profile.name)
    return EXIT_INVALID if found.missing else EXIT_OK


def _show(name: str, board: Board, found: Resources) -> None:
    columns = [console.Column("module"), console.Column("times", True)]
    columns += [console.Column(title, True) for title in _TITLES.values()]
    rows = [
        [unit.name, str(unit.count)]
        + [f"{getattr(one.use, resource) * unit.count:,.10g}" if one.use else "-" for resource in _TITLES]
        for unit, one in found.pieces
    ]
    core = found.core
    rows.append(["one core", ""] + [f"{getattr(core, resource):,.10g}" if core else "-" for resource in _TITLES])
    console.table(columns, rows, title=f"one {board.core.rows} x {board.core.cols} core, synthesised for {name}")
    console.out()
    console.table(
        [console.Column("resource"), *(console.Column(t, True) for t in ("used", "available", "share", "limit"))],
        [
            [
                _TITLES[fit.resource],
                f"at least {fit.at_least:,.0f}" if fit.used is None else f"{fit.used:,.0f}",
                f"{fit.available:,}",
                "-" if fit.share is None else f"{fit.share:.0%}",
                f"{fit.limit:.0%}",
            ]
            for fit in found.fits
        ],
        title=f"{board.cores} core(s) on {board.part.name}",
    )
    clock = board.clock_hz
    console.out()
    console.out(f"clock: {clock.value / 1e6:g} MHz, {clock.source}" + (f"; {clock.note}" if clock.note else ""))


def _document(name: str, found: Resources) -> dict[str, Any]:
    from leptonbench.schema import SCHEMA_VERSION

    return {
        "schema_version": SCHEMA_VERSION,
        "board": name,
        "part": found.board.part.name,
        "cores": found.board.cores,
        "provenance": "simulated",
        "clock_hz": found.board.clock_hz.model_dump(mode="json"),
        "pieces": [
            {"name": unit.name, "module": unit.module, "parameters": dict(unit.parameters), "count": unit.count}
            | one.as_json()
            for unit, one in found.pieces
        ],
        "fits": [
            {
                "resource": fit.resource,
                "used": fit.used,
                "at_least": fit.at_least,
                "available": fit.available,
                "limit": fit.limit,
                "share": fit.share,
                "fits": fit.fits,
            }
            for fit in found.fits
        ],
    }
