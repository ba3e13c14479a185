"""Which cells of a stored run can be planned with, and how long a unit of each takes to serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.cost.capacity import ServiceModel
from leptonbench.errors import StorageError, UsageError
from leptonbench.schema import (
    CellRecord,
    DeviceProfile,
    Provenance,
    Quantity,
    Reason,
    RunManifest,
    Scenario,
    Status,
)
from leptonbench.stats.early_stopping import minimum_queries
from leptonbench.store import RunStore

FEW_SAMPLES = "what is slower than the slowest of them is not in the plan"
_FEWEST = {
    Scenario.SERVER: "the units are the fewest that keep up, at the rate that was sustained within a latency target "
    "elsewhere",
    Scenario.OFFLINE: "the units are the fewest that keep up, at a rate that takes all samples at once: a latency "
    "target takes more",
}
_SAMPLES_KEPT = 4000  # of a round: a bootstrap gains nothing from more


class Served(NamedTuple):
    """A cell with its service times.

    Attributes:
        record: Of the cell.
        service: Of one unit.
        notes: What stands between these times and those in use.
    """

    record: CellRecord
    service: ServiceModel
    notes: tuple[str, ...]

    @property
    def unranked(self) -> None:
        """Return why it takes no part in the ranking: nothing stands against it."""
        return


class Rated(NamedTuple):
    """A cell of which nothing but a rate is known: a projection of a throughput.

    Attributes:
        record: Of the cell.
        rate: Queries a second of one unit.
        notes: What to know of it.
    """

    record: CellRecord
    rate: Quantity
    notes: tuple[str, ...]

    @property
    def unranked(self) -> str:
        """Return why it takes no part in the ranking."""
        return "only a rate of it is projected, no latency: whether it meets the target is open"


class Unfit(NamedTuple):
    """A cell that cannot be planned with, and why."""

    record: CellRecord
    reason: Reason


def choose_workload(manifest: RunManifest, wanted: str | None) -> str:
    """Return the workload to plan for: the one that is named, or the run's only one.

    Raises:
        UsageError: If it is not of the run, or the run has several and none is named.
    """
    names = list(dict.fromkeys(cell.workload for cell in manifest.cells))
    if wanted is not None and wanted not in names:
        raise UsageError(f"the run has no workload `{wanted}`", hint=f"it has {', '.join(names)}")
    if wanted is None and len(names) != 1:
        cause = f"the run has {', '.join(names) or 'none'}, and a demand is of one workload"
        raise UsageError("which workload is the plan for", cause=cause, hint=f"--workload {next(iter(names), 'NAME')}")
    return wanted or names[0]


def device_of(manifest: RunManifest, record: CellRecord) -> DeviceProfile | None:
    """Return the hardware profile of a cell's device, `None` where the run does not hold it.

    `host-cpu` is the machine that measured, whose profile comes first.
    """
    named = next((device for device in manifest.devices if device.name == record.cell.device), None)
    if named is None and record.cell.device == "host-cpu" and manifest.devices:
        return manifest.devices[0]
    return named


def read_cells(
    store: RunStore, workload: str, *, percentile: float, with_processing: bool
) -> list[Served | Rated | Unfit]:
    """Return each cell of a workload that was tried, with its service times or with the reason why it has none.

    Args:
        store: The run.
        workload: Of the plan.
        percentile: Of the target: cells with fewer times than certify it say so.
        with_processing: Count pre- and post-processing as work of the unit.
    """
    records = [record for record in store.records() if record.cell.workload == workload]
    tried = [record for record in records if record.status is not Status.SKIPPED]
    streams = {r.cell.group: r for r in tried if r.cell.scenario is Scenario.SINGLE_STREAM and r.status is Status.OK}
    found = [_read(store, record, streams, with_processing=with_processing) for record in tried]
    return [_counted(cell, percentile) if isinstance(cell, Served) else cell for cell in found]


def _counted(cell: Served, percentile: float) -> Served:
    """Add a note where a cell has fewer times of single queries than certify the percentile."""
    n, needed = sum(len(one[min(one)]) for one in cell.service.rounds), minimum_queries(percentile)
    if cell.service.provenance is not Provenance.MEASURED or n >= needed:
        return cell
    note = f"{n} service times, and p{100 * percentile:g} needs {needed}: {FEW_SAMPLES}"
    return cell._replace(notes=(*cell.notes, note))


def _read(
    store: RunStore, record: CellRecord, streams: Mapping[str, CellRecord], *, with_processing: bool
) -> Served | Rated | Unfit:
    rate = _projected_rate(record)
    if rate is not None and record.meets_quality is True:
        return Rated(record, rate, (_FEWEST[record.cell.scenario],))
    reason = _unfit(record)
    if reason is not None:
        return Unfit(record, reason)
    if record.cell.scenario is Scenario.SERVER:
        found = _of_server(store, record, streams.get(record.cell.group))
    else:
        found = _of_stream(store, record)
    if isinstance(found, Reason):
        return Unfit(record, found)
    service, notes = found
    if not with_processing:
        return Served(record, service, notes)
    extra_s = _processing_s(record)
    if extra_s is None:
        why = "the cell does not say how long pre- and post-processing take"
        return Unfit(record, Reason(code="no-processing", message=why, hint="plan without --with-processing"))
    return Served(record, _longer(service, extra_s), notes)


def _projected_rate(record: CellRecord) -> Quantity | None:
    """Return the throughput of a cell that was projected, and has neither latencies nor rounds."""
    rate, latency = record.metrics.get("throughput"), record.metrics.get("latency_p50")
    if record.status is not Status.OK or record.rounds or record.cell.scenario not in _FEWEST:
        return None
    if rate is None or not rate.value or rate.provenance is not Provenance.PROJECTED:
        return None
    return rate if latency is None or latency.value is None else None


def _unfit(record: CellRecord) -> Reason | None:
    if record.status is not Status.OK:
        return record.reason or Reason(code=record.status.value, message=f"the cell is {record.status.value}")
    if record.meets_quality is not True:
        known = record.meets_quality is False
        why = "its quality is below the floor" if known else "nobody knows whether its quality meets the floor"
        return Reason(code="quality", message=why, hint="" if known else "run the fp32 variant of the same engine, too")
    if record.cell.scenario in (Scenario.OFFLINE, Scenario.MULTI_STREAM):
        what = "without a deadline" if record.cell.scenario is Scenario.OFFLINE else "in queries of many samples"
        hint = "single-stream and server cells are planned with"
        return Reason(code="scenario", message=f"it was measured {what}, which says nothing of single ones", hint=hint)
    return None


def _of_stream(store: RunStore, record: CellRecord) -> tuple[ServiceModel, tuple[str, ...]] | Reason:
    """Return service times of one query after another: the stored latencies, else the record's own figure."""
    rounds = _latencies(store, record)
    measured = _provenance(record)
    if rounds:
        method = f"{sum(map(len, rounds))} single-stream latencies of {len(rounds)} rounds"
        model = ServiceModel.measured([{1: times} for times in rounds], method=method, provenance=measured)
        return model, ()
    mean = record.metrics.get("latency_mean") or record.metrics.get("latency_p50")
    if mean is None or not mean.value:
        return Reason(code="no-times", message="the record holds no latency of one query after another")
    return _constant(mean, method=f"one figure: {mean.method or 'latency'}"), (
        "its service times are taken as constant: no samples are stored",
    )


