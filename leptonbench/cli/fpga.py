"""`leptonbench fpga`: the accelerator model on its own."""

from __future__ import annotations

import typer

from leptonbench.cli import fpga_build, fpga_resources, fpga_scoreboard, fpga_simulate
from leptonbench.cli.group import Group

app = typer.Typer(cls=Group, help="Build and simulate the FPGA accelerator.")

app.command("build")(fpga_build.build)
app.command("resources")(fpga_resources.resources)
app.command("scoreboard")(fpga_scoreboard.scoreboard)
app.command("simulate")(fpga_simulate.simulate)
