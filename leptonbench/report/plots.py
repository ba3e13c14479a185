"""Which Pareto charts a run has, and their points: per workload and scenario, per provenance and machine count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from leptonbench.report.charts import MARKERS, PALETTE_SIZE, ChartPoint, ChartTexts, Limits, pareto_svg
from leptonbench.report.choice import comparable, metric_of
from leptonbench.report.compress import speed_metric
from leptonbench.report.i18n import Translator
from leptonbench.report.naming import Namer, ordered
from leptonbench.report.numbers import lower_is_better, own_bounds
from leptonbench.report.table import Group
from leptonbench.schema import CellRecord, Provenance, Quantity, RunManifest, Status, weakest
from leptonbench.stats.pareto import ParetoPoint, pareto_front

AGAINST = ("cost_per_million", "quality", "energy_per_inference")


class Legend(NamedTuple):
    """Colour index by backend and marker index by variant, the same in every chart of the page."""

    backends: dict[str, int]
    variants: dict[str, int]


class Chart(NamedTuple):
    """One chart, or the reason why there is none."""

    id: str
    title: str
    svg: Markup | None
    missing: Markup | None


class ChartGroup(NamedTuple):
    """The charts of one workload in one scenario, with the legend's part that they use."""

    group: Group
    charts: tuple[Chart, ...]
    backends: tuple[tuple[str, int], ...]
    variants: tuple[tuple[str, int], ...]
    provenances: frozenset[Provenance]


def make_legend(manifest: RunManifest, records: Sequence[CellRecord]) -> Legend:
    """Give every backend a colour and every variant a marker, in the suite's order; backends repeat after eight."""
    backends = ordered((record.cell.backend for record in records), manifest.suite.backends)
    variants = ordered((record.cell.variant for record in records), [spec.name for spec in manifest.variants])
    return Legend(
        {name: index % PALETTE_SIZE for index, name in enumerate(backends)},
        {name: index % len(MARKERS) for index, name in enumerate(variants)},
    )


def limits_of(manifest: RunManifest, workload: str, records: Sequence[CellRecord]) -> Limits:
    """Return a workload's latency target, and its quality floor: the higher of the absolute and fp32's share."""
    spec = next((spec for spec in manifest.workloads if spec.name == workload), None)
    target_s = manifest.suite.target_s(workload)
    if spec is None:
        return Limits({"latency_p50": target_s})
    share = manifest.suite.relative_floor or spec.quality.relative_floor
    baselines = {variant.name for variant in manifest.variants if not variant.steps}
    whole = [q.value for r in records if r.cell.variant in baselines and (q := metric_of(r, "quality")) and q.value]
    return Limits({"latency_p50": target_s, "quality": max([spec.quality.floor, *(share * value for value in whole)])})


def build_charts(
    groups: Sequence[Group], legend: Legend, limits: Limits, translate: Translator, namer: Namer
) -> list[ChartGroup]:
    """Return the charts of every group that has numbers for two cells at least."""
    found = []
    for group in groups:
        records = [row.record for row in group.rows if row.record.status in (Status.OK, Status.INVALID)]
        x_tag = speed_metric(group.scenario)
        plotted = [record for record in records if metric_of(record, x_tag)]
        if len(plotted) < 2:
            continue
        against = [comparable(tag, plotted) for tag in AGAINST]
        points = {tag: _points(plotted, x_tag, tag, legend, namer) for tag in against}
        charts = tuple(_chart(group, x_tag, tag, points[tag], limits, translate) for tag in against)
        shown = {point.key for some in points.values() for point in some}
        cells = [record.cell for record in plotted if record.cell.key in shown]
        found.append(
            ChartGroup(
                group,
                charts,
                tuple((name, i) for name, i in legend.backends.items() if any(c.backend == name for c in cells)),
                tuple((name, i) for name, i in legend.variants.items() if any(c.variant == name for c in cells)),
                frozenset(point.provenance for some in points.values() for point in some),
            )
        )
    return found


def _points(records: Sequence[CellRecord], x_tag: str, y_tag: str, legend: Legend, namer: Namer) -> list[ChartPoint]:
    both = [(record, metric_of(record, x_tag), metric_of(record, y_tag)) for record in records]
    points = [_point(record, x, y, legend, namer) for record, x, y in both if x is not None and y is not None]
    machines = {record.cell.key: (record.cell.device, record.cell.instances) for record in records}
    unfit = {r.cell.key for r in records if r.status is Status.INVALID or r.meets_quality is False}
    front = _fronts(points, machines, x_tag, y_tag, unfit=unfit)
    return [point._replace(front=point.key in front) for point in points]


def _fronts(
    points: Sequence[ChartPoint],
    machines: dict[str, tuple[str, int]],
    x_tag: str,
    y_tag: str,
    *,
    unfit: set[str],
) -> set[str]:
    """Return the keys not dominated within their own provenance and machine.

    Invalid cells and those below the quality floor (`unfit`) are never on a front, and dominate nothing.
    """
    classes: dict[tuple[Provenance, tuple[str, int]], list[ParetoPoint]] = {}
    for p in points:
        if p.key not in unfit:
            place = ParetoPoint(p.key, p.x, p.x_low, p.x_high, p.y, p.y_low, p.y_high)
            classes.setdefault((p.provenance, machines[p.key]), []).append(place)
    directions = {
        "x_lower_is_better": lower_is_better(x_tag) is True,
        "y_lower_is_better": lower_is_better(y_tag) is True,
    }
    return {key for places in classes.values() for key in pareto_front(places, **directions)}


def _point(record: CellRecord, x: Quantity, y: Quantity, legend: Legend, namer: Namer) -> ChartPoint:
    cell = record.cell
    (x_low, x_high), (y_low, y_high) = own_bounds(x), own_bounds(y)
    return ChartPoint(
        key=cell.key,
        anchor=namer.anchor(cell),
        label=namer.short(cell),
        x=x.value or 0.0,
        x_low=x_low,
        x_high=x_high,
        y=y.value or 0.0,
        y_low=y_low,
        y_high=y_high,
        colour=legend.backends[cell.backend],
        marker=legend.variants[cell.variant],
        provenance=weakest(kind for kind in (x.provenance, y.provenance) if kind is not None),
        front=False,
        below=record.meets_quality is False,
    )


def _chart(
    group: Group, x_tag: str, y_tag: str, points: Sequence[ChartPoint], limits: Limits, translate: Translator
) -> Chart:
    chart_id = f"{group.id}{y_tag[0]}"
    x_title, y_title = translate.metric(x_tag), translate.metric(y_tag)
    title = str(translate("chart.title", x=x_title, y=y_title))
    if not points:
        return Chart(chart_id, title, None, translate("chart.missing", metric=y_title))
    front = [Markup("{}").format(point.label) for point in points if point.front]
    description = translate("chart.description", n=len(points), front=translate.join(front))
    texts = ChartTexts(
        title,
        str(description),
        x_title,
        y_title,
        str(translate("chart.better")),
        str(translate("chart.below")),
        {"latency_p50": str(translate("chart.target")), "quality": str(translate("chart.floor"))},
    )
    return Chart(chart_id, title, pareto_svg(chart_id, points, x_tag, y_tag, texts, limits), None)
