"""pytest-benchmark's JSON: `pytest-benchmark compare FILE...` and everything that reads it.

A round of ours (one fresh process) is a round of theirs; its time is the median latency, or the time of one sample
where throughput is what was measured.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean, median, quantiles, stdev
from typing import Any

from leptonbench.exports.headline import headline, measured, title
from leptonbench.schema import CellRecord, Identity, RunManifest, Status

_VERSION = "5.1.0"  # of the format: the release of pytest-benchmark whose reader it was written for


def export_pytest_benchmark(manifest: RunManifest, records: Sequence[CellRecord]) -> str:
    """Write a run as one pytest-benchmark document; cells that are not `ok` are left out, as theirs with errors are."""
    document = {
        "machine_info": _machine(manifest.fingerprint.identity),
        "commit_info": {
            "id": manifest.git_commit,
            "time": manifest.created,
            "dirty": manifest.git_dirty,
            "project": "leptonbench",
            "branch": None,
        },
        "benchmarks": [one for record in records if measured(record) and (one := _benchmark(record))],
        "datetime": manifest.created,
        "version": _VERSION,
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _machine(identity: Identity) -> dict[str, Any]:
    return {
        "node": "",
        "processor": identity.cpu_model,
        "machine": identity.cpu_vendor,
        "python_version": identity.python,
        "release": identity.kernel,
        "system": identity.os,
        "cpu": {"brand_raw": identity.cpu_model, "count": identity.logical_cores, "flags": list(identity.cpu_flags)},
    }


def _benchmark(record: CellRecord) -> dict[str, Any] | None:
    tag = headline(record)
    values = [r.values[tag] for r in record.rounds if r.status is Status.OK and r.values.get(tag, 0.0) > 0]
    quantity = record.metrics.get(tag)
    if not values and quantity is not None and quantity.value:
        values = [quantity.value]  # simulated: the same every time, without rounds
    if not values:
        return None
    times = values if tag == "latency_p50" else [1.0 / value for value in values]
    name = title(record.cell)
    figures = {
        metric: quantity.model_dump(mode="json", exclude_none=True) for metric, quantity in record.metrics.items()
    }
    return {
        "group": record.cell.workload,
        "name": name,
        "fullname": f"leptonbench::{name}",
        "params": None,
        "param": None,
        "extra_info": {"leptonbench": figures},
        "options": {
            "disable_gc": False,
            "timer": "mlperf_loadgen",
            "min_rounds": len(times),
            "max_time": 0.0,
            "min_time": 0.0,
            "warmup": True,
        },
        "stats": _stats(times),
    }


def _stats(times: Sequence[float]) -> dict[str, Any]:
    """Summarise under the names that pytest-benchmark reads."""
    ordered = sorted(times)
    single = len(ordered) == 1
    q1, middle, q3 = (ordered[0],) * 3 if single else quantiles(ordered, n=4, method="inclusive")
    mean, deviation = fmean(ordered), 0.0 if single else stdev(ordered)
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    beyond = sum(not low <= time <= high for time in ordered)
    far = sum(abs(time - mean) > deviation for time in ordered)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": len(ordered),
        "median": median(ordered),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond,
        "stddev_outliers": far,
        "outliers": f"{far};{beyond}",
        "ld15iqr": min((time for time in ordered if time >= low), default=middle),
        "hd15iqr": max((time for time in ordered if time <= high), default=middle),
        "ops": 1.0 / mean,
        "total": sum(ordered),
        "data": list(times),
        "iterations": 1,
    }
