"""A stored run's cells on devices that are not here: measured on one device, carried over by published results."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from leptonbench.cost.rate import Rate, ends, fact_provenance
from leptonbench.cost.use import cost_per_million, utilisation
from leptonbench.errors import UsageError
from leptonbench.projection.anchors import Table, project
from leptonbench.projection.claims import COVERED
from leptonbench.projection.results import Column, Observation, Submission
from leptonbench.projection.roofline import ceiling_per_s
from leptonbench.projection.support import check_claim, check_lacks, check_peak, check_size
from leptonbench.projector.published import (
    accelerators,
    back_test,
    find_device,
    processors,
    published_table,
    spec_of,
)
from leptonbench.registry import unknown
from leptonbench.schema import (
    METRICS,
    AcceleratorSpec,
    CellRecord,
    CellSpec,
    DeviceProfile,
    Notice,
    Provenance,
    Quantity,
    RunManifest,
    Scenario,
    Status,
    SuiteSpec,
)
from leptonbench.store import RunStore

BACKEND = "projected"  # no engine of ours ran it: the device's own is what published results are of
_HOST_CPU = "host-cpu"
_THROUGHPUT = (Scenario.SERVER, Scenario.OFFLINE)
_SLOWER = "another engine or device was the better one to project from: published results are of the fastest"
_OF_THE_MODEL = ("model_size", "stored_size", "macs", "parameters")


@dataclass(frozen=True, slots=True)
class ProjectedRun:
    """What came of a run: records for other devices, and how often a cell gave none, by reason."""

    records: tuple[CellRecord, ...]
    left: dict[str, int]


def project_run(
    manifest: RunManifest, records: Sequence[CellRecord], devices: Sequence[str], *, measured_on: str | None = None
) -> ProjectedRun:
    """Project a run's measured throughput to other devices.

    Args:
        manifest: Of the run.
        records: Of its cells.
        devices: Names of profiles.
        measured_on: The device that cells of an accelerator were measured on; by default what its driver called it.

    Raises:
        UsageError: If a device has no profile, or no cell can be projected; it says why not, cell by cell.
    """
    table = published_table(cpus=True)
    devices = tuple(map(find_device, devices))
    if measured_on is not None and measured_on not in table.traits:
        raise unknown("device", measured_on, sorted(table.traits))
    precisions = {variant.name: variant.precision for variant in manifest.variants}
    anchors, left = _anchors(table, manifest, records, precisions, measured_on)
    found = []
    for anchor, device in itertools.product(anchors, devices):
        precision = precisions[anchor.record.cell.variant]
        try:
            check_lacks(device, spec_of(accelerators()[device]), precision)
            found.append(_projected(table, anchor, manifest, precision, device=device))
        except UsageError as error:  # another cell, of another precision, may have support
            left[f"{error.message}: {error.cause}"] += 1
    if not found:
        reasons = "; ".join(f"{count} cells: {why}" for why, count in left.items()) or "the run has no cells"
        raise UsageError(
            f"no cell of run `{manifest.run_id}` can be projected",
            cause=reasons,
            hint="measure int8 or fp16 variants in scenario `server` or `offline`, on a device that published results",
        )
    return ProjectedRun(tuple(found), dict(left))


class _Anchor(NamedTuple):
    """A measured cell to project from, and the table's name of the device it was measured on."""

    record: CellRecord
    source: str
    rank: tuple[bool, float]


def _anchors(
    table: Table,
    manifest: RunManifest,
    records: Sequence[CellRecord],
    precisions: Mapping[str, str],
    measured_on: str | None,
) -> tuple[list[_Anchor], Counter[str]]:
    """Return one measured cell for each model and scenario: an accelerator's before a CPU's, then the fastest."""
    left: Counter[str] = Counter()
    usable: dict[tuple[str, str, Scenario], list[_Anchor]] = defaultdict(list)
    for record in records:
        cell = record.cell
        source = _source(cell, manifest, measured_on)
        why = _unusable(record, precisions.get(cell.variant, ""), table) or _unknown_source(source, table)
        if why:
            left[why] += 1
            continue
        rank = (table.traits[source].vendor != "cpu", record.metrics["throughput"].value or 0.0)
        usable[cell.workload, cell.variant, cell.scenario].append(_Anchor(record, source, rank))
    kept = [max(some, key=lambda one: one.rank) for some in usable.values()]
    if slower := sum(map(len, usable.values())) - len(kept):
        left[_SLOWER] = slower
    return kept, left


