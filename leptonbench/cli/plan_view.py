"""What `leptonbench run` shows before and after: the plan, and the best cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leptonbench.cli import console
from leptonbench.cli.console import Column
from leptonbench.cli.progress import plan_line
from leptonbench.cli.wording import CellNames, amount, because, counted
from leptonbench.harness.request import Plan, RunOutcome
from leptonbench.report.choice import RULES, Answer, Question, answer
from leptonbench.schema import SCHEMA_VERSION, CellRecord, Status

_TITLES = {
    Question.FASTEST: "fastest",
    Question.CHEAPEST: "cheapest within the latency target",
    Question.FRUGAL: "least energy",
}

_TOLD_ONE_BY_ONE = 3  # skipped cells with the same reason; `--json` has each


def show_plan(plan: Plan) -> None:
    """Print the cells, the skipped ones with reasons, and the time it will take."""
    name = CellNames([*plan.cells, *(record.cell for record in plan.skipped)])
    rows = [[name(cell), "run", ""] for cell in plan.cells]
    console.table([Column("cell"), Column("plan"), Column("why")], rows + _skipped_rows(plan.skipped, name))
    console.say(plan_line(plan))


def _skipped_rows(records: Sequence[CellRecord], name: CellNames) -> list[list[str]]:
    """Return a row for each cell; one for all that an engine leaves out on a device for the same reason, if many."""
    groups: dict[tuple[str, str, str], list[CellRecord]] = {}
    for record in records:
        groups.setdefault((record.cell.backend, record.cell.device, because(record.reason)), []).append(record)
    rows = []
    for (engine, device, why), group in groups.items():
        words = [name(record.cell) for record in group]
        if len(group) > _TOLD_ONE_BY_ONE:
            variants = {record.cell.variant for record in group}
            which = counted(len(variants), "variant") if len(variants) > 1 else variants.pop()
            words = [f"{counted(len(group), 'cell')} of {engine} on {device} ({which})"]
        rows += [[word, "skip", why] for word in words]
    return rows


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return the plan for `--json`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "cells": [cell.key for cell in plan.cells],
        "skipped": [
            {"cell": record.cell.key, "reason": record.reason.model_dump(mode="json") if record.reason else None}
            for record in plan.skipped
        ],
        "rounds": plan.rounds,
        "duration_s": plan.duration_s,
        "estimate_s": plan.estimate_s,
    }


def show_outcome(outcome: RunOutcome) -> None:
    """Print the best cell for each question, then whatever failed or is invalid."""
    records = outcome.records
    name = CellNames(record.cell for record in records)
    answers = [answer(rule, spec.name, records) for spec in outcome.manifest.workloads for rule in RULES]
    rows = [_answer_row(found, name) for found in answers if found.candidates]
    if rows:
        console.table([Column("best"), Column("cell"), Column("value"), Column("quality"), Column("also")], rows)
    bad = [record for record in records if record.status in (Status.FAILED, Status.INVALID)]
    for record in bad:
        console.say(f"{record.status.value}: {name(record.cell)}: {because(record.reason)}")
        if record.reason and record.reason.hint:
            console.say(f"  hint: {record.reason.hint}")
    if bad:
        counts = Counter(record.status.value for record in bad)
        told = " and ".join(f"{count} {status}" for status, count in counts.items())
        console.say(f"{told} of {counted(len(records), 'cell')}: the exit code is 3")


def outcome_document(outcome: RunOutcome, report: Path | None) -> dict[str, Any]:
    """Return what came out for `--json`; the records themselves are what `show --json` gives."""
    counts = Counter(record.status.value for record in outcome.records)
    return {
        "schema_version": SCHEMA_VERSION,
        "run": str(outcome.path.absolute()),
        "report": str(report) if report else None,
        "clean": outcome.clean,
        "statuses": dict(counts),
        "records": [record.model_dump(mode="json") for record in outcome.records],
    }


def _answer_row(found: Answer, name: CellNames) -> list[str]:
    question = f"{found.workload}: {_TITLES[found.rule.question]}"
    if found.best is None:
        misses = [
            f"{count} miss the {what}"
            for count, what in ((found.rejected_quality, "quality floor"), (found.rejected_target, "latency target"))
            if count
        ]
        return [question, f"none of {found.candidates}: {', '.join(misses)}", "", "", ""]
    return [
        question,
        name(found.best.cell),
        amount(found.rule.metric, found.best.metrics[found.rule.metric]),
        amount("quality", found.best.metrics.get("quality")),
        _tied(found.tied, name),
    ]


def _tied(tied: tuple[CellRecord, ...], name: CellNames) -> str:
    if not tied:
        return ""
    return "not distinguishable: " + ", ".join(name(record.cell) for record in tied)