def _constant(time_s: Quantity, *, method: str) -> ServiceModel:
    value = time_s.value or 0.0
    low = time_s.low if time_s.low and time_s.low > 0 else value
    high = time_s.high if time_s.high else value
    return ServiceModel.constant(
        {1: value},
        provenance=time_s.provenance or Provenance.ASSUMED,
        method=method,
        scale_low=min(low / value, 1.0),
        scale_high=max(high / value, 1.0),
    )


def _of_server(
    store: RunStore, record: CellRecord, stream: CellRecord | None
) -> tuple[ServiceModel, tuple[str, ...]] | Reason:
    """Return service times by batch size: each round's medians, with the scatter of the same engine's single stream."""
    medians = [_service_medians(r.effective) for r in record.rounds if r.status is Status.OK]
    medians = [sizes for sizes in medians if sizes]
    if not medians:
        hint = "plan with its single-stream cell"
        return Reason(code="no-times", message="the record holds no service times by batch size", hint=hint)
    scatter, notes = _scatter(store, stream)
    common = set(medians[0]).intersection(*medians[1:])
    largest = max(size for size in common if size <= record.cell.batch)
    rounds = [{size: sizes[size] * scatter for size in sorted(common)} for sizes in medians]
    model = ServiceModel.measured(
        rounds,
        method=f"service times of batches of {_listed(sorted(common))}, of {len(rounds)} rounds",
        provenance=_provenance(record),
        instances=record.cell.instances,
        max_batch=largest,
        max_wait_s=_max_wait_s(store.manifest, record),
    )
    return model, notes


