"""Projections to hardware that is not here: reads what is published, asks `projection`, words what came out."""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from leptonbench.catalog import DEVICE_KINDS, load_profiles, load_yaml
from leptonbench.errors import UsageError
from leptonbench.paths import data_root
from leptonbench.projection.anchors import Input, Own, Projected, Table, project
from leptonbench.projection.backtest import COVERED, BackTest, Claim
from leptonbench.projection.model import Traits, Variances
from leptonbench.projection.results import (
    LATENCY_PERCENTILE,
    SAMPLES_PER_QUERY,
    Column,
    Observation,
    parse_rows,
    typical,
)
from leptonbench.projection.support import check_claim, check_column, check_precision, check_size
from leptonbench.registry import unknown
from leptonbench.schema import AcceleratorSpec, DeviceProfile, Provenance, Quantity, Scenario

BACK_TEST = "projection.yaml"
_SHOWN = 8  # inputs by weight; the rest are counted


@dataclass(frozen=True, slots=True)
class Projection:
    """One projection with all that it stands on.

    Attributes:
        metrics: By tag, of one device; every one projected, with its interval.
        method: One sentence.
        inputs: The published results that it leans on most.
        more_inputs: How many others it uses, by less.
        claim: The back-test error; `None` for a result that the device published itself.
    """

    device: str
    title: str
    column: Column
    precision: str
    metrics: dict[str, Quantity]
    method: str
    inputs: tuple[Input, ...]
    more_inputs: int
    claim: Claim | None

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {
            "device": self.device,
            "benchmark": self.column.benchmark,
            "scenario": self.column.scenario.value,
            "precision": self.precision,
            "metrics": {tag: one.model_dump(mode="json", exclude_none=True) for tag, one in self.metrics.items()},
            "method": self.method,
            "back_test": self.claim.model_dump(mode="json") if self.claim else None,
            "inputs": [_input_json(one) for one in self.inputs],
            "more_inputs": self.more_inputs,
        }


def _input_json(one: Input) -> dict[str, Any]:
    observation = one.observation
    return {
        "device": observation.device,
        "benchmark": observation.column.benchmark,
        "scenario": observation.column.scenario.value,
        "rate_per_s": observation.rate_per_s,
        "weight": one.weight,
        "submissions": len(observation.submissions),
        "rounds": sorted({submission.round for submission in observation.submissions}),
        "sources": [submission.source for submission in observation.submissions],
    }


@functools.cache
def accelerators() -> dict[str, DeviceProfile]:
    """Return every profile that says what is published of an accelerator, by name."""
    profiles = (profile for kind in DEVICE_KINDS for profile in load_profiles(kind))
    return {profile.name: profile for profile in profiles if profile.accelerator is not None}


@functools.cache
def back_test() -> BackTest:
    """Return the fitted constants and the back-test errors that came with them.

    Raises:
        UsageError: If the file is wrong.
    """
    return load_yaml(data_root() / "hardware_profiles" / "published" / BACK_TEST, BackTest)


def published_observations() -> tuple[Observation, ...]:
    """Return what devices typically do by their published results."""
    names = {name: one.name for one in accelerators().values() for name in spec_of(one).published_as}
    path = data_root() / "hardware_profiles" / "published" / "mlperf_published.csv"
    with path.open(encoding="utf-8", newline="") as file:
        submissions, _ = parse_rows(csv.DictReader(file), names)
    return tuple(typical(submissions))


@functools.cache
def published_table() -> Table:
    """Return what is published, as the model reads it."""
    return table_of(published_observations(), back_test().constants)


def table_of(observations: Sequence[Observation], constants: Variances) -> Table:
    """Return a table of some observations under some constants."""
    traits = {name: _traits(spec_of(profile)) for name, profile in accelerators().items()}
    return Table(tuple(observations), traits, constants)


def spec_of(profile: DeviceProfile) -> AcceleratorSpec:
    """Return what is published of an accelerator.

    Raises:
        UsageError: If the profile is of something else.
    """
    if profile.accelerator is None:
        raise UsageError(f"`{profile.name}` is no accelerator", hint="see `leptonbench list devices`")
    return profile.accelerator


def _traits(spec: AcceleratorSpec) -> Traits:
    bandwidth = spec.memory_bytes_per_s
    return Traits(
        vendor=spec.vendor,
        architecture=spec.architecture,
        chip=spec.chip,
        log_peak={name: math.log(fact.value) for name, fact in spec.peak_ops_per_s.items()},
        log_bandwidth=None if bandwidth is None else math.log(bandwidth.value),
    )


