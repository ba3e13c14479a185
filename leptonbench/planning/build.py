"""Build a plan: read the cells, size each, price each on every kind of terms, rank, and say what would change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from leptonbench.cost.capacity import Arrivals, Sizing, size, size_by_rate
from leptonbench.cost.rate import assumption, unique
from leptonbench.errors import UsageError
from leptonbench.planning.changes import flips, swings
from leptonbench.planning.market import Market, known_as, load_market
from leptonbench.planning.options import Option, Unit, options
from leptonbench.planning.reader import FEW_SAMPLES, Rated, Served, Unfit, device_of, read_cells
from leptonbench.planning.request import PlanRequest
from leptonbench.schema import Assumption, CellRecord, Notice, Provenance, Quantity, Reason, RunManifest
from leptonbench.schema.plan import (
    AtVolume,
    PlanAbsence,
    PlanDemand,
    PlanDocument,
    PlanRow,
    PlanTarget,
    Ranked,
)
from leptonbench.store import RunStore

_VOLUMES = (0.1, 0.5, 2.0, 10.0)
_AT_VOLUMES = 3  # cells that are sized anew at other volumes


class _Planned(NamedTuple):
    row: PlanRow
    unit: Unit | None
    options: list[Option]


def build_plan(store: RunStore, request: PlanRequest) -> PlanDocument:
    """Return the plan of a run's cells at a demand.

    Raises:
        UsageError: If the region or a price file is wrong, no cell of the workload can be planned with, or none meets
            the target at any number of units.
    """
    manifest = store.manifest
    manifest = manifest.model_copy(update={"devices": tuple(known_as(device) for device in manifest.devices)})
    market = load_market(manifest.devices, region=request.region, hosting=request.hosting, prices=request.prices)
    cells = read_cells(
        store, request.workload, percentile=request.target.percentile, with_processing=request.with_processing
    )
    planned = [_plan_cell(cell, manifest, market, request) for cell in cells]
    _check_feasible(planned, cells, request)
    everything = [option for one in planned for option in one.options]
    ranked = sorted((o for o in everything if o.choice.ranked), key=_horizon_usd)
    return PlanDocument(
        run_id=manifest.run_id,
        workload=request.workload,
        as_of=request.as_of.isoformat(),
        demand=PlanDemand(rates_per_s=request.demand.rates_per_s, source=request.demand.source),
        target=PlanTarget(percentile=request.target.percentile, latency_s=request.target.latency_s),
        spare_nodes=request.spare_nodes,
        region=request.region,
        horizon_years=request.horizon_years,
        rows=tuple(sorted((one.row for one in planned), key=_row_order)),
        ranking=_ranking(ranked),
        swings=swings(ranked, _required(ranked, planned), request),
        flips=flips(ranked, request),
        by_volume=_by_volume(ranked, market, request),
        assumptions=_assumptions(everything, request),
        warnings=(*_few_samples(planned, request), *_warnings(everything, market, request)),
    )


def _plan_cell(cell: Served | Rated | Unfit, manifest: RunManifest, market: Market, request: PlanRequest) -> _Planned:
    record = cell.record
    if isinstance(cell, Unfit):
        return _Planned(_empty_row(record, cell.reason), None, [])
    sizing = _size(cell, request.demand.arrivals, request)
    if sizing.required is None:
        hint = "loosen --slo, or plan with a faster cell"
        reason = Reason(code="infeasible", message=sizing.why_infeasible or "no number of units is enough", hint=hint)
        return _Planned(_empty_row(record, reason), None, [])
    cores = manifest.fingerprint.identity.logical_cores
    unit = Unit(cell, device_of(manifest, record), min(record.cell.threads * record.cell.instances, cores))
    found, absent = options(unit, sizing, market, request)
    return _Planned(_row(cell, sizing, found, absent), unit, found)


def _size(cell: Served | Rated, arrivals: Arrivals, request: PlanRequest) -> Sizing:
    if isinstance(cell, Rated):
        return size_by_rate(cell.rate, arrivals)
    return size(cell.service, arrivals, request.target, seed=request.seed)


def _empty_row(record: CellRecord, reason: Reason) -> PlanRow:
    nothing = Quantity.null("1", reason.message)
    return PlanRow(
        cell=record.cell,
        reason=reason,
        required=nothing,
        utilisation_peak=nothing,
        utilisation_mean=nothing,
        latency=Quantity.null("s", reason.message),
        quality=record.metrics.get("quality") or Quantity.null("1", "no quality was measured"),
    )


def _row(cell: Served | Rated, sizing: Sizing, found: list[Option], absent: list[PlanAbsence]) -> PlanRow:
    record = cell.record
    provenance = sizing.provenance
    open_ended = sizing.high is None
    required = Quantity(
        value=sizing.required,
        unit="1",
        low=None if open_ended else sizing.low,
        high=sizing.high,
        confidence=None if open_ended else 0.95,
        provenance=provenance,
        method=sizing.method + ("; open upwards" if open_ended else ""),
    )
    return PlanRow(
        cell=record.cell,
        provenance=provenance,
        required=required,
        utilisation_peak=_plain(sizing.utilisation_peak, "1", provenance),
        utilisation_mean=_plain(sizing.utilisation_mean, "1", provenance),
        latency=_estimated(sizing, cell.unranked),
        quality=record.metrics.get("quality") or Quantity.null("1", "no quality was measured"),
        choices=tuple(option.choice for option in found),
        absent=tuple(absent),
        method=sizing.method,
        notes=(*cell.notes, *sizing.notes),
    )


def _plain(value: float | None, unit: str, provenance: Provenance) -> Quantity:
    if value is None:
        return Quantity.null(unit, "the sizing does not tell")
    return Quantity(value=value, unit=unit, provenance=provenance, method="busy time of the serving units")


def _estimated(sizing: Sizing, unknown: str | None) -> Quantity:
    if sizing.latency_s is None:
        return Quantity.null("s", unknown or "the sizing does not tell")
    value, low, high = sizing.latency_s
    return Quantity(
        value=value,
        unit="s",
        low=None if high is None else low,
        high=high,
        confidence=None if high is None else 0.95,
        provenance=sizing.provenance,
        method=sizing.method,
    )


def _row_order(row: PlanRow) -> tuple[bool, float, str]:
    prices = [c.usd_horizon.value for c in row.choices if c.ranked and c.usd_horizon.value is not None]
    return row.reason is not None, min(prices, default=float("inf")), row.cell.key


def _check_feasible(planned: Sequence[_Planned], cells: Sequence[Served | Rated | Unfit], request: PlanRequest) -> None:
    """Raise where no cell can be planned with: nothing to choose from is an answer to a wrong question."""
    if any(one.unit is not None for one in planned):
        return
    served = [cell for cell in cells if isinstance(cell, Served)]
    if not served:
        reasons = {one.row.reason.message for one in planned if one.row.reason}
        raise UsageError(
            f"no cell of `{request.workload}` can be planned with",
            cause="; ".join(sorted(reasons)) or "the run measured none",
            hint="measure single-stream or server cells with a variant that meets its quality floor",
        )
    target = request.target
    fastest_s, cell = min((_alone_s(cell, target.percentile), cell.record.cell.key) for cell in served)
    raise UsageError(
        f"no cell of `{request.workload}` meets p{100 * target.percentile:g} <= {1e3 * target.latency_s:g} ms",
        cause=f"the fastest, {cell}, takes {1e3 * fastest_s:.3g} ms with nobody waiting",
        hint="loosen --slo, or measure a smaller variant or a faster device",
    )


def _alone_s(cell: Served, percentile: float) -> float:
    """Return the percentile of a query's latency with nobody waiting."""
    pooled = cell.service.pooled()
    return float(np.quantile(pooled[min(pooled)], percentile))


