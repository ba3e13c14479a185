"""Record to view model: everything the templates show, computed once, no markup decisions left but layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from leptonbench.report.details import CellDetail, SettingRow, build_details, settings_rows
from leptonbench.report.i18n import Translator
from leptonbench.report.missing import Missing, missing_cells
from leptonbench.report.naming import Namer, ordered
from leptonbench.report.numbers import plain
from leptonbench.report.plots import ChartGroup, build_charts, limits_of, make_legend
from leptonbench.report.summary import Summariser, WorkloadSummary
from leptonbench.report.table import STATUS_ORDER, Group, arrange, build_groups
from leptonbench.report.verdicts import ContributionRow, VariantTable, build_contributions, build_variants
from leptonbench.schema import CellRecord, Notice, Provenance, RunManifest, Status


class Trust(NamedTuple):
    """What a reader weighs before believing anything below."""

    schema_version: int
    commit: str
    dirty: bool | None
    machine: str
    provenances: tuple[tuple[Provenance, int], ...]
    absent: int
    statuses: tuple[tuple[Status, int], ...]
    notices: tuple[Notice, ...]
    cell_notices: tuple[tuple[str, int], ...]

    @property
    def alarming(self) -> bool:
        """Tell whether the red band is shown."""
        broken = any(status in (Status.FAILED, Status.INVALID) and n for status, n in self.statuses)
        return broken or bool(self.notices) or bool(self.dirty)


class FilterAxis(NamedTuple):
    """Chips of one axis; `values` are as written in the rows' data attributes."""

    axis: str
    values: tuple[str, ...]


class WorkloadPart(NamedTuple):
    """Everything about one workload; `id` is its page fragment."""

    id: str
    name: str
    title: str
    description: str
    summary: WorkloadSummary
    variants: VariantTable | None
    contributions: tuple[ContributionRow, ...]
    charts: tuple[ChartGroup, ...]
    groups: tuple[Group, ...]
    filters: tuple[FilterAxis, ...]
    missing: tuple[Missing, ...]


class ReportView(NamedTuple):
    """The whole page."""

    manifest: RunManifest
    title: str
    description: str
    trust: Trust
    records: int
    parts: tuple[WorkloadPart, ...]
    details: tuple[CellDetail, ...]
    workload_titles: dict[str, str]
    environment: tuple[tuple[str, str], ...]
    state: tuple[tuple[str, str], ...]
    settings: tuple[SettingRow, ...]


def build_view(manifest: RunManifest, records: Sequence[CellRecord], translate: Translator) -> ReportView:
    """Return the view model of one run in one language."""
    in_order = arrange(manifest, records)
    namer = Namer([record.cell for record in in_order])
    return ReportView(
        manifest=manifest,
        title=translate.text(manifest.suite.title),
        description=translate.text(manifest.suite.description),
        trust=_trust(manifest, records),
        records=len(records),
        parts=tuple(_parts(manifest, in_order, translate, namer)),
        details=tuple(build_details(manifest, _tried(in_order), translate, namer)),
        workload_titles=_workload_titles(manifest, records, translate),
        environment=_environment(manifest),
        state=_state(manifest),
        settings=settings_rows(manifest.settings.requested, manifest.settings.effective),
    )


def _tried(records: Sequence[CellRecord]) -> list[CellRecord]:
    """Return the cells that there is more to say of than why they were skipped."""
    return [record for record in records if record.status is not Status.SKIPPED]


