from __future__ import annotations

import math
from typing import Any

import pytest

from leptonbench.projection.results import Column, parse_rows, precision_of, typical
from leptonbench.schema import Scenario

ROW = {
    "round": "v3.0",
    "submitter": "someone",
    "system": "a server",
    "accelerator": "Card 9",
    "accelerators_per_node": "4",
    "nodes": "2",
    "benchmark": "bert-99",
    "scenario": "Offline",
    "result": "800",
    "unit": "samples/s",
    "precision": "int8",
    "framework": "TensorRT",
    "division": "closed",
    "tail_warning": "",
    "source": "repository:file",
}
NAMES = {"Card 9": "card-9"}


def _row(**changes: Any) -> dict[str, str]:
    return ROW | changes


def test_a_rate_is_of_one_device() -> None:
    (one,), left = parse_rows([_row()], NAMES)
    assert (one.device, one.rate_per_s, one.column) == ("card-9", 100.0, Column("bert-99", Scenario.OFFLINE))
    assert one.column.family == "bert"
    assert left.counts == {}


@pytest.mark.parametrize(
    ("scenario", "unit", "rate"), [("SingleStream", "ms p90", 100.0), ("MultiStream", "ms p99 (8 samples)", 800.0)]
)
def test_latency_is_a_rate_of_one_stream_on_one_device(scenario: str, unit: str, rate: float) -> None:
    (one,), _ = parse_rows([_row(scenario=scenario, unit=unit, result="10")], NAMES)
    assert one.rate_per_s == pytest.approx(rate)
    assert one.column.by_latency


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"accelerator": "Card 10"}, "no profile"),
        ({"division": "open"}, "closed"),
        ({"scenario": "MultiStream", "unit": "streams (samples per 50/66ms query)"}, "multi-stream"),
        ({"framework": "ONNX runtime v1.12 with GPU support"}, "generic engine"),
        ({"framework": "vllm"}, "generic engine"),
        ({"tail_warning": "mean>p99;p99.9>2xSLO"}, "99th percentile"),
        ({"system": "a server (MaxQ, TensorRT)"}, "capped"),
    ],
)
def test_what_cannot_be_compared_is_left_out_and_counted(changes: dict[str, str], told: str) -> None:
    found, left = parse_rows([_row(**changes), _row(**changes)], NAMES)
    assert found == []
    ((reason, count),) = left.counts.items()
    assert told in reason
    assert count == 2


def test_the_typical_result_is_the_median_of_the_logarithm() -> None:
    found, _ = parse_rows([_row(result=str(800 * factor)) for factor in (1, 100, 2)], NAMES)
    (one,) = typical(found)
    assert one.rate_per_s == pytest.approx(200.0)
    assert len(one.submissions) == 3
    assert one.log_rate == pytest.approx(math.log(200))


def test_the_precision_of_a_benchmark_is_what_most_say_who_name_one() -> None:
    rows = [_row(precision=name) for name in ("int8,fp16", "int8,fp16", "fp16", "fp16", "int8")]
    found, _ = parse_rows(rows, NAMES)
    assert precision_of(typical(found), "bert-99") == "fp16"
    assert precision_of(typical(found), "rnnt") == ""