def _horizon_usd(option: Option) -> float:
    return option.choice.usd_horizon.value or 0.0


def _ranking(ranked: Sequence[Option]) -> tuple[Ranked, ...]:
    if not ranked:
        return ()
    first = _own_ends(ranked[0].choice.usd_horizon)
    rows = []
    for option in ranked:
        usd = option.choice.usd_horizon
        tied = option is not ranked[0] and _own_ends(usd)[0] <= first[1]
        cell = option.unit.served.record.cell.key
        rows.append(Ranked(cell=cell, terms=option.choice.terms, usd_horizon=usd, tied=tied))
    return tuple(rows)


def _own_ends(quantity: Quantity) -> tuple[float, float]:
    """Return what a choice's cost may be at the stated prices; one that is open upwards has no upper end."""
    value = quantity.value or 0.0
    if quantity.own_low is None or quantity.own_high is None:
        return value, float("inf")
    return quantity.own_low, quantity.own_high


def _required(ranked: Sequence[Option], planned: Sequence[_Planned]) -> Quantity:
    """Return the serving units of the first choice."""
    found = (one.row.required for one in planned if ranked and one.unit is ranked[0].unit)
    return next(found, Quantity.null("1", "nothing is ranked"))


def _by_volume(ranked: Sequence[Option], market: Market, request: PlanRequest) -> tuple[AtVolume, ...]:
    """Return the cheapest choice at other volumes, of the cells that are cheapest on each kind of terms here."""
    units = _best_units(ranked)
    rows = []
    for factor in _VOLUMES:
        rates = tuple(rate * factor for rate in request.demand.rates_per_s)
        scaled = replace(request, demand=request.demand._replace(rates_per_s=rates))
        found: list[Option] = []
        for unit in units:
            sizing = _size(unit.served, Arrivals(rates), request)
            if sizing.required is not None:
                found += [o for o in options(unit, sizing, market, scaled)[0] if o.choice.ranked]
        if found:
            best = min(found, key=_horizon_usd)
            choice = best.choice
            cell = best.unit.served.record.cell.key
            rows.append(
                AtVolume(
                    factor=factor, cell=cell, terms=choice.terms, units=choice.units, usd_horizon=choice.usd_horizon
                )
            )
    return tuple(rows)