def _parts(
    manifest: RunManifest, in_order: Sequence[CellRecord], translate: Translator, namer: Namer
) -> list[WorkloadPart]:
    by_workload: dict[str, list[CellRecord]] = {}
    for record in in_order:
        by_workload.setdefault(record.cell.workload, []).append(record)
    legend = make_legend(manifest, in_order)
    summariser = Summariser(manifest, in_order, translate, namer)
    specs = {spec.name: spec for spec in manifest.workloads}
    parts: list[WorkloadPart] = []
    tables = 0
    for number, (name, records) in enumerate(by_workload.items(), 1):
        groups = build_groups(records, namer, first=tables + 1)
        tables += len(groups)
        table = build_variants(manifest, name, records, translate, namer)
        summary = summariser.workload(name, table, anchor=f"w{number}-compress")
        limits = limits_of(manifest, name, records)
        parts.append(
            WorkloadPart(
                id=f"w{number}",
                name=name,
                title=summary.title,
                description=translate.text(specs[name].description) if name in specs else "",
                summary=summary,
                variants=table,
                contributions=tuple(build_contributions(manifest, name, records, translate, namer)),
                charts=tuple(build_charts(groups, legend, limits, translate, namer)),
                groups=tuple(groups),
                filters=_filters(manifest, _tried(records)),
                missing=tuple(missing_cells(records, namer)),
            )
        )
    return parts


def _trust(manifest: RunManifest, records: Sequence[CellRecord]) -> Trust:
    quantities = [quantity for record in records for quantity in record.metrics.values()]
    counted = Counter(quantity.provenance for quantity in quantities if quantity.value is not None)
    statuses = Counter(record.status for record in records)
    noticed = Counter(code for record in records for code in _notice_codes(record))
    identity = manifest.fingerprint.identity
    parts = [identity.cpu_model, *identity.gpus]
    return Trust(
        schema_version=manifest.schema_version,
        commit=(manifest.git_commit or "")[:10],
        dirty=manifest.git_dirty,
        machine=" + ".join(parts),
        provenances=tuple((kind, counted[kind]) for kind in Provenance),
        absent=sum(quantity.value is None for quantity in quantities),
        statuses=tuple((status, statuses[status]) for status in STATUS_ORDER),
        notices=manifest.notices,
        cell_notices=tuple(sorted(noticed.items(), key=lambda item: (-item[1], item[0]))),
    )


def _notice_codes(record: CellRecord) -> set[str]:
    in_rounds = {notice.code for item in record.rounds for notice in item.notices}
    return in_rounds | {notice.code for notice in record.warnings}


def _filters(manifest: RunManifest, records: Sequence[CellRecord]) -> tuple[FilterAxis, ...]:
    cells = [record.cell for record in records]
    axes = (
        FilterAxis("backend", ordered((cell.backend for cell in cells), manifest.suite.backends)),
        FilterAxis("variant", ordered((cell.variant for cell in cells), [spec.name for spec in manifest.variants])),
        FilterAxis("scenario", ordered((cell.scenario.value for cell in cells), [])),
        FilterAxis("status", ordered((record.status.value for record in records), [s.value for s in STATUS_ORDER])),
    )
    return tuple(axis for axis in axes if len(axis.values) > 1)


def _workload_titles(manifest: RunManifest, records: Sequence[CellRecord], translate: Translator) -> dict[str, str]:
    titles = {record.cell.workload: record.cell.workload for record in records}
    return titles | {spec.name: translate.text(spec.title) for spec in manifest.workloads}


def _environment(manifest: RunManifest) -> tuple[tuple[str, str], ...]:
    identity = manifest.fingerprint.identity.model_dump()
    packages = identity.pop("packages")
    identity["memory_bytes"] = f"{plain(identity['memory_bytes'], 'B')} ({identity['memory_bytes']:,} B)"
    identity["packages"] = [f"{name} {version}" for name, version in sorted(packages.items())]
    return tuple((name, _listed(value)) for name, value in identity.items())


def _state(manifest: RunManifest) -> tuple[tuple[str, str], ...]:
    state = manifest.fingerprint.state.model_dump()
    state["available_memory_bytes"] = plain(state["available_memory_bytes"], "B")
    if state["cpu_frequency_hz"] is not None:
        state["cpu_frequency_hz"] = plain(state["cpu_frequency_hz"], "Hz")
    return tuple((name, _listed(value)) for name, value in state.items())


def _listed(value: object) -> str:
    if value is None or value == ():
        return ""
    return ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