def add_to_run(store: RunStore, devices: Sequence[str], *, measured_on: str | None = None) -> ProjectedRun:
    """Project a stored run's cells and write the records into its folder, in place of earlier projections.

    Raises:
        UsageError: As `project_run` does.
        StorageError: If the run cannot be written.
    """
    manifest = store.manifest
    devices = tuple(map(find_device, devices))
    found = project_run(manifest, store.records(), devices, measured_on=measured_on)
    for record in found.records:
        store.write_record(record)
    known = {one.name for one in manifest.devices}
    planned = {cell.key for cell in manifest.cells}
    store.update(
        devices=(*manifest.devices, *(accelerators()[name] for name in devices if name not in known)),
        cells=(*manifest.cells, *(one.cell for one in found.records if one.cell.key not in planned)),
    )
    return found


def check_sources(host: DeviceProfile, gpus: Sequence[str]) -> None:
    """Refuse a machine of which nothing published results: before anything is measured on it.

    Args:
        host: The profile of its CPU.
        gpus: As their driver calls them.

    Raises:
        UsageError: Naming what the machine has.
    """
    names = [_processor_of(host), *map(_accelerator_of, gpus)]
    table = published_table(cpus=True)
    reasons = [_unknown_source(name, table) for name in names]
    if all(reasons):
        raise UsageError(
            "what this machine measures cannot be projected to other devices",
            cause="; ".join(reasons),
            hint="project a run of a device that did, such as a reference run: `leptonbench project --run`",
        )


def _source(cell: CellSpec, manifest: RunManifest, measured_on: str | None) -> str:
    """Return the table's name of the device that a cell was measured on, or what the run calls it."""
    if cell.device == _HOST_CPU:
        return _processor_of(next((one for one in manifest.devices if one.name == _HOST_CPU), manifest.devices[0]))
    gpus = manifest.fingerprint.identity.gpus
    return measured_on or (_accelerator_of(gpus[0]) if gpus else cell.device)


def _processor_of(host: DeviceProfile) -> str:
    """Return the profile that a machine's own CPU, called `host-cpu`, was recognised by."""
    return next((name for name, one in processors().items() if one.match == host.match), host.title["en"])


def _accelerator_of(driver_name: str) -> str:
    found = (name for name, one in accelerators().items() if driver_name in spec_of(one).driver_names)
    return next(found, driver_name)


def _unknown_source(source: str, table: Table) -> str:
    if any(one.device == source for one in table.observations):
        return ""
    return f"{source} published no result that would tie it to other devices"


def _unusable(record: CellRecord, precision: str, table: Table) -> str:
    """Return why a cell cannot be projected, or nothing."""
    throughput = record.metrics.get("throughput")
    if record.cell.backend == BACKEND:
        return "projected already"
    measured = throughput is not None and throughput.value and throughput.provenance is Provenance.MEASURED
    if record.status is not Status.OK or not measured:
        return "no throughput was measured"
    if record.cell.scenario not in _THROUGHPUT:
        return "latency of one's own model on another device has no back-test"
    if precision not in set(table.precisions.values()):
        return f"nobody published results in {precision or 'its precision'}"
    return ""


def _cores(cell: CellSpec, manifest: RunManifest) -> float:
    """Return how many physical cores a cell used."""
    identity = manifest.fingerprint.identity
    logical = min(cell.threads * cell.instances, identity.logical_cores)
    return logical * (identity.physical_cores or identity.logical_cores) / identity.logical_cores


