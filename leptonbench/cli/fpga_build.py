"""`leptonbench fpga build`: build the simulator of a board's core."""

from __future__ import annotations

from typing import Annotated

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson

BoardName = Annotated[
    str,
    typer.Option(
        "--board", metavar="BOARD", help="A board (`leptonbench list devices`), or a file that describes one."
    ),
]


def build(board: BoardName = "kv260", as_json: AsJson = False) -> None:
    """Build the simulator of a board's core, unless it is built; `simulate` and `run` do so, too."""
    from leptonbench.catalog import load_board
    from leptonbench.fpga.boards import core_shape
    from leptonbench.fpga.sim.build import simulator
    from leptonbench.schema import SCHEMA_VERSION

    profile = load_board(board)
    if profile.board is None:
        raise ValueError("a board has a part `board`")
    shape = core_shape(profile.board)
    path = simulator(shape, progress=console.say)
    if as_json:
        parameters = shape.parameters()
        console.document(
            {"schema_version": SCHEMA_VERSION, "board": profile.name, "core": parameters, "simulator": str(path)}
        )
    else:
        console.out(str(path))
