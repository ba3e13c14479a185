"""Everything recorded about one cell, laid out for reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from leptonbench.report.charts import strip_svg
from leptonbench.report.findings import say_cause
from leptonbench.report.i18n import Translator
from leptonbench.report.naming import Namer, repeat_command
from leptonbench.report.numbers import Figure, figure, plain
from leptonbench.schema import METRICS, CellRecord, EnergyReading, Quantity, RoundRecord, RunManifest, StepSpec


class MetricRow(NamedTuple):
    """One metric with everything that defends it."""

    tag: str
    title: str
    figure: Figure
    quantity: Quantity


class RoundRow(NamedTuple):
    """One round: figures in the order of `CellDetail.round_tags`."""

    record: RoundRecord
    figures: tuple[Figure | None, ...]
    loadgen: str


class SettingRow(NamedTuple):
    """One setting, requested and effective; `differs` where the two disagree."""

    name: str
    requested: str
    effective: str
    differs: bool


class CellDetail(NamedTuple):
    """One cell's `<details>`."""

    record: CellRecord
    anchor: str
    name: str
    causes: tuple[Markup, ...]
    metrics: tuple[MetricRow, ...]
    absent: tuple[tuple[str, tuple[MetricRow, ...]], ...]
    round_tags: tuple[str, ...]
    rounds: tuple[RoundRow, ...]
    strip: Markup | None
    settings: tuple[SettingRow, ...]
    recipe: tuple[str, ...]
    facts: tuple[SettingRow, ...]
    energy: EnergyReading | None
    command: str


def build_details(
    manifest: RunManifest, records: Sequence[CellRecord], translate: Translator, namer: Namer
) -> list[CellDetail]:
    """Return the details of every cell, in the records' order."""
    return [_detail(manifest, record, translate, namer) for record in records]


def _detail(manifest: RunManifest, record: CellRecord, translate: Translator, namer: Namer) -> CellDetail:
    rows = [_metric_row(tag, record.metrics[tag], translate) for tag in _tags(record)]
    absent: dict[str, list[MetricRow]] = {}
    for row in rows:
        if row.figure.value is None:
            absent.setdefault(row.figure.why, []).append(row)
    round_tags = tuple(tag for tag in METRICS if any(tag in item.values for item in record.rounds))
    return CellDetail(
        record=record,
        anchor=namer.anchor(record.cell),
        name=namer.short(record.cell),
        causes=tuple(say_cause(cause, translate) for cause in record.causes),
        metrics=tuple(row for row in rows if row.figure.value is not None),
        absent=tuple((why, tuple(some)) for why, some in absent.items()),
        round_tags=round_tags,
        rounds=tuple(_round_row(item, round_tags) for item in record.rounds),
        strip=_strip(record, translate),
        settings=settings_rows(record.settings.requested, record.settings.effective),
        recipe=tuple(describe_step(step) for step in record.artifact.recipe) if record.artifact else (),
        facts=settings_rows({}, record.artifact.facts) if record.artifact else (),
        energy=next((item.energy for item in record.rounds if item.energy is not None), None),
        command=repeat_command(manifest, record.cell),
    )


def _tags(record: CellRecord) -> list[str]:
    return [tag for tag in METRICS if tag in record.metrics] + [tag for tag in record.metrics if tag not in METRICS]


def _metric_row(tag: str, quantity: Quantity, translate: Translator) -> MetricRow:
    return MetricRow(tag, translate.metric(tag), figure(tag, quantity), quantity)


def _round_row(item: RoundRecord, tags: Sequence[str]) -> RoundRow:
    figures = tuple(
        figure(tag, Quantity(value=item.values[tag], unit=METRICS[tag].unit, provenance="measured"))
        if tag in item.values
        else None
        for tag in tags
    )
    return RoundRow(item, figures, _validity(item.loadgen))


def _validity(loadgen: dict[str, Any]) -> str:
    for key in ("result", "validity", "valid", "status"):
        if key in loadgen:
            value = loadgen[key]
            return ("VALID" if value else "INVALID") if isinstance(value, bool) else str(value)
    return ""


def _strip(record: CellRecord, translate: Translator) -> Markup | None:
    values = [item.values["latency_p50"] for item in record.rounds if "latency_p50" in item.values]
    if len(values) < 2:
        return None
    quantity = record.metrics.get("latency_p50")
    low, high = (quantity.low, quantity.high) if quantity else (None, None)
    title = translate("details.strip", n=len(values), low=plain(min(values), "s"), high=plain(max(values), "s"))
    return strip_svg(values, low, high, str(title))


def settings_rows(requested: dict[str, Any], effective: dict[str, Any]) -> tuple[SettingRow, ...]:
    """Return all settings by name; one that was not requested has an empty request."""
    names = list(dict.fromkeys([*requested, *effective]))
    return tuple(
        SettingRow(
            name,
            _shown(requested.get(name)),
            _shown(effective.get(name)),
            name in requested and name in effective and requested[name] != effective[name],
        )
        for name in names
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key}={_shown(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value)
    return str(value)


def describe_step(step: StepSpec) -> str:
    """Return one compression step as `technique(option=value, ...)`."""
    return f"{step.technique}({_shown(step.options)})" if step.options else step.technique
