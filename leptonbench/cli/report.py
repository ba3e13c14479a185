"""`leptonbench report`: one self-contained HTML file from a run."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson, OutFile, RunName

Language = Annotated[
    Literal["en", "zh"], typer.Option("--lang", metavar="en|zh", help="The language the report opens in.")
]


def report(run: RunName, lang: Language = "en", out: OutFile = None, as_json: AsJson = False) -> None:
    """Write a run's report as one HTML file.

    Without --out it is `report.html` in the run's folder.
    """
    from leptonbench.report import write_report
    from leptonbench.schema import SCHEMA_VERSION
    from leptonbench.store import RunStore, find_run

    store = RunStore.open(find_run(run))
    path = (out or store.path / "report.html").absolute()
    write_report(store.manifest, store.records(), lang=lang, out=path)
    if as_json:
        console.document({"schema_version": SCHEMA_VERSION, "report": str(path)})
    else:
        console.out(f"report: {path}")
