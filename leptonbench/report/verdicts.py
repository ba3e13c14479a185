"""Judgements to rows: one table a workload that says of every variant what it brings, what it costs and if it pays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from leptonbench.report.choice import metric_of
from leptonbench.report.compress import (
    Compression,
    Contribution,
    Judged,
    Verdict,
    contributions,
    floor_state,
    judge_workload,
)
from leptonbench.report.findings import Findings
from leptonbench.report.fragments import cell_link, times
from leptonbench.report.i18n import Translator
from leptonbench.report.naming import Namer
from leptonbench.report.numbers import Figure, Ratio, Scale, bounds, figure, scale_for
from leptonbench.schema import METRICS, CellRecord, Quantity, RunManifest, Status

FIGURES = ("quality", "quality_delta", "speed", "theoretical_speedup", "model_size", "stored_size", "cost_per_million")
"""Columns of one variant's best cell; `speed` is the scenario's own metric of it."""

_TIMED = 3
_SAID = (
    Verdict.ENGINE,
    Verdict.SMALLER,
    Verdict.INDISTINCT,
    Verdict.SLOWER,
    Verdict.INACCURATE,
    Verdict.UNKNOWN,
    Verdict.ABSENT,
)


class EngineSpeed(NamedTuple):
    """A variant's speedup over fp32 on one engine; `gain` only where it is clear, valid and accurate."""

    figure: Figure
    anchor: str
    gain: bool
    below: bool
    invalid: bool


class VariantRow(NamedTuple):
    """One variant.

    Attributes:
        floor: `meets`, `meets_unsure`, `below`, `below_unsure` or empty: where its quality lies.
        figures: In the order of `VariantTable.columns`; `None` where the record has none.
        times: Against the fastest fp32, in prose.
        engines: In the order of `VariantTable.backends`; `None` where it was not measured.
        findings: Why, and what its steps left to say.
    """

    name: str
    title: str
    verdict: Verdict
    anchor: str
    engine: str
    floor: str
    figures: tuple[Figure | None, ...]
    times: Ratio | None
    engines: tuple[EngineSpeed | None, ...]
    findings: tuple[Markup, ...]


class VariantTable(NamedTuple):
    """Which compression pays on one workload.

    Attributes:
        sentences: What pays and what does not, from the records, by verdict.
        columns: Metric tags with their display units.
    """

    compression: Compression
    sentences: tuple[tuple[Verdict, Markup], ...]
    columns: tuple[tuple[str, str], ...]
    backends: tuple[str, ...]
    rows: tuple[VariantRow, ...]
    base: Markup | None


class ContributionRow(NamedTuple):
    """One step of a composition on one engine; `first` on the first row of its composition and engine."""

    item: Contribution
    first: bool
    span: int
    before: Markup
    after: Markup
    speed: Markup
    quality: Markup


def build_variants(
    manifest: RunManifest, workload: str, records: Sequence[CellRecord], translate: Translator, namer: Namer
) -> VariantTable | None:
    """Return the table of one workload; `None` where nothing was compressed."""
    found = judge_workload(manifest, workload, records)
    if found is None:
        return None
    tags = tuple(found.metric if tag == "speed" else tag for tag in FIGURES)
    shown = tuple(tag for tag in tags if any(_quantity(judged, tag) for judged in found.variants))
    scales = {tag: _scale(found, tag) for tag in shown}
    findings = Findings(found, translate)
    rows = tuple(_row(judged, found, scales, findings, translate, namer) for judged in found.variants)
    return VariantTable(
        compression=found,
        sentences=tuple(_sentences(found, translate, namer)),
        columns=tuple((tag, scales[tag].unit) for tag in shown),
        backends=found.backends,
        rows=rows,
        base=cell_link(found.base, namer) if found.base is not None else None,
    )


def _quantity(judged: Judged, tag: str) -> Quantity | None:
    return metric_of(judged.best, tag) if judged.best is not None else None


def _scale(found: Compression, tag: str) -> Scale:
    values = [quantity.value or 0.0 for judged in found.variants if (quantity := _quantity(judged, tag))]
    return scale_for(tag, METRICS[tag].unit, values)


