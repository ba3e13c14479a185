"""`leptonbench list`: what there is to choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from leptonbench.cli import console
from leptonbench.cli.options import AsJson
from leptonbench.registry import unknown

Rows = list[dict[str, Any]]


def list_kind(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="suites, workloads, variants, backends, devices, metrics or runs.")
    ],
    as_json: AsJson = False,
) -> None:
    """List what there is to choose from."""
    from leptonbench.schema import SCHEMA_VERSION

    if kind not in _KINDS:
        raise unknown("kind", kind, _KINDS)
    rows = _KINDS[kind]()
    if as_json:
        console.document({"schema_version": SCHEMA_VERSION, kind: rows})
    elif not rows:
        console.say(f"there are no {kind}")
    else:
        names = list(rows[0])
        console.table([console.Column(name) for name in names], [[_text(row[name]) for name in names] for row in rows])


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _suites() -> Rows:
    from leptonbench import catalog

    return [
        {
            "name": suite.name,
            "title": suite.title["en"],
            "workloads": list(suite.workloads),
            "variants": list(suite.variants),
            "backends": list(suite.backends),
            "scenarios": [scenario.kind.value for scenario in suite.scenarios],
        }
        for suite in map(catalog.load_suite, catalog.suite_names())
    ]


def _workloads() -> Rows:
    from leptonbench import catalog

    return [
        {
            "name": workload.name,
            "title": workload.title["en"],
            "task": workload.task,
            "quality": f"{workload.quality.name} >= {workload.quality.floor:g}",
        }
        for workload, _ in map(catalog.load_workload, catalog.workload_names())
    ]


def _variants() -> Rows:
    from leptonbench import catalog

    return [
        {
            "name": variant.name,
            "title": variant.title["en"],
            "precision": variant.precision,
            "steps": [step.technique for step in variant.steps],
        }
        for variant in map(catalog.load_variant, catalog.variant_names())
    ]


def _backends() -> Rows:
    from leptonbench.backends import backend_names, device_kind

    return [{"name": name, "device": device_kind(name)} for name in backend_names()]


def _devices() -> Rows:
    from leptonbench import catalog

    own = [
        {"name": "host-cpu", "kind": "cpu", "title": "This machine's CPU"},
        {"name": "host-gpu", "kind": "gpu", "title": "This machine's NVIDIA GPU"},
    ]
    profiles = [profile for kind in catalog.DEVICE_KINDS for profile in catalog.load_profiles(kind)]
    return own + [{"name": profile.name, "kind": profile.kind, "title": profile.title["en"]} for profile in profiles]


def _metrics() -> Rows:
    from leptonbench.schema import METRICS

    return [
        {
            "name": spec.tag,
            "unit": spec.unit,
            "better": spec.direction.value,
            "title": spec.title_en,
            "is": spec.formula,
        }
        for spec in METRICS.values()
    ]


def _runs() -> Rows:
    from leptonbench.errors import StorageError
    from leptonbench.paths import results_dir
    from leptonbench.store import RunStore, run_folders

    rows: Rows = []
    for folder in run_folders(results_dir()):
        try:
            manifest = RunStore.open(folder).manifest
        except StorageError as error:
            console.say(f"warning: {error}")
            continue
        state = "finished" if manifest.finished else "unfinished"
        row = {"name": folder.name, "created": manifest.created, "suite": manifest.suite.name}
        rows.append(row | {"cells": len(manifest.cells), "state": state})
    return rows


_KINDS: dict[str, Callable[[], Rows]] = {
    "suites": _suites,
    "workloads": _workloads,
    "variants": _variants,
    "backends": _backends,
    "devices": _devices,
    "metrics": _metrics,
    "runs": _runs,
}