def _best_units(ranked: Sequence[Option]) -> list[Unit]:
    """Return the units of the cheapest choices, those of every kind of terms first."""
    by_terms = {option.choice.terms: option for option in reversed(ranked)}
    ordered = [*by_terms.values(), *ranked]
    return list({id(option.unit): option.unit for option in ordered}.values())[:_AT_VOLUMES]


def _assumptions(everything: Sequence[Option], request: PlanRequest) -> tuple[Assumption, ...]:
    facts = [item for option in everything for item in option.costed.facts.items()]
    beside = [item for option in everything for item in option.facts_beside.items()]
    rows = [assumption(name, fact) for name, fact in [*facts, *beside]]
    return unique([*request.demand.assumptions, *rows])


def _few_samples(planned: Sequence[_Planned], request: PlanRequest) -> list[Notice]:
    """Say once how many cells have too few service times for the target's percentile."""
    few = sum(any(FEW_SAMPLES in note for note in one.row.notes) for one in planned)
    if not few:
        return []
    percentile = 100 * request.target.percentile
    return [
        Notice(
            code="few-samples",
            message=f"{few} of {len(planned)} cells have fewer service times than a p{percentile:g} needs",
            hint=f"measure longer: `leptonbench run --duration 15s --slo p{percentile:g}=...`",
        )
    ]


def _warnings(everything: Sequence[Option], market: Market, request: PlanRequest) -> tuple[Notice, ...]:
    names = {option.unit.device.name for option in everything if option.unit.device}
    used = {option.choice.offer for option in everything}
    found = [
        Notice(code="price-rejected", message=f"the {one.offer.terms} price of {one.offer.name} is not used: {one.why}")
        for one in market.checked.rejected
        if one.offer.device in names
    ]
    found += market.checked.notices
    for offer in market.checked.offers:
        if offer.name in used and any(
            o.choice.offer == offer.name and o.choice.terms is offer.terms for o in everything
        ):
            found += market.notices(offer, request.region, request.as_of)
    return tuple({(notice.code, notice.message): notice for notice in found}.values())
