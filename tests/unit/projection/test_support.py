from __future__ import annotations

import math

import pytest

from leptonbench.errors import UsageError
from leptonbench.projection.anchors import Kin, Own, Support, Table
from leptonbench.projection.claims import Claim
from leptonbench.projection.fit import START
from leptonbench.projection.model import Traits
from leptonbench.projection.results import Column, Observation, Submission
from leptonbench.projection.support import (
    check_benchmark,
    check_claim,
    check_column,
    check_peak,
    check_precision,
    check_size,
)
from leptonbench.schema import AcceleratorSpec, Scenario

RESNET = Column("resnet50", Scenario.OFFLINE)


def _traits(peak: float | None, bandwidth: float | None, precision: str = "int8") -> Traits:
    peaks = {} if peak is None else {precision: math.log(peak)}
    return Traits("x", "x1", "chip", peaks, None if bandwidth is None else math.log(bandwidth))


@pytest.fixture
def table() -> Table:
    rates = {("small", RESNET): 5e3, ("large", RESNET): 5e4, ("large", Column("rnnt", Scenario.SERVER)): 1e4}
    observations = []
    for (device, column), rate in rates.items():
        one = Submission(device, column, rate, "int8", "v3.0", "someone", "file")
        observations.append(Observation(device, column, math.log(rate), (one,)))
    traits = {"small": _traits(1e14, 3e11), "large": _traits(1e15, 3e12)}
    traits |= {"between": _traits(3e14, 1e12), "huge": _traits(2e15, 6e12), "slow": _traits(3e14, 1e11)}
    traits |= {"lopsided": _traits(1e14, 2e12)}
    traits |= {"unknown": _traits(None, 1e12), "half": _traits(3e14, 1e12, "fp16")}
    return Table(tuple(observations), traits, START)


def test_a_benchmark_that_nobody_published_is_refused_with_the_nearest(table: Table) -> None:
    with pytest.raises(UsageError, match="unknown benchmark `resnet5`") as caught:
        check_benchmark(table, Column("resnet5", Scenario.OFFLINE))
    assert "resnet50" in caught.value.hint


def test_a_scenario_that_no_other_device_published_is_refused(table: Table) -> None:
    with pytest.raises(UsageError, match="scenario `single-stream`") as caught:
        check_column(table, "between", Column("resnet50", Scenario.SINGLE_STREAM))
    assert "offline" in caught.value.hint
    with pytest.raises(UsageError, match="cannot be projected"):
        check_column(table, "large", Column("rnnt", Scenario.SERVER))
    check_column(table, "small", Column("rnnt", Scenario.SERVER))


def test_a_precision_that_the_device_lacks_is_refused(table: Table) -> None:
    lacking = AcceleratorSpec(vendor="x", architecture="x1", chip="chip", lacks=("int8",))
    with pytest.raises(UsageError, match="no int8 arithmetic") as caught:
        check_precision(table, "small", lacking, RESNET, None)
    assert caught.value.cause
    assert caught.value.hint


def test_another_precision_than_the_published_one_is_refused(table: Table) -> None:
    spec = AcceleratorSpec(vendor="x", architecture="x1", chip="chip")
    with pytest.raises(UsageError, match="cannot be projected at `fp32`") as caught:
        check_precision(table, "small", spec, RESNET, "fp32")
    assert "int8" in caught.value.cause
    check_precision(table, "small", spec, RESNET, "int8")


@pytest.mark.parametrize("device", ["huge", "slow", "lopsided"])
def test_a_device_beyond_the_published_ones_is_refused(table: Table, device: str) -> None:
    with pytest.raises(UsageError, match="out of the range") as caught:
        check_size(table, device, RESNET)
    assert "1.5x" in caught.value.cause


@pytest.mark.parametrize("device", ["unknown", "half"])
def test_a_device_without_results_needs_figures_at_the_very_precision(table: Table, device: str) -> None:
    with pytest.raises(UsageError, match="cannot be projected") as caught:
        check_size(table, device, RESNET)
    assert "int8" in caught.value.cause


def test_a_device_within_range_or_with_results_is_not_refused(table: Table) -> None:
    check_size(table, "between", RESNET)
    check_size(table, "small", Column("rnnt", Scenario.SERVER))


def test_what_no_back_test_speaks_of_is_refused(table: Table) -> None:
    with pytest.raises(UsageError, match="known error") as caught:
        check_claim(Support(Own.NOTHING, Kin.NONE, True), [], "small", RESNET)
    assert "latency" in caught.value.cause


def test_an_error_that_spans_slow_and_fast_cards_alike_is_refused() -> None:
    stands = Support(Own.NOTHING, Kin.NONE, False)
    claim = Claim(
        own=stands.own.value,
        kin=stands.kin.value,
        by_latency=False,
        n=26,
        mean_abs_error=0.9,
        median_abs_error=0.9,
        bias=-0.8,
        factor=69.0,
    )
    with pytest.raises(UsageError, match="to any use") as caught:
        check_claim(stands, [claim], "small", RESNET)
    assert "69 times" in caught.value.cause
    narrow = claim.model_copy(update={"factor": 2.0})
    assert check_claim(stands, [narrow], "small", RESNET) is narrow


def test_a_rate_beyond_the_peak_is_refused() -> None:
    check_peak(0.9, "small", RESNET, "int8")
    with pytest.raises(UsageError, match="cannot be projected") as caught:
        check_peak(1.7, "small", RESNET, "int8")
    assert "1.7 times its int8 peak" in caught.value.cause
