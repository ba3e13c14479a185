"""`leptonbench export`: a run in another tool's format."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson, OutFile, RunName
from leptonbench.errors import StorageError, UsageError

if TYPE_CHECKING:
    from leptonbench.exports import Folder


def export(
    run: RunName,
    form: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="FORMAT", help="What to write: csv, parquet, pytest-benchmark, github, mlperf."
        ),
    ] = "csv",
    out: OutFile = None,
    as_json: AsJson = False,
) -> None:
    """Export a run: text to stdout or to a file, Parquet to a file, github and mlperf to a folder."""
    from leptonbench.atomic import write_atomically
    from leptonbench.exports import EXPORTERS
    from leptonbench.schema import SCHEMA_VERSION
    from leptonbench.store import RunStore, find_run

    write = EXPORTERS.get(form)
    store = RunStore.open(find_run(run))
    exported = write(store.manifest, store.records())
    content: dict[str, Any]
    if isinstance(exported, str) and out is None:
        content = {"text": exported}
    elif out is None:
        raise UsageError(
            f"`{form}` is not one text, and does not go to stdout", hint="say where it goes: --out FILE or FOLDER"
        )
    elif isinstance(exported, str | bytes):
        write_atomically(out.absolute(), exported.encode() if isinstance(exported, str) else exported)
        content = {"file": str(out.absolute())}
    else:
        content = {"folder": str(out.absolute()), "files": _write_folder(exported, out.absolute(), store.path)}
    if out is not None:
        console.say(f"wrote {out}")
    if as_json:
        console.document({"schema_version": SCHEMA_VERSION, "format": form, **content})
    elif out is None:
        console.out(content["text"].rstrip("\n"))


def _write_folder(exported: Folder, out: Path, run: Path) -> list[str]:
    """Write a folder of files and copy what the run holds already; return their paths inside the folder."""
    from leptonbench.atomic import storage_error, write_atomically

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StorageError(f"`{out}` is not an empty folder", hint="choose a new or an empty folder")
    missing = [source for source in exported.copies.values() if not (run / source).is_file()]
    if missing:
        raise StorageError(
            f"the run lacks {len(missing)} of the files that belong to this format",
            cause=f"the first is `{run / missing[0]}`",
            hint="export the whole run folder: LoadGen's logs are under `logs/`",
        )
    for name, text in exported.files.items():
        write_atomically(out / name, text.encode())
    for name, source in exported.copies.items():
        try:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / source, out / name)
        except OSError as error:
            raise storage_error(out / name, error, doing="written") from error
    return sorted([*exported.files, *exported.copies])
