"""Published results as rates of one device, and which of them may be compared.

A result counts if it is MLPerf's closed division, its device has a profile, and it ran on the device's own engine: a
card under a generic runtime says little of what the card can do.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from leptonbench.schema import Scenario

_SCENARIOS = {
    "Offline": Scenario.OFFLINE,
    "Server": Scenario.SERVER,
    "SingleStream": Scenario.SINGLE_STREAM,
    "MultiStream": Scenario.MULTI_STREAM,
}
_RATES = ("samples/s", "queries/s")
_SINGLE_STREAM, _MULTI_STREAM = "ms p90", "ms p99 (8 samples)"  # older multi-stream rules counted streams: left out
SAMPLES_PER_QUERY = {Scenario.SINGLE_STREAM: 1, Scenario.MULTI_STREAM: 8}  # of the scenarios judged by latency
LATENCY_PERCENTILE = {Scenario.SINGLE_STREAM: 0.90, Scenario.MULTI_STREAM: 0.99}
_GENERIC_ENGINE = re.compile(r"onnx ?runtime|vllm|metal", re.IGNORECASE)
_DEFERRED = "mean>p99"  # a server result that puts its slowest queries off to the end: not a rate one can buy for
_NO_DEVICE = "CPU-only"
_CAPPED = "MaxQ"  # run below the device's own power limit, for most answers a joule
_ACCURACY = re.compile(r"-99(\.9)?$")
PRECISIONS = ("int8", "fp8", "bf16", "fp16", "fp32")


class Column(NamedTuple):
    """What was measured: a benchmark in a scenario."""

    benchmark: str
    scenario: Scenario

    @property
    def family(self) -> str:
        """Return the benchmark without its accuracy target: `bert-99` and `bert-99.9` are one model."""
        return _ACCURACY.sub("", self.benchmark)

    @property
    def by_latency(self) -> bool:
        """Return whether the scenario is judged by the latency of a stream, and not by throughput."""
        return self.scenario in SAMPLES_PER_QUERY


class Submission(NamedTuple):
    """One published result.

    Attributes:
        rate_per_s: Samples per second of one device; where latency is judged, samples of a query over its latency.
        precision: As the submitter words it.
        source: The file it was read from.
    """

    device: str
    column: Column
    rate_per_s: float
    precision: str
    round: str
    submitter: str
    source: str


class Observation(NamedTuple):
    """What a device typically does in a column: the median over its submissions.

    Attributes:
        log_rate: Natural logarithm of the rate of one device in samples per second.
        submissions: Those behind it.
    """

    device: str
    column: Column
    log_rate: float
    submissions: tuple[Submission, ...]

    @property
    def rate_per_s(self) -> float:
        """Return the rate in samples per second of one device."""
        return math.exp(self.log_rate)


class Left(NamedTuple):
    """How many published rows are not used, by reason."""

    counts: dict[str, int]


def parse_rows(
    rows: Iterable[Mapping[str, str]], names: Mapping[str, str], processors: Mapping[str, str] | None = None
) -> tuple[list[Submission], Left]:
    """Return the results that may be compared, and why the others may not.

    Args:
        rows: Of `hardware_profiles/published/mlperf_published.csv`.
        names: Device by its published name.
        processors: CPU by a part of its published name; its rates are of one core.
    """
    found: list[Submission] = []
    left: dict[str, int] = defaultdict(int)
    for row in rows:
        device = (
            _processor(row, processors or {}) if row["accelerator"] == _NO_DEVICE else names.get(row["accelerator"])
        )
        reason = _unusable(row, device)
        if reason or device is None:
            left[reason] += 1
            continue
        column = Column(row["benchmark"], _SCENARIOS[row["scenario"]])
        rate = _rate_per_s(row, column.scenario)
        source = row["source"]
        found.append(Submission(device, column, rate, row["precision"], row["round"], row["submitter"], source))
    return found, Left(dict(left))


def _processor(row: Mapping[str, str], processors: Mapping[str, str]) -> str | None:
    """Return the CPU of a machine without accelerators, where its cores are counted."""
    name = row["host_processor"].upper()
    found = next((device for part, device in processors.items() if part.upper() in name), None)
    return found if row["host_cores_per_processor"].isdecimal() and row["unit"] in _RATES else None


def _unusable(row: Mapping[str, str], device: str | None) -> str:
    """Return why a row is not used, or nothing."""
    if device is None:
        return "no profile of the device (a slice of a card, a virtual card, a phone, a CPU without its cores)"
    if row["division"] != "closed":
        return "not of the closed division"
    if row["unit"] not in (*_RATES, _SINGLE_STREAM, _MULTI_STREAM):
        return "multi-stream by the rules before v2.0"
    if _GENERIC_ENGINE.search(row["framework"]):
        return "a generic engine in place of the device's own"
    if _CAPPED in row["system"]:
        return "a device capped below its own power limit"
    if _DEFERRED in row["tail_warning"]:
        return "server result whose mean latency exceeds its 99th percentile"
    return ""


def _rate_per_s(row: Mapping[str, str], scenario: Scenario) -> float:
    result = float(row["result"])
    if scenario in SAMPLES_PER_QUERY:  # one device answers one stream, however many the machine holds
        return SAMPLES_PER_QUERY[scenario] / (result / 1e3)
    nodes = int(row["nodes"] or 1)
    if row["accelerator"] == _NO_DEVICE:
        return result / (nodes * int(row["host_processors_per_node"]) * int(row["host_cores_per_processor"]))
    return result / (nodes * int(row["accelerators_per_node"]))


def typical(submissions: Iterable[Submission]) -> list[Observation]:
    """Return each device's median in each column, on the logarithm, in the order of device and column."""
    groups: dict[tuple[str, Column], list[Submission]] = defaultdict(list)
    for one in submissions:
        groups[one.device, one.column].append(one)
    return [
        Observation(device, column, statistics.median(math.log(one.rate_per_s) for one in group), tuple(group))
        for (device, column), group in sorted(groups.items())
    ]


def precision_of(observations: Iterable[Observation], benchmark: str) -> str:
    """Return the precision that most submissions to a benchmark name alone; empty where none says."""
    votes: dict[str, int] = defaultdict(int)
    for observation in observations:
        if observation.column.benchmark == benchmark:
            for one in observation.submissions:
                if one.precision in PRECISIONS:
                    votes[one.precision] += 1
    return max(votes, key=lambda name: votes[name], default="")
