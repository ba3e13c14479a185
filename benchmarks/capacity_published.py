"""Published server rates of MLPerf Inference, predicted from the same system's single-stream and offline results.

A system's single-stream latency (its 90th percentile) gives the time of a batch of one, its offline throughput that of
a very large one; a straight line between them gives every batch. The capacity model then says at which Poisson rate
99 % are answered within the benchmark's limit, at its best batch size. Nothing is fitted.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.common import ROOT
from leptonbench.cost.capacity import Routing, ServiceModel, Target
from leptonbench.cost.capacity.search import FINE, Search
from leptonbench.schema import Provenance

TABLE = ROOT / "hardware_profiles" / "published" / "mlperf_published.csv"
LIMITS_S = {
    "resnet50": 0.015,
    "retinanet": 0.1,
    "ssd-resnet34": 0.1,
    "ssd-mobilenet": 0.01,
    "rnnt": 1.0,
    "bert-99": 0.13,
}
"""Server latency limits of the benchmarks' rules (mlcommons/inference_policies), in seconds, of the 99th percentile."""
_PERCENTILE = 0.99
_BISECTIONS = 7
_SAME_MACHINE = 1.1


class Prediction(NamedTuple):
    """One system on one benchmark, all rates in queries a second of the whole system."""

    system: str
    benchmark: str
    offline_per_s: float
    published_per_s: float
    predicted_per_s: float

    @property
    def error_percent(self) -> float:
        """Return by how much the prediction is above what was published."""
        return 100 * (self.predicted_per_s / self.published_per_s - 1)


def results(path: Path = TABLE) -> dict[tuple[str, ...], dict[str, dict[str, str]]]:
    """Return the published rows by system and benchmark, then by scenario; the fastest where there are several."""
    groups: dict[tuple[str, ...], dict[str, dict[str, str]]] = defaultdict(dict)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            groups[row["round"], row["submitter"], row["system"], row["benchmark"]].setdefault(row["scenario"], row)
    return groups


def ratios() -> dict[str, list[float]]:
    """Return server over offline rates of the same system, by benchmark."""
    found: dict[str, list[float]] = defaultdict(list)
    for (*_, benchmark), rows in results().items():
        if "Server" in rows and "Offline" in rows:
            found[benchmark].append(float(rows["Server"]["result"]) / float(rows["Offline"]["result"]))
    return found


def predictions() -> list[Prediction]:
    """Predict every system that has all three scenarios of a benchmark whose limit is known.

    Rows whose server rate is far above the offline one are of two machines under one name, and left out.
    """
    found = []
    for (_, _, system, benchmark), rows in sorted(results().items()):
        if benchmark not in LIMITS_S or not {"Server", "Offline", "SingleStream"} <= rows.keys():
            continue
        published, offline = float(rows["Server"]["result"]), float(rows["Offline"]["result"])
        if published > _SAME_MACHINE * offline:
            continue
        engines = max(1, int(float(rows["Server"]["accelerators_per_node"] or 0)))
        alone_s = float(rows["SingleStream"]["result"]) / 1e3
        predicted = sustained(alone_s, offline / engines, engines, LIMITS_S[benchmark])
        found.append(Prediction(system, benchmark, offline, published, predicted))
    return found


def sustained(alone_s: float, throughput_per_s: float, engines: int, limit_s: float) -> float:
    """Return the highest rate that so many engines sustain within a limit, at their best largest batch.

    Args:
        alone_s: Seconds of a batch of one.
        throughput_per_s: Of one engine with very large batches.
        engines: That share a queue.
        limit_s: Of the 99th percentile.
    """
    each_s = 1.0 / throughput_per_s
    start_s = max(alone_s - each_s, 0.0)
    best = 0.0
    for power in range(12):
        batch = 2**power
        times_s = {2**k: start_s + each_s * 2**k for k in range(power + 1)}
        if times_s[batch] > limit_s:
            break
        model = ServiceModel.constant(
            times_s, provenance=Provenance.PROJECTED, method="published", instances=engines, max_batch=batch
        )
        best = max(best, _highest_rate(model, Target(_PERCENTILE, limit_s)))
    return best


def _highest_rate(model: ServiceModel, target: Target) -> float:
    pools_s = model.pooled()
    base = Search(model, pools_s, 1.0, target, Routing.SHARED, None, (0,), FINE)
    low, high = 0.0, 0.995 * base.capacity_per_s
    if base.at(high).look(1).meets:
        return high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if base.at(middle).look(1).meets else (low, middle)
    return low


def quantiles(values: list[float]) -> tuple[float, float, float]:
    """Return the 10th, 50th and 90th percentile."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return float(low), float(middle), float(high)