def _projected(table: Table, anchor: _Anchor, manifest: RunManifest, precision: str, *, device: str) -> CellRecord:
    record, source = anchor.record, anchor.source
    measured = record.metrics["throughput"]
    value = measured.value or 0.0
    cell = record.cell
    units = _cores(cell, manifest) if table.traits[source].vendor == "cpu" else 1.0
    column = Column(f"{cell.workload} {cell.variant}", cell.scenario)
    submission = Submission(source, column, value / units, precision, "", "", "measured")
    own = Observation(source, column, math.log(value / units), (submission,))
    with_own = Table((*table.observations, own), table.traits, table.variances)
    check_size(with_own, device, column)
    found = project(with_own, device, column)
    claim = check_claim(found.support, back_test().cells, device, column)
    spec = spec_of(accelerators()[device])
    used = _share_of_peak(record, spec, precision, found.rate_per_s)
    if used is not None:
        check_peak(used, device, column, precision)
    ratio = found.rate_per_s / value
    low, high = (
        value if measured.low is None else measured.low,
        value if measured.high is None else measured.high,
    )
    where = f"{units:g} cores of {source}" if table.traits[source].vendor == "cpu" else source
    throughput = Quantity(
        value=found.rate_per_s,
        unit="1/s",
        low=low * ratio / claim.factor,
        high=high * ratio * claim.factor,
        n=claim.n,
        confidence=COVERED,
        provenance=Provenance.PROJECTED,
        method=f"measured on {where} by {cell.backend}, carried to one {device} by published MLPerf results "
        f"(mixed model); interval: {COVERED:.0%} of {claim.n} back-tests on the same support, widened for new rounds; "
        f"mean absolute error {claim.mean_abs_error:.0%}" + (f"; {used:.2%} of its {precision} peak" if used else ""),
    )
    metrics = {"throughput": throughput, **_carried(record), **_price(device, throughput, manifest.suite)}
    return CellRecord(
        cell=CellSpec(
            workload=cell.workload,
            variant=cell.variant,
            backend=BACKEND,
            device=device,
            scenario=cell.scenario,
            threads=1,
        ),
        status=Status.OK,
        metrics={tag: metrics[tag] for tag in METRICS if tag in metrics},
        artifact=record.artifact,
        warnings=(_notice(source, device),),
        meets_quality=record.meets_quality,
    )


def _share_of_peak(record: CellRecord, spec: AcceleratorSpec, precision: str, rate_per_s: float) -> float | None:
    """Return how much of the device's peak arithmetic a rate would use; `None` where either is unknown."""
    peaks = {str(name): fact.value for name, fact in spec.peak_ops_per_s.items()}
    macs = record.artifact.macs if record.artifact is not None else 0
    return rate_per_s / ceiling_per_s(macs, peaks[precision]) if macs and precision in peaks else None


def _carried(record: CellRecord) -> dict[str, Quantity]:
    """Return what belongs to the model; its quality on another engine is assumed to be the same."""
    kept = {tag: record.metrics[tag] for tag in _OF_THE_MODEL if tag in record.metrics}
    quality = record.metrics.get("quality")
    if quality is not None and quality.value is not None:
        method = f"measured on {record.cell.backend}; assumed to be the same on another engine"
        kept["quality"] = quality.model_copy(update={"provenance": Provenance.ASSUMED, "method": method})
    return kept


def _price(device: str, throughput: Quantity, suite: SuiteSpec) -> dict[str, Quantity]:
    spec = spec_of(accelerators()[device])
    rate = rented_device(spec)
    if rate is None:
        return {"cost_per_million": Quantity.null("USD", f"the profile `{device}` has no on-demand price")}
    cost = cost_per_million(rate, throughput, utilisation=utilisation(suite.demand, always_on=False))
    unchecked = "; no latency target checked"
    if cost.method:
        cost = cost.model_copy(update={"method": f"{cost.method}{unchecked}"})
    return {"cost_per_million": cost}


def rented_device(spec: AcceleratorSpec) -> Rate | None:
    """Return the on-demand price per hour of one device's share of an instance: the first offer, spanned by all."""
    offers = [one for one in spec.offers if one.terms == "on-demand"]
    if not offers:
        return None
    first = offers[0]
    spans = [end / one.devices for one in offers for end in ends(one.price_per_hour)]
    return Rate(
        value=first.price_per_hour.value / first.devices,
        low=min(spans),
        high=max(spans),
        provenance=fact_provenance(first.price_per_hour),
        method=f"on-demand price of {first.provider} {first.sku}, {first.region} / {first.devices} devices",
        assumptions=(),
    )


def _notice(source: str, device: str) -> Notice:
    return Notice(
        code="projected",
        message=f"not measured on {device}: carried over from {source}; latency and energy are unknown",
        hint="measure it on the device before you buy many",
    )
