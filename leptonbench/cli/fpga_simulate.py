"""`leptonbench fpga simulate`: what each layer of a model takes on a board, and the model in all."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leptonbench.cli import console
from leptonbench.cli.fpga_build import BoardName
from leptonbench.cli.options import AsJson, parse_dimensions

if TYPE_CHECKING:
    from leptonbench.fpga.execution import Simulation


class ModeName(StrEnum):
    """How cycles are found."""

    COMPOSED = "composed"
    FULL = "full"


def simulate(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="An 8-bit model in QDQ form.")],
    board: BoardName = "kv260",
    mode: Annotated[
        ModeName,
        typer.Option(
            "--mode",
            metavar="composed|full",
            help="Compose cycles from the first tiles of each distinct layer, or run every layer on data in RTL and "
            "compare its bytes with ONNX Runtime's.",
        ),
    ] = ModeName.COMPOSED,
    dimension: Annotated[
        list[str] | None,
        typer.Option("--dimension", metavar="NAME=SIZE", help="Size of a free dimension of the inputs (repeatable)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the cycles, the bound and the traffic of each layer of a model on an FPGA board, and its frames a second."""
    from leptonbench.catalog import load_board
    from leptonbench.fpga.execution import Mode
    from leptonbench.fpga.execution import simulate as run_simulation
    from leptonbench.fpga.execution.tell import as_document
    from leptonbench.schema import SCHEMA_VERSION

    profile = load_board(board)
    if profile.board is None:
        raise ValueError("a board has a part `board`")
    found = run_simulation(
        model,
        profile.board,
        mode=Mode(mode.value),
        lengths=parse_dimensions(dimension or []),
        progress=console.say,
    )
    if as_json:
        console.document({"schema_version": SCHEMA_VERSION, "board": profile.name, **as_document(found)})
    else:
        _show(profile.title["en"], found)


def _show(title: str, found: Simulation) -> None:
    from leptonbench.fpga.execution import tell

    console.out(title)
    console.table([console.Column(name, right) for name, right in tell.LAYER_COLUMNS], tell.layer_rows(found))
    console.out()
    for line in tell.sentences(found):
        console.out(line)
    if found.host is not None:
        console.out()
        console.table([console.Column(name, right) for name, right in tell.HOST_COLUMNS], tell.host_rows(found))
