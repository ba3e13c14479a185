"""From rounds to a record: known rounds in, known numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from leptonbench.harness.aggregate import CellData, aggregate, compare_with_baseline, quality_delta
from leptonbench.harness.finish import counted_rounds, judged
from leptonbench.schema import (
    Boundary,
    CellRecord,
    Notice,
    Provenance,
    Reason,
    RoundRecord,
    Settings,
    Status,
)
from leptonbench.tasks.top1 import Top1
from tests.harness_factory import (
    QUALITY,
    artifact,
    cell,
    energy,
    round_record,
    scenario,
    score,
    server_round,
    spread,
)

P50S = (0.010, 0.012, 0.011)


def _rounds(p50s: Sequence[float] = P50S, **fields: Any) -> tuple[RoundRecord, ...]:
    return tuple(
        round_record(
            index,
            values={
                "latency_p50": p50,
                "latency_mean": p50,
                "latency_p90": 1.08 * p50,
                "latency_p99": 1.1 * p50,
                "latency_p999": 1.1 * p50,
                "throughput": 1 / p50,
                "load_time": 0.5,
                "peak_memory": 1e8,
                "inferences": 1000.0,
            },
            queries=100,
            **fields,
        )
        for index, p50 in enumerate(p50s)
    )


def _aggregate(
    rounds: Sequence[RoundRecord] | None = None,
    *,
    kind: str = "single-stream",
    queries: int = 100,
    target_s: float = 0.1,
    **fields: Any,
) -> CellRecord:
    rounds = _rounds() if rounds is None else rounds
    latencies: list[NDArray[np.float64]] = [spread(r.values.get("latency_p50", 0.01), queries) for r in rounds]
    if kind == "offline":
        latencies = [np.empty(0) for _ in rounds]
    data = CellData(
        cell=cell(scenario=kind),
        scenario=scenario(kind),
        rounds=tuple(rounds),
        latencies=tuple(latencies),
        artifact=fields.pop("artifact", artifact()),
        score=fields.pop("score", None),
        settings=Settings(),
        **fields,
    )
    return aggregate(data, quality=QUALITY, latency_target_s=target_s, percentile=0.99)


def test_the_value_is_the_median_of_the_rounds_and_n_their_number() -> None:
    record = _aggregate()
    assert record.status is Status.OK and record.reason is None
    p50 = record.metrics["latency_p50"]
    assert (p50.value, p50.n, p50.unit, p50.provenance) == (0.011, 3, "s", Provenance.MEASURED)
    assert p50.low is not None and p50.high is not None
    assert p50.low < 0.010 and p50.high > 0.012, "three rounds: Student's t is wider than the rounds themselves"
    assert record.metrics["throughput"].value == pytest.approx(1 / 0.011)


def test_rounds_that_repeat_exactly_give_an_interval_of_no_width() -> None:
    load = _aggregate().metrics["load_time"]
    assert (load.value, load.low, load.high, load.n) == (0.5, 0.5, 0.5, 3)


def test_what_is_known_of_the_artifact_comes_with_it() -> None:
    metrics = _aggregate().metrics
    assert [metrics[tag].value for tag in ("model_size", "macs", "parameters")] == [1000.0, 2000.0, 100.0]


def test_a_percentile_is_stated_only_if_there_are_queries_enough_to_certify_it() -> None:
    """MLPerf's floors: 64 queries for p90, 662 for p99, 6636 for p99.9; the rounds' queries are pooled."""
    metrics = _aggregate(queries=100).metrics
    assert metrics["latency_p90"].value is not None and metrics["latency_p90"].n == 300
    assert metrics["latency_p99"].value is None
    assert metrics["latency_p99"].why_null == "300 queries; p99 needs 662"
    assert metrics["latency_p999"].why_null == "300 queries; p99.9 needs 6636"
    assert _aggregate(queries=221).metrics["latency_p99"].n == 663


def test_a_pooled_percentile_lies_in_its_interval_with_the_certified_bound() -> None:
    p90 = _aggregate(queries=400).metrics["latency_p90"]
    pooled = np.concatenate([spread(p50, 400) for p50 in P50S])
    assert p90.value == pytest.approx(np.quantile(pooled, 0.9, method="higher"))
    assert p90.value is not None and p90.low is not None and p90.high is not None
    assert p90.low <= p90.value <= p90.high
    assert p90.high > p90.value, "an upper bound that may not be above the estimate is none"


@pytest.mark.parametrize(("target_s", "met"), [(0.1, True), (0.0125, False), (0.005, False)])
def test_the_buyers_target_is_met_or_missed(target_s: float, met: bool) -> None:
    """At 0.0125 s the median of the slowest round is within the target, and its 99th percentile is not."""
    assert _aggregate(queries=300, target_s=target_s).meets_target is met


def test_too_few_queries_leave_the_target_unknown() -> None:
    assert _aggregate(queries=100, target_s=0.1).meets_target is None


def test_offline_has_no_latency_and_no_target() -> None:
    record = _aggregate(kind="offline")
    for tag in ("latency_p50", "latency_mean", "latency_p90", "latency_p99", "latency_p999"):
        assert record.metrics[tag].value is None
        assert "offline" in (record.metrics[tag].why_null or "")
    assert record.metrics["throughput"].value == pytest.approx(1 / 0.011)
    assert record.meets_target is None


def test_energy_an_inference_carries_the_meters_band() -> None:
    joules = _aggregate(_rounds(energy=energy(10.0, 7.0, 14.0))).metrics["energy_per_inference"]
    assert joules.value == pytest.approx(0.010)
    assert joules.low == pytest.approx(0.007)
    assert joules.high == pytest.approx(0.014)
    assert (joules.unit, joules.boundary, joules.provenance) == ("J", Boundary.WALL, Provenance.PROJECTED)


def test_energy_also_carries_the_spread_of_the_rounds() -> None:
    rounds = [
        round_.model_copy(update={"energy": energy(joules, 0.7 * joules, 1.4 * joules)})
        for round_, joules in zip(_rounds(), (9.0, 10.0, 11.0), strict=True)
    ]
    found = _aggregate(rounds).metrics["energy_per_inference"]
    assert found.value == pytest.approx(0.010)
    assert found.low is not None and found.low < 0.7 * 0.009
    assert found.high is not None and found.high > 1.4 * 0.011


def test_no_reading_is_no_zero() -> None:
    joules = _aggregate().metrics["energy_per_inference"]
    assert joules.value is None and joules.why_null


@pytest.mark.parametrize(
    ("agreement", "status"), [(None, Status.OK), (1.0, Status.OK), (0.98, Status.OK), (0.97, Status.INVALID)]
)
def test_timed_answers_have_to_be_the_scored_ones(agreement: float | None, status: Status) -> None:
    record = _aggregate(agreement=agreement)
    assert record.status is status
    assert record.metrics["latency_p50"].value == 0.011, "the numbers of an invalid cell stay, marked"
    if status is Status.INVALID:
        assert record.reason is not None and record.reason.code == "answers-differ"
        assert "97.0%" in record.reason.message


def test_an_invalid_round_makes_the_cell_invalid_and_stays_in_its_numbers() -> None:
    reason = Reason(code="loadgen-invalid", message="too few queries")
    rounds = [*_rounds()[:2], _rounds()[2].model_copy(update={"status": Status.INVALID, "reason": reason})]
    record = _aggregate(rounds)
    assert (record.status, record.reason) == (Status.INVALID, reason)
    assert record.metrics["latency_p50"].n == 3


def test_a_failed_round_fails_the_cell_and_is_left_out_of_its_numbers() -> None:
    reason = Reason(code="crash", message="the process died of SIGSEGV")
    record = _aggregate([*_rounds()[:2], round_record(2, Status.FAILED, reason=reason)])
    assert (record.status, record.reason) == (Status.FAILED, reason)
    assert record.metrics["latency_p50"].n == 2


def test_a_cell_whose_only_round_failed_has_no_figures_but_the_artifacts_and_the_score() -> None:
    reason = Reason(code="timeout", message="no result")
    failed = [round_record(0, Status.FAILED, reason=reason)]
    record = _aggregate(failed, score=score([1, 1], [1, 1]))
    assert sorted(record.metrics) == ["macs", "model_size", "parameters", "quality"]
    assert record.meets_target is None


@pytest.mark.parametrize(("right", "enough"), [(10, True), (9, True), (8, False)])
def test_quality_is_held_against_the_floor(right: int, enough: bool) -> None:
    record = _aggregate(score=score([1] * right + [0] * (10 - right), [1] * 10))
    assert record.metrics["quality"].value == right / 10
    assert record.meets_quality is enough


def test_without_a_score_nothing_is_said_of_quality() -> None:
    record = _aggregate()
    assert record.meets_quality is None and "quality" not in record.metrics


def test_a_score_from_the_cache_says_when_it_was_made() -> None:
    method = _aggregate(score=score([1], [1], reused=True)).metrics["quality"].method
    assert method is not None and "2026-11-03" in method


def _codes(record: CellRecord) -> list[str]:
    return [notice.code for notice in record.warnings]


def test_rounds_that_differ_by_a_quarter_are_remarked_on() -> None:
    assert "unstable" not in _codes(_aggregate(_rounds((0.010, 0.0124, 0.011))))
    assert "unstable" in _codes(_aggregate(_rounds((0.010, 0.0126, 0.011))))


def test_a_notice_of_several_rounds_is_told_once() -> None:
    notice = Notice(code="energy-modelled", message="energy is modelled")
    assert _codes(_aggregate(_rounds(notices=(notice,)))) == ["energy-modelled"]


def test_slow_exact_integer_kernels_are_remarked_on() -> None:
    effective = {"int8_accumulation": "exact u8 x u8 kernels (no VNNI)"}
    assert "no-vnni" in _codes(_aggregate(score=score([1], [1], effective=effective)))


def _record(p50s: Sequence[float], kind: str = "single-stream", **fields: Any) -> CellRecord:
    return _aggregate(_rounds(p50s), kind=kind, **fields)


@pytest.mark.parametrize("kind", ["single-stream", "offline"])
def test_speedup_is_the_ratio_of_the_same_rounds(kind: str) -> None:
    """Drift that hits both cells of a round alike cancels: the ratio is exact though the rounds differ."""
    base, faster = _record((0.010, 0.020, 0.015), kind), _record((0.005, 0.010, 0.0075), kind)
    found = compare_with_baseline(faster, base, theory=None)["speedup"]
    assert found.value == pytest.approx(2.0)
    assert found.low == pytest.approx(2.0) and found.high == pytest.approx(2.0)
    assert found.n == 3
    assert "latency_p50" in (found.method or "") if kind == "single-stream" else "throughput" in (found.method or "")


def test_speedup_against_other_numbers_of_rounds_is_the_ratio_of_medians() -> None:
    found = compare_with_baseline(_record((0.005, 0.005)), _record((0.010, 0.010, 0.010)), theory=None)["speedup"]
    assert found.value == pytest.approx(2.0)
    assert "medians" in (found.method or "")


def test_a_servers_speedup_claims_no_more_than_its_search_resolves() -> None:
    base, faster = _record((0.02, 0.02, 0.02), "server"), _record((0.01, 0.01, 0.01), "server")
    found = compare_with_baseline(faster, base, theory=None)["speedup"]
    assert found.value == pytest.approx(2.0)
    assert (found.low, found.high) == (pytest.approx(2.0 / 1.15), pytest.approx(2.0 * 1.15))
    assert found.confidence is None
    unverified = base.model_copy(update={"status": Status.INVALID})
    assert compare_with_baseline(faster, unverified, theory=None)["speedup"].value is None


def test_rounds_of_different_sweeps_are_not_paired() -> None:
    base, late = _record(P50S), _record(P50S)
    late = late.model_copy(update={"rounds": tuple(r.model_copy(update={"index": r.index + 2}) for r in late.rounds)})
    assert "medians" in (compare_with_baseline(late, base, theory=None)["speedup"].method or "")


def test_rounds_of_different_attempts_are_not_paired() -> None:
    """A run that goes on the next day measures the same sweeps, and not beside the first ones."""
    base, late = _record(P50S), _record(P50S)
    late = late.model_copy(update={"rounds": tuple(r.model_copy(update={"attempt": 1}) for r in late.rounds)})
    assert "medians" in (compare_with_baseline(late, base, theory=None)["speedup"].method or "")


def test_speedup_against_nothing_is_null() -> None:
    reason = Reason(code="crash", message="died")
    failed = _aggregate([round_record(0, Status.FAILED, reason=reason)])
    assert compare_with_baseline(_record(P50S), failed, theory=None)["speedup"].value is None


def test_quality_is_compared_on_the_samples_that_both_answered() -> None:
    base = score([1, 1, 1, 1], [1, 1, 1, 1])
    mine = score([1, 1, 0], [1, 1, 1])
    delta = quality_delta(mine, base, Top1())
    assert delta.value == pytest.approx(-1 / 3)
    assert delta.n == 3 and delta.name == "top-1"


def test_a_server_record_is_made_from_the_rounds_at_the_verified_rate() -> None:
    done = [server_round(0, 100.0, met=False), *(server_round(i, 85.0, met=True) for i in (1, 2, 3))]
    kept, search = counted_rounds(cell(scenario="server"), done, 3)
    assert [r.index for r in kept] == [1, 2, 3]
    assert search == [(100.0, False), (85.0, True), (85.0, True), (85.0, True)]


def test_a_failed_server_round_is_not_searched_away() -> None:
    done = [server_round(0, 100.0, met=False), round_record(1, Status.FAILED, effective={"target_qps": 85.0})]
    kept, _ = counted_rounds(cell(scenario="server"), done, 3)
    assert [r.index for r in kept] == [0, 1]


def test_other_scenarios_count_every_round() -> None:
    done = list(_rounds())
    assert counted_rounds(cell(), done, 3) == (done, [])


def test_a_cell_with_fewer_rounds_than_asked_for_is_marked() -> None:
    record = judged(_record(P50S), 2, 3)
    assert record.status is Status.INVALID
    assert record.reason is not None
    assert (record.reason.code, record.reason.message) == ("too-few-rounds", "2 of 3 rounds were measured")
    assert judged(_record(P50S), 3, 3).status is Status.OK