def project_benchmark(
    device: str,
    benchmark: str,
    scenario: Scenario = Scenario.OFFLINE,
    *,
    anchors: Sequence[str] = (),
    precision: str | None = None,
) -> Projection:
    """Project a device in a published benchmark; a result that it published itself is given as it is.

    Args:
        device: Name of a profile.
        benchmark: As MLPerf calls it.
        scenario: Of the benchmark.
        anchors: Devices to project from, and what the device itself published elsewhere; all devices by default.
        precision: To insist on; it has to be the one that the benchmark was published in.

    Raises:
        UsageError: If a name is unknown, or nothing supports the projection.
    """
    for name in (device, *anchors):
        if name not in accelerators():
            raise unknown("device", name, accelerators())
    column = Column(benchmark, scenario)
    table = published_table()
    profile = accelerators()[device]
    check_column(table, "" if _own_result(table, device, column) and not anchors else device, column)
    check_precision(table, device, spec_of(profile), column, precision)
    published = _own_result(table, device, column)
    if published is not None and not anchors:
        return _as_published(profile, published, table.precisions[benchmark])
    if anchors:
        table = table.restricted(_with_results(table, anchors) | {device})
        check_column(table, device, column)
    check_size(table, device, column)
    found = project(table, device, column)
    errors = back_test().pairs if anchors else back_test().claims
    claim = check_claim(found.support, errors, device, column)
    return _worded(profile, column, found, claim, anchors=anchors)


def _own_result(table: Table, device: str, column: Column) -> Observation | None:
    return next((one for one in table.observations if (one.device, one.column) == (device, column)), None)


def _with_results(table: Table, anchors: Sequence[str]) -> set[str]:
    there = {one.device for one in table.observations}
    for name in anchors:
        if name not in there:
            raise UsageError(
                f"`{name}` cannot be projected from",
                cause="it published no result",
                hint=f"name one of {len(there)}: {', '.join(sorted(there)[:6])}, ..; or leave `--from` out",
            )
    return set(anchors)


def _worded(
    profile: DeviceProfile, column: Column, found: Projected, claim: Claim, *, anchors: Sequence[str]
) -> Projection:
    """Put a projected rate into metrics with the interval that the back-tests give."""
    source = f"from {', '.join(anchors)}" if anchors else "from all published results"
    own = "by its peak arithmetic and bandwidth" if found.support.own is Own.NOTHING else "by its own other results"
    method = (
        f"mixed model of published MLPerf results {source}, scaled {own}; interval: {COVERED:.0%} of {claim.n} "
        f"back-tests on the same support; mean absolute error {claim.mean_abs_error:.1%}"
    )
    rate, factor = found.rate_per_s, claim.factor
    metrics = _metrics(column, rate, rate / factor, rate * factor, n=claim.n, method=method, confidence=COVERED)
    devices = accelerators()
    shown = found.inputs[:_SHOWN]
    title = devices[profile.name].title["en"]
    precision, more = found.precision, len(found.inputs) - len(shown)
    return Projection(profile.name, title, column, precision, metrics, method, shown, more, claim)


def _as_published(profile: DeviceProfile, one: Observation, precision: str) -> Projection:
    rates = [submission.rate_per_s for submission in one.submissions]
    method = f"published MLPerf results of the device itself: median of {len(rates)}; interval: their range"
    ends = (min(rates), max(rates)) if len(rates) > 1 else (None, None)
    metrics = _metrics(one.column, one.rate_per_s, *ends, n=len(rates), method=method, confidence=None)
    inputs = (Input(one, 1.0),)
    return Projection(profile.name, profile.title["en"], one.column, precision, metrics, method, inputs, 0, None)


def _metrics(
    column: Column, rate: float, low: float | None, high: float | None, *, n: int, method: str, confidence: float | None
) -> dict[str, Quantity]:
    """Return throughput, and the latency where the scenario is judged by it."""

    def quantity(unit: str, value: float, low: float | None, high: float | None) -> Quantity:
        return Quantity(
            value=value,
            unit=unit,
            low=low,
            high=high,
            n=n,
            confidence=confidence,
            provenance=Provenance.PROJECTED,
            method=method,
        )

    samples = SAMPLES_PER_QUERY.get(column.scenario)
    if samples is None:
        return {"throughput": quantity("1/s", rate, low, high)}
    tag = f"latency_p{100 * LATENCY_PERCENTILE[column.scenario]:.0f}"
    ends = (None if high is None else samples / high, None if low is None else samples / low)
    return {tag: quantity("s", samples / rate, *ends), "throughput": quantity("1/s", rate, low, high)}
