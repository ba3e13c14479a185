"""Runs of one cell whose level changes, and series of every kind that the page has words for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from leptonbench.report.history import Change, Run, Series, build_history
from leptonbench.schema import CellRecord, RunManifest, Scenario, Status
from tests.report_factory import make_run


def history_runs(*levels: tuple[float, int], python: tuple[str, ...] = ()) -> list[Run]:
    """Return runs of one cell whose latency has these levels, and of which each stretch may have its own Python."""
    manifest, records = make_run()
    record = next(r for r in records if r.status is Status.OK and r.cell.scenario is Scenario.SINGLE_STREAM)
    random = np.random.default_rng(1)
    runs: list[Run] = []
    for part, (level, length) in enumerate(levels):
        for _ in range(length):
            runs.append(_run(manifest, record, len(runs), level * float(np.exp(random.normal(0, 0.01))), python, part))
    return runs


def _run(
    manifest: RunManifest, record: CellRecord, index: int, value: float, python: tuple[str, ...], part: int
) -> Run:
    created = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=index)).isoformat()
    identity = manifest.fingerprint.identity
    if python:
        identity = identity.model_copy(update={"python": python[part]})
    machine = manifest.fingerprint.model_copy(update={"identity": identity})
    changes = {"run_id": f"run-{index:02}", "created": created, "fingerprint": machine, "cells": (record.cell,)}
    quantity = record.metrics["latency_p50"].model_copy(
        update={"value": value, "low": value * 0.99, "high": value * 1.01}
    )
    figures = {**record.metrics, "latency_p50": quantity}
    return manifest.model_copy(update=changes), [record.model_copy(update={"metrics": figures})]


def every_kind() -> list[Series]:
    """Return series with changes for worse, better and otherwise, with a split, with few runs, and without changes."""
    (steady,) = build_history(history_runs((0.01, 16)))
    (split,) = build_history(history_runs((0.01, 3), (0.01, 3), python=("3.11.1", "3.12.1")))
    first = steady.segments[0]
    kinds = enumerate((True, False, None), 1)
    changes = tuple(Change(4 * i, f"run-{i}", "", 0.01, 0.02, 2.0, 0.001, worse) for i, worse in kinds)
    return [steady, split, steady._replace(segments=(first._replace(changes=changes),))]
