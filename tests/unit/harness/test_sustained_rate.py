"""What a server cell says of its rate: sustained where every run met the target, offered where one did not."""

from __future__ import annotations

import numpy as np
import pytest

from leptonbench.harness.aggregate import CellData, aggregate
from leptonbench.schema import Provenance, Quantity, RoundRecord, Settings
from tests.harness_factory import QUALITY, artifact, cell, scenario, server_round

_TAILS = {"latency_p90": 0.01, "latency_p99": 0.01, "latency_p999": 0.01}


def _rate(*rounds: RoundRecord, ceiling_per_s: float | None) -> Quantity:
    data = CellData(
        cell=cell(scenario="server"),
        scenario=scenario("server"),
        rounds=rounds,
        latencies=tuple(np.full(100, 0.01) for _ in rounds),
        artifact=artifact(),
        score=None,
        settings=Settings(),
        ceiling_per_s=ceiling_per_s,
    )
    record = aggregate(data, quality=QUALITY, latency_target_s=0.1, percentile=0.9)
    return record.metrics["throughput"]


def _round(index: int, *, met: bool) -> RoundRecord:
    found = server_round(index, 100.0, met=met)
    return found.model_copy(update={"values": {**found.values, "latency_p50": 0.01, "latency_mean": 0.01, **_TAILS}})


def test_a_rate_that_every_run_met_is_known_from_below() -> None:
    found = _rate(*(_round(index, met=True) for index in range(3)), ceiling_per_s=115.0)
    assert (found.value, found.low, found.high) == (100.0, 100.0, 115.0)
    assert "highest Poisson rate at which 3 of 3 runs met the target; 115/s was not sustained" in (found.method or "")


@pytest.mark.parametrize(("met", "words"), [((False,), "0 of 1"), ((True, False), "1 of 2")])
def test_a_rate_that_a_run_missed_was_offered_and_has_no_lower_end(met: tuple[bool, ...], words: str) -> None:
    found = _rate(*(_round(index, met=one) for index, one in enumerate(met)), ceiling_per_s=100.0)
    assert (found.low, found.high) == (None, 100.0)
    assert f"that was offered; {words} runs met the target" in (found.method or "")
    assert "highest" not in (found.method or "")
    assert found.provenance is Provenance.MEASURED