def _row(
    judged: Judged,
    found: Compression,
    scales: dict[str, Scale],
    findings: Findings,
    translate: Translator,
    namer: Namer,
) -> VariantRow:
    quantities = {tag: _quantity(judged, tag) for tag in scales}
    speeds = tuple(_engine_speed(judged.by_backend.get(backend), namer) for backend in found.backends)
    return VariantRow(
        name=judged.name,
        title=translate.text(judged.spec.title) if judged.spec else "",
        verdict=judged.verdict,
        anchor=namer.anchor(judged.best.cell) if judged.best else "",
        engine=judged.best.cell.backend if judged.best else "",
        floor=floor_state(judged.best),
        figures=tuple(figure(tag, q, scales[tag]) if q else None for tag, q in quantities.items()),
        times=judged.times,
        engines=speeds,
        findings=findings.of(judged),
    )


def _engine_speed(record: CellRecord | None, namer: Namer) -> EngineSpeed | None:
    if record is None:
        return None
    speedup = metric_of(record, "speedup")
    if speedup is None:
        why = record.metrics["speedup"].why_null if "speedup" in record.metrics else None
        absent = Quantity.null("1", why or "not recorded")
        return EngineSpeed(figure("speedup", absent), namer.anchor(record.cell), False, False, False)
    valid = record.status is Status.OK
    return EngineSpeed(
        figure=figure("speedup", speedup),
        anchor=namer.anchor(record.cell),
        gain=valid and record.meets_quality is True and bounds(speedup)[0] > 1,
        below=record.meets_quality is False,
        invalid=not valid,
    )


def _sentences(found: Compression, translate: Translator, namer: Namer) -> list[tuple[Verdict, Markup]]:
    """Say what pays, then what does not, one sentence a verdict."""
    sentences = []
    pays = found.of(Verdict.PAYS)
    if found.base is not None:
        base = cell_link(found.base, namer)
        if pays:
            ranked = _ranked(pays, translate, namer)
            sentences.append((Verdict.PAYS, translate("compress.say.pays", base=base, items=ranked)))
        else:
            sentences.append((Verdict.PAYS, translate("compress.say.none", base=base)))
    for verdict in _SAID:
        some = found.of(verdict)
        if some:
            items = [_named(judged, translate, namer) for judged in some]
            sentences.append((verdict, translate(f"compress.say.{verdict.value}", items=translate.join(items))))
    return sentences


def _name(judged: Judged, namer: Namer) -> Markup:
    if judged.best is None:
        return Markup("{}").format(judged.name)
    return Markup('<a href="#{}">{}</a>').format(namer.anchor(judged.best.cell), judged.name)


def _ranked(pays: list[Judged], translate: Translator, namer: Namer) -> Markup:
    """Name the variants that pay, the first few with their figures."""
    first = translate.join([_timed(judged, translate, namer) for judged in pays[:_TIMED]])
    rest = [_name(judged, namer) for judged in pays[_TIMED:]]
    return translate("compress.others", items=first, names=translate.join(rest)) if rest else first


def _timed(judged: Judged, translate: Translator, namer: Namer) -> Markup:
    name, engine = _name(judged, namer), judged.best.cell.backend if judged.best else ""
    ratio = times(translate, judged.times) if judged.times else Markup("")
    return translate("compress.item.times", variant=name, engine=engine, times=ratio)


def _named(judged: Judged, translate: Translator, namer: Namer) -> Markup:
    name = _name(judged, namer)
    if judged.verdict is Verdict.SMALLER and judged.stored_share is not None:
        return translate("compress.item.share", variant=name, share=f"{100 * judged.stored_share:.0f}")
    return name


def build_contributions(
    manifest: RunManifest, workload: str, records: Sequence[CellRecord], translate: Translator, namer: Namer
) -> list[ContributionRow]:
    """Return what each step of every composition adds, grouped by composition, engine and scenario."""
    found = contributions(manifest, workload, records)
    keys = [(item.composition, item.backend, item.scenario) for item in found]
    rows = []
    for index, item in enumerate(found):
        rows.append(
            ContributionRow(
                item=item,
                first=index == 0 or keys[index] != keys[index - 1],
                span=keys.count(keys[index]),
                before=_cell_name(item.before, namer),
                after=_cell_name(item.after, namer),
                speed=times(translate, item.speed) if item.speed else Markup("—"),
                quality=times(translate, item.quality) if item.quality else Markup("—"),
            )
        )
    return rows


def _cell_name(record: CellRecord, namer: Namer) -> Markup:
    return Markup('<a href="#{}">{}</a>').format(namer.anchor(record.cell), record.cell.variant)