def _listed(sizes: Sequence[int]) -> str:
    return " and ".join(map(str, sizes))


def _service_medians(effective: Mapping[str, object]) -> dict[int, float]:
    stored = effective.get("service_time_s")
    return {int(size): float(seconds) for size, seconds in stored.items()} if isinstance(stored, dict) else {}


def _scatter(store: RunStore, stream: CellRecord | None) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return single-stream times over their round's median; one 1 where there are none."""
    rounds = _latencies(store, stream) if stream is not None else []
    if not rounds:
        return np.ones(1), ("batches are taken to last their median each time: no single-stream samples are stored",)
    return np.concatenate([times / np.median(times) for times in rounds]), (
        "batches are taken to scatter as the single stream of the same engine does",
    )


def _latencies(store: RunStore, record: CellRecord) -> list[NDArray[np.float64]]:
    """Return each valid round's latencies in seconds, thinned evenly; none where the run keeps no samples."""
    found = []
    for one in record.rounds:
        if one.status is not Status.OK or not one.queries:
            continue
        try:
            times = store.latencies(record.cell.key, one.index)
        except StorageError:
            return []
        found.append(times[:: -(-len(times) // _SAMPLES_KEPT)])
    return found


def _max_wait_s(manifest: RunManifest, record: CellRecord) -> float:
    if record.cell.max_wait_s is not None:
        return record.cell.max_wait_s
    return next((s.max_wait_s for s in manifest.suite.scenarios if s.kind is record.cell.scenario), 0.0)


def _provenance(record: CellRecord) -> Provenance:
    found = [q.provenance for tag in ("latency_p50", "throughput") if (q := record.metrics.get(tag)) and q.provenance]
    return max(found, key=lambda kind: kind.rank) if found else Provenance.MEASURED


def _processing_s(record: CellRecord) -> float | None:
    parts = [record.metrics.get(tag) for tag in ("preprocess", "postprocess")]
    values = [part.value for part in parts if part is not None and part.value is not None]
    return sum(values) if len(values) == len(parts) else None


def _longer(service: ServiceModel, extra_s: float) -> ServiceModel:
    """Return a model whose batches take so much longer for each sample."""
    rounds = [{size: times + extra_s * size for size, times in one.items()} for one in service.rounds]
    return ServiceModel(
        tuple(rounds),
        service.provenance,
        f"{service.method}, with {1e3 * extra_s:.3g} ms of pre- and post-processing a sample",
        instances=service.instances,
        max_batch=service.max_batch,
        max_wait_s=service.max_wait_s,
        scale_low=service.scale_low,
        scale_high=service.scale_high,
    )
