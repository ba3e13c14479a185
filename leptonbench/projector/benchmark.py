"""A published benchmark on a device that is not here, worded with all that it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from leptonbench.errors import UsageError
from leptonbench.projection.anchors import Input, Own, Projected, Table, project
from leptonbench.projection.claims import COVERED, Claim
from leptonbench.projection.results import LATENCY_PERCENTILE, SAMPLES_PER_QUERY, Column, Observation
from leptonbench.projection.support import check_benchmark, check_claim, check_column, check_precision, check_size
from leptonbench.projector.published import accelerators, back_test, find_device, published_table, spec_of
from leptonbench.schema import DeviceProfile, Provenance, Quantity, Scenario

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
    device, anchors = find_device(device), tuple(map(find_device, anchors))
    column = Column(benchmark, scenario)
    table = published_table()
    profile = accelerators()[device]
    check_benchmark(table, column)
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
        f"back-tests on the same support, widened for new rounds; mean absolute error {claim.mean_abs_error:.1%}"
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
