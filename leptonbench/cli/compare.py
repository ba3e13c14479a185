"""`leptonbench compare`: two runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson
from leptonbench.errors import EXIT_INVALID, EXIT_OK

if TYPE_CHECKING:
    from leptonbench.comparison import CellComparison, Difference, SoundRatio
    from leptonbench.schema import CellSpec
    from leptonbench.stats.interval import Interval


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="The baseline: a run folder, its name or `latest`.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other run.")],
    metric: Annotated[
        str | None, typer.Option(metavar="TAG", help="What to compare; default: median latency, offline throughput.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compare although machines or what was measured differ.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Compare two runs cell by cell.

    Shown is B's value over A's, with its interval from the rounds. Runs made on machines that differ, or with another
    model, data or latency target for a workload, are incomparable (exit code 3) unless you pass --force; the ratios
    that each run made on its own machine are shown all the same.
    """
    from leptonbench.comparison import (
        as_document,
        compare_runs,
        identity_differences,
        only_in_one,
        sound_ratios,
        task_differences,
    )
    from leptonbench.registry import unknown
    from leptonbench.schema import METRICS, SCHEMA_VERSION
    from leptonbench.store import RunStore, find_run

    if metric is not None and metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    first, second = RunStore.open(find_run(a)), RunStore.open(find_run(b))
    machines = [run.manifest.fingerprint.identity for run in (first, second)]
    tasks = task_differences(first.manifest, second.manifest)
    differences = [*identity_differences(*machines), *tasks]
    comparable = force or not differences
    records = first.records(), second.records()
    cells = compare_runs(*records, metric=metric) if comparable else []
    sound = [] if comparable or tasks else sound_ratios(*records)
    alone = only_in_one(*records)
    if as_json:
        console.document(
            {
                "schema_version": SCHEMA_VERSION,
                "a": str(first.path),
                "b": str(second.path),
                "comparable": not differences,
                "differences": [item._asdict() for item in differences],
                "only_a": [cell.key for cell in alone[0]],
                "only_b": [cell.key for cell in alone[1]],
                "cells": [as_document(item) for item in cells],
                "sound": [
                    {"cell": item.cell.key, "metric": item.metric}
                    | {"a": item.a.model_dump(mode="json"), "b": item.b.model_dump(mode="json")}
                    for item in sound
                ],
            }
        )
    else:
        _show_differences(differences, force=force)
        if comparable:
            _show_cells(cells)
        elif sound:
            _show_sound(sound)
        _show_alone(alone)
    return EXIT_OK if comparable else EXIT_INVALID


def _show_differences(differences: list[Difference], *, force: bool) -> None:
    if not differences:
        return
    word = "compared by force" if force else "incomparable"
    console.say(f"{word}: the machines, or what was measured, differ in {len(differences)} facts")
    for item in differences:
        console.say(f"  {item.field}: {item.a} | {item.b}")
    if not force:
        what = "on one machine with the same model, data and target"
        console.say(f"  hint: measure both {what}, or pass `--force` and read the ratios with that in mind")


def _show_sound(sound: list[SoundRatio]) -> None:
    """Show what each run found on its own machine."""
    from leptonbench.cli.wording import CellNames, amount
    from leptonbench.schema import METRICS

    name = CellNames(item.cell for item in sound)
    columns = [console.Column("cell"), console.Column("metric"), console.Column("A", True), console.Column("B", True)]
    rows = [
        [name(item.cell), METRICS[item.metric].title_en, amount(item.metric, item.a), amount(item.metric, item.b)]
        for item in sound
    ]
    console.table(columns, rows, title="what is sound: each run's ratio to fp32 on its own machine")


def _show_alone(alone: tuple[list[CellSpec], list[CellSpec]]) -> None:
    """Name the cells that have no counterpart: a cell that is gone is a difference, too."""
    if not any(alone):
        return
    from leptonbench.cli.wording import CellNames

    name = CellNames(cell for cells in alone for cell in cells)
    for side, cells in zip(("first", "second"), alone, strict=True):
        for cell in cells:
            console.say(f"only in the {side} run: {name(cell)}")


def _show_cells(cells: list[CellComparison]) -> None:
    if not cells:
        console.say("the runs have no cell in common")
        return
    from leptonbench.cli.console import Column
    from leptonbench.cli.wording import CellNames, number
    from leptonbench.schema import METRICS

    columns = [Column("cell"), Column("metric"), Column("A", True), Column("B", True), Column("B / A"), Column("B is")]
    name = CellNames(item.cell for item in cells)
    rows = [
        [
            name(item.cell),
            METRICS[item.metric].title_en,
            number(item.metric, item.a),
            number(item.metric, item.b),
            _ratio(item.ratio) if item.ratio else "-",
            f"{item.verdict.value} ({item.why})" if item.why else item.verdict.value,
        ]
        for item in cells
    ]
    console.table(columns, rows)


def _ratio(ratio: Interval) -> str:
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.3f} n={ratio.n}"
    return f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] n={ratio.n}"
