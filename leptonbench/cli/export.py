"""`leptonbench export`: a run in another tool's format."""

from __future__ import annotations

from typing import Annotated

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson, OutFile, RunName


def export(
    run: RunName,
    form: Annotated[str, typer.Option("--format", "-f", metavar="FORMAT", help="What to write: csv.")] = "csv",
    out: OutFile = None,
    as_json: AsJson = False,
) -> None:
    """Export a run to stdout or to a file."""
    from leptonbench.atomic import write_atomically
    from leptonbench.exports import EXPORTERS
    from leptonbench.schema import SCHEMA_VERSION
    from leptonbench.store import RunStore, find_run

    write = EXPORTERS.get(form)
    store = RunStore.open(find_run(run))
    text = write(store.manifest, store.records())
    if out is not None:
        write_atomically(out.absolute(), text.encode())
        console.say(f"wrote {out}")
    if as_json:
        content = {"file": str(out.absolute())} if out is not None else {"text": text}
        console.document({"schema_version": SCHEMA_VERSION, "format": form, **content})
    elif out is None:
        console.out(text.rstrip("\n"))
