from __future__ import annotations

import pytest

from leptonbench.comparison import (
    Verdict,
    compare_runs,
    identity_differences,
    only_in_one,
    task_differences,
)
from leptonbench.harness.aggregate import rate_ratio
from leptonbench.schema import CellRecord, RoundRecord, Scenario, Status
from tests.report_factory import make_run, ok_record


def _record(
    values: list[float], metric: str = "latency_p50", scenario: Scenario = Scenario.SINGLE_STREAM
) -> CellRecord:
    rounds = tuple(
        RoundRecord(index=index, started="2026-11-03", wall_s=1.0, status=Status.OK, values={metric: value})
        for index, value in enumerate(values)
    )
    return ok_record("fp32", "torch", scenario, 0.03).model_copy(update={"rounds": rounds})


@pytest.mark.parametrize(
    ("metric", "scenario", "b", "verdict"),
    [
        ("latency_p50", Scenario.SINGLE_STREAM, [1.20, 1.21, 1.22], Verdict.WORSE),
        ("latency_p50", Scenario.SINGLE_STREAM, [0.80, 0.81, 0.82], Verdict.BETTER),
        ("latency_p50", Scenario.SINGLE_STREAM, [0.99, 1.02, 1.03], Verdict.SAME),
        ("latency_p50", Scenario.SINGLE_STREAM, [1.2], Verdict.WORSE),
        ("throughput", Scenario.OFFLINE, [1.20, 1.21, 1.22], Verdict.BETTER),
        ("throughput", Scenario.OFFLINE, [0.80, 0.81, 0.82], Verdict.WORSE),
        ("latency_p50", Scenario.SINGLE_STREAM, [], Verdict.UNKNOWN),
        ("latency_p50", Scenario.SINGLE_STREAM, [0.0, 0.1, 0.1], Verdict.UNKNOWN),
    ],
)
def test_the_verdict_knows_the_direction(metric: str, scenario: Scenario, b: list[float], verdict: Verdict) -> None:
    before = _record([1.00, 1.01, 1.02], metric, scenario)
    if len(b) == 1:
        before, verdict = _record([1.0], metric, scenario), Verdict.UNKNOWN
    (found,) = compare_runs([before], [_record(b, metric, scenario)])
    assert (found.metric, found.verdict) == (metric, verdict)
    assert bool(found.why) == (verdict is Verdict.UNKNOWN)


def test_the_ratio_is_b_over_a() -> None:
    (found,) = compare_runs([_record([1.0, 1.0, 1.0])], [_record([2.0, 2.0, 2.0])])
    assert found.ratio is not None
    assert found.ratio.value == 2.0


def test_failed_rounds_do_not_count() -> None:
    before, after = _record([1.0, 1.0, 1.0]), _record([1.0, 1.0, 99.0])
    failed = after.rounds[2].model_copy(update={"status": Status.FAILED})
    after = after.model_copy(update={"rounds": (*after.rounds[:2], failed)})
    (found,) = compare_runs([before], [after])
    assert found.ratio is not None
    assert found.ratio.value == 1.0


@pytest.mark.parametrize("status", [Status.INVALID, Status.FAILED])
def test_a_cell_that_is_not_ok_gets_no_ratio(status: Status) -> None:
    good = _record([1.0, 1.0, 1.0])
    (found,) = compare_runs([good], [good.model_copy(update={"status": status})])
    assert (found.ratio, found.why) == (None, f"{status} in the second run")


def test_only_common_cells_are_compared_and_not_those_both_skip() -> None:
    records = make_run()[1]
    skipped = [record for record in records if record.status is Status.SKIPPED]
    assert compare_runs(records, []) == []
    assert compare_runs(skipped, records) == []
    assert len(compare_runs(records, records[:4])) == 4


def test_equal_machines_do_not_differ() -> None:
    identity = make_run()[0].fingerprint.identity
    assert identity_differences(identity, identity) == []
    older = identity.model_copy(update={"packages": {}, "cpu_flags": ()})
    told = [tuple(item) for item in identity_differences(identity, older)]
    assert ("cpu_flags", "avx2, bmi2, fma", "fewer") in told
    assert ("packages.torch", "2.9.0", "absent") in told


def _server(value: float, high: float | None) -> CellRecord:
    record = _record([value] * 3, "throughput", Scenario.SERVER)
    rate = record.metrics["throughput"].model_copy(update={"value": value, "low": value, "high": high, "n": 3})
    return record.model_copy(update={"metrics": {**record.metrics, "throughput": rate}})


@pytest.mark.parametrize("highs", [(115.0, 230.0), (None, 230.0), (115.0, None), (None, None)])
def test_a_ratio_of_server_rates_is_the_one_that_records_have(highs: tuple[float | None, float | None]) -> None:
    before, after = _server(100.0, highs[0]), _server(200.0, highs[1])
    (found,) = compare_runs([before], [after])
    same = rate_ratio(after.metrics["throughput"], before.metrics["throughput"])
    assert found.ratio is not None
    assert (found.ratio.value, found.ratio.low, found.ratio.high) == (same.value, same.low, same.high)
    assert found.ratio.low == pytest.approx(200 / 115)
    assert found.verdict is Verdict.BETTER


def test_cells_of_one_run_are_named() -> None:
    records = [record for record in make_run()[1] if record.status is not Status.SKIPPED]
    first, second = only_in_one(records[:3], records[1:])
    assert first == [records[0].cell]
    assert second == [record.cell for record in records[3:]]
    assert only_in_one(records, records) == ([], [])


def test_a_cell_that_the_other_run_skipped_is_in_both() -> None:
    record = make_run()[1][0]
    skipped = record.model_copy(update={"status": Status.SKIPPED})
    assert only_in_one([record], [skipped]) == ([], [])
    assert only_in_one([skipped], []) == ([], []), "a cell without a figure has none to miss"


def test_the_same_workloads_do_not_differ() -> None:
    manifest = make_run()[0]
    assert task_differences(manifest, manifest) == []


def test_other_data_and_another_percentile_are_told() -> None:
    manifest = make_run()[0]
    name = manifest.cells[0].workload
    settings = manifest.settings.model_copy(update={"effective": {"data": "/my/images"}})
    suite = manifest.suite.model_copy(update={"latency_percentile": 0.5})
    found = task_differences(manifest, manifest.model_copy(update={"settings": settings, "suite": suite}))
    told = {item.field: (item.a, item.b) for item in found}
    assert told[f"{name}.data"] == ("seed 7, 128 + 600 samples", "/my/images")
    assert told[f"{name}.latency_target"][1].startswith("p50 <= ")


def test_a_workload_that_one_run_lacks_is_no_difference() -> None:
    manifest = make_run()[0]
    name = manifest.cells[0].workload
    fewer = tuple(cell for cell in manifest.cells if cell.workload != name)
    changed = tuple(workload.model_copy(update={"model": "other"}) for workload in manifest.workloads)
    found = task_differences(manifest, manifest.model_copy(update={"cells": fewer, "workloads": changed}))
    assert not any(item.field.startswith(f"{name}.") for item in found)
