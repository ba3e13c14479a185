"""`leptonbench history`: where stored runs changed their level."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson
from leptonbench.cli.report import Language
from leptonbench.errors import UsageError

if TYPE_CHECKING:
    from leptonbench.report.history import Run, Series


def history(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="Holds run folders; default: results/.")] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="TAG", help="Default: median latency, throughput of server and offline.")
    ] = None,
    cell: Annotated[str | None, typer.Option(metavar="WORDS", help="Only cells whose key has all these words.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The page; default: DIR/history.html.")
    ] = None,
    lang: Language = "en",
    as_json: AsJson = False,
) -> None:
    """Show how cells did over stored runs, and where their level changed.

    Changes are found by E-divisive at p 0.001, with at least three runs on each side. Another machine or other packages
    split a series: nothing is compared across. It never blocks: the exit code is 0 whatever it finds.
    """
    from leptonbench.paths import results_dir
    from leptonbench.registry import unknown
    from leptonbench.report.history import as_document, build_history
    from leptonbench.report.history_page import render_history
    from leptonbench.report.render import write_page
    from leptonbench.schema import METRICS, SCHEMA_VERSION

    if metric is not None and metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    root = folder or results_dir()
    series = build_history(_runs(root), metric=metric)
    series = [one for one in series if all(word in one.cell.key for word in (cell or "").casefold().split())]
    if not series:
        raise UsageError(
            f"there is no history under `{root}`",
            cause="no run there measured such a cell" if cell or metric else "it holds no run with a measured cell",
            hint="make runs with `leptonbench run`, or loosen --cell and --metric",
        )
    series.sort(key=lambda one: -len(one.changes))
    page = write_page(render_history(series, lang=lang), out=(out or root / "history.html").absolute())
    if as_json:
        found = [as_document(one) for one in series]
        console.document({"schema_version": SCHEMA_VERSION, "page": str(page), "series": found})
    else:
        _show(series)
        console.out(f"page: {page}")


def _runs(root: Path) -> list[Run]:
    """Load the runs of a folder; one that cannot be read is told and left out."""
    from leptonbench.errors import StorageError
    from leptonbench.store import RunStore, run_folders

    found: list[Run] = []
    for path in run_folders(root):
        try:
            store = RunStore.open(path)
            found.append((store.manifest, store.records()))
        except StorageError as error:
            console.say(f"left out: {error}")
    return found


def _show(series: list[Series]) -> None:
    from leptonbench.cli.wording import counted, number

    rows = [
        [
            one.cell.key,
            change.run,
            change.commit or "-",
            number(one.metric, change.before),
            number(one.metric, change.after),
            f"{change.ratio - 1:+.1%}",
            {True: "worse", False: "better", None: "different"}[change.worse],
            f"{change.p_value:.2g}",
        ]
        for one in series
        for change in one.changes
    ]
    if rows:
        names = ("cell", "first run after it", "commit", "before", "after", "change", "is", "p")
        console.table([console.Column(name) for name in names], rows)
    console.out(f"{len(series)} series, {counted(len(rows), 'change')} of level")
    for one in series:
        for segment in one.segments:
            if segment.why_none:
                console.say(f"{one.cell.key}: {segment.why_none}")
