"""`leptonbench show`: look at a run, or at one of its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson, RunName

if TYPE_CHECKING:
    from leptonbench.schema import CellRecord
    from leptonbench.store import RunStore


def show(
    run: RunName,
    cell: Annotated[
        list[str] | None, typer.Argument(metavar="[CELL]...", help="A cell's key, or words that only it contains.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a run's results, or everything about one cell."""
    from leptonbench.schema import SCHEMA_VERSION
    from leptonbench.store import RunStore, find_run

    store = RunStore.open(find_run(run))
    chosen = store.record(store.find_cell(" ".join(cell)).key) if cell else None
    if as_json and chosen:
        console.document(chosen.model_dump(mode="json"))
    elif as_json:
        records = [record.model_dump(mode="json") for record in store.records()]
        manifest = store.manifest.model_dump(mode="json")
        console.document({"schema_version": SCHEMA_VERSION, "manifest": manifest, "records": records})
    elif chosen:
        _show_cell(chosen)
    else:
        _show_run(store)


def _show_run(store: RunStore) -> None:
    from collections import Counter

    from leptonbench.cli.wording import absences, by_workload, counted, overview, verdicts
    from leptonbench.report.table import arrange

    manifest, records = store.manifest, store.records()
    identity = manifest.fingerprint.identity
    console.out(f"{manifest.run_id}: suite {manifest.suite.name}, {manifest.created}")
    console.out(f"{identity.cpu_model}, {identity.logical_cores} cores, {identity.os}")
    if manifest.finished is None:
        console.say(f"this run is not finished; go on with `leptonbench run --resume {store.path}`")
    counts = Counter(record.status.value for record in records)
    missing = len(manifest.cells) - len(records)
    parts = [f"{count} {status}" for status, count in counts.items()] + ([f"{missing} to do"] if missing > 0 else [])
    console.out(f"{counted(len(manifest.cells), 'cell')}: {', '.join(parts)}")
    numbered = [record for record in records if record.metrics]
    shown = arrange(manifest, numbered)
    for workload, some in by_workload(shown).items():
        console.out()
        console.table(*overview(some), title=workload)
        mine = [record for record in records if record.cell.workload == workload]
        for sentence in verdicts(manifest, workload, mine):
            console.out(sentence)
    absent = [record for record in records if record.reason]
    if absent:
        console.out()
        console.table(*absences(absent))


def _show_cell(record: CellRecord) -> None:
    from leptonbench.cli.wording import amount, because, plain_text
    from leptonbench.report.findings import say_cause
    from leptonbench.report.i18n import Translator
    from leptonbench.schema import METRICS

    console.out(record.cell.key)
    console.out(f"status: {record.status.value}")
    if record.reason:
        console.out(f"  {because(record.reason)}")
        for line in record.reason.stderr:
            console.out(f"  | {line}")
        if record.reason.hint:
            console.out(f"  hint: {record.reason.hint}")
    if record.metrics:
        columns = [console.Column("metric"), console.Column("value"), console.Column("method")]
        titles = {tag: METRICS[tag].title_en if tag in METRICS else tag for tag in record.metrics}
        rows = [
            [titles[tag], amount(tag, quantity, full=True), quantity.method or ""]
            for tag, quantity in record.metrics.items()
        ]
        console.out()
        console.table(columns, rows)
    if record.rounds:
        console.out()
        _show_rounds(record)
    for cause in record.causes:
        console.out(f"\nwhy not faster ({cause.code}): {plain_text(say_cause(cause, Translator('en')))}")
    for notice in record.warnings:
        console.out(
            f"\nwarning ({notice.code}): {notice.message}" + (f"\n  hint: {notice.hint}" if notice.hint else "")
        )


def _show_rounds(record: CellRecord) -> None:
    from leptonbench.cli.wording import because, number
    from leptonbench.schema import METRICS

    tags = [tag for tag in METRICS if any(tag in item.values for item in record.rounds)][:4]
    columns = [console.Column("round", right=True), console.Column("status"), console.Column("queries", right=True)]
    columns += [console.Column(METRICS[tag].title_en, right=True) for tag in tags] + [console.Column("why")]
    rows = []
    for item in record.rounds:
        values = [number(tag, item.values.get(tag)) for tag in tags]
        rows.append([str(item.index), item.status.value, str(item.queries), *values, because(item.reason)])
    console.table(columns, rows)
