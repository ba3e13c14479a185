from __future__ import annotations

from typing import Any

import pytest

from leptonbench.report.compress import (
    Compression,
    Verdict,
    contributions,
    floor_state,
    judge_workload,
    times_as_fast,
)
from leptonbench.schema import CellRecord, Notice, Provenance, Quantity, Scenario, Status
from tests.report_factory import make_manifest, make_records, ok_record, quantity
from tests.suite_factory import make_suite_run

SINGLE, SERVER = Scenario.SINGLE_STREAM, Scenario.SERVER


def judged(records: list[CellRecord], workload: str = "inspection") -> Compression:
    found = judge_workload(make_manifest(records), workload, records)
    assert found is not None
    return found


def verdicts(records: list[CellRecord]) -> dict[str, Verdict]:
    return {item.name: item.verdict for item in judged(records).variants}


def with_size(record: CellRecord, size_bytes: float) -> CellRecord:
    size = Quantity(value=size_bytes, unit="B", provenance=Provenance.MEASURED)
    return record.model_copy(update={"metrics": record.metrics | {"model_size": size}})


BASE = ok_record("fp32", "onnxruntime", SINGLE, 0.02)


@pytest.mark.parametrize(
    ("p50", "speedup", "spread", "changes", "verdict"),
    [
        (0.010, 2.0, 0.1, {}, Verdict.PAYS),
        (0.020, 1.05, 0.1, {}, Verdict.SMALLER),
        (0.025, 0.8, 0.1, {}, Verdict.SLOWER),
        (0.010, 2.0, 0.1, {"meets_quality": False}, Verdict.INACCURATE),
        (0.010, 2.0, 0.1, {"meets_quality": None}, Verdict.UNKNOWN),
        (0.010, 2.0, 0.1, {"status": Status.INVALID}, Verdict.UNKNOWN),
    ],
)
def test_a_variant_is_judged_by_quality_then_speed_then_size(
    p50: float, speedup: float, spread: float, changes: dict[str, Any], verdict: Verdict
) -> None:
    record = ok_record("int8-static", "onnxruntime", SINGLE, p50, speedup=2.0)
    metrics = record.metrics | {"speedup": quantity(speedup, "1", spread)}
    assert verdicts([BASE, record.model_copy(update={"metrics": metrics, **changes})]) == {
        "fp32": Verdict.BASELINE,
        "int8-static": verdict,
    }


def test_no_faster_and_no_smaller_is_called_that() -> None:
    record = with_size(ok_record("prune50", "onnxruntime", SINGLE, 0.02, speedup=1.0), 44_795_112)
    assert verdicts([BASE, record])["prune50"] is Verdict.INDISTINCT


def test_beating_fp32_on_a_slow_engine_only_is_no_gain_for_a_buyer() -> None:
    slow = ok_record("fp32", "torch", SINGLE, 0.06)
    record = ok_record("prune50", "torch", SINGLE, 0.03, speedup=2.0)
    found = judged([BASE, slow, record])
    (prune,) = found.of(Verdict.ENGINE)
    assert (prune.name, found.base) == ("prune50", BASE)
    assert prune.times is not None
    assert prune.times.value == pytest.approx(0.02 / 0.03)


def test_an_accurate_cell_stands_for_its_variant_before_a_faster_inaccurate_one() -> None:
    fast = ok_record("int8-static", "openvino", SINGLE, 0.004, speedup=5.0).model_copy(update={"meets_quality": False})
    good = ok_record("int8-static", "onnxruntime", SINGLE, 0.008, speedup=2.5)
    found = judged([BASE, fast, good])
    (int8,) = found.of(Verdict.PAYS)
    assert int8.best is good
    assert set(int8.by_backend) == {"openvino", "onnxruntime"}


def test_a_variant_without_any_number_is_absent_with_its_reasons() -> None:
    manifest, records = make_suite_run()
    found = judge_workload(manifest, "inspection", records)
    assert found is not None
    (absent,) = found.of(Verdict.ABSENT)
    assert absent.name == "int4-weight"
    assert [(group.code, len(group.records)) for group in absent.absent] == [("not-applicable", 8)]


def test_every_variant_of_every_workload_is_judged_once_from_one_scenario() -> None:
    manifest, records = make_suite_run()
    for spec in manifest.workloads:
        found = judge_workload(manifest, spec.name, records)
        assert found is not None
        assert [item.name for item in found.variants] == [variant.name for variant in manifest.variants]
        assert {record.cell.scenario for item in found.variants for record in item.cells} == {SINGLE}


def test_what_pays_never_lies_below_the_floor_and_is_clearly_faster() -> None:
    manifest, records = make_suite_run()
    for spec in manifest.workloads:
        found = judge_workload(manifest, spec.name, records)
        assert found is not None
        pays = found.of(Verdict.PAYS)
        assert pays
        for item in pays:
            assert item.best is not None
            assert item.best.meets_quality is True
            assert item.times is not None
            assert (item.times.low or 0) > 1
        speeds = [item.times.value for item in pays if item.times]
        assert speeds == sorted(speeds, reverse=True)


def test_nothing_compressed_means_nothing_to_judge() -> None:
    assert judge_workload(make_manifest([BASE]), "inspection", [BASE]) is None


def test_size_is_what_is_kept_of_a_variant_where_that_is_another_form() -> None:
    manifest, records = make_suite_run()
    found = judge_workload(manifest, "inspection", records)
    assert found is not None
    by_name = {item.name: item for item in found.variants}
    assert by_name["share16"].stored_share == pytest.approx(0.13, rel=1e-3)
    assert by_name["int8-static"].stored_share == pytest.approx(0.26, rel=1e-3)


def test_a_speed_ratio_pairs_rounds_and_falls_back_to_the_far_ends() -> None:
    fast = ok_record("int8-static", "onnxruntime", SINGLE, 0.01, speedup=2.0)
    paired = times_as_fast(fast, BASE)
    assert paired is not None
    assert paired.value == pytest.approx(2.0)
    bare = times_as_fast(fast.model_copy(update={"rounds": ()}), BASE)
    assert bare is not None
    assert bare.low == pytest.approx(2.0 * 0.989 / 1.011)


def test_each_step_of_a_composition_is_measured_against_the_one_before_on_the_same_engine() -> None:
    records = make_records()
    first, second = contributions(make_manifest(records), "inspection", records)
    assert (first.before.cell.variant, first.after.cell.variant) == ("fp32", "prune50")
    assert (second.before.cell.variant, second.after.cell.variant) == ("prune50", "prune50+int8-static")
    assert {first.backend, second.backend} == {"onnxruntime"}
    assert first.speed is not None
    assert second.speed is not None
    assert first.speed.value * second.speed.value == pytest.approx(0.0174 / 0.00431)
    assert second.quality is not None
    assert second.quality.value == pytest.approx(0.9763 / 0.9780)


def test_a_step_that_was_not_measured_is_named_and_not_guessed() -> None:
    records = [r for r in make_records() if (r.cell.variant, r.cell.backend) != ("prune50", "onnxruntime")]
    (only,) = contributions(make_manifest(records), "inspection", records)
    assert only.missing == ("prune50",)
    assert only.before.cell.variant == "fp32"


def test_the_floor_has_two_sides_and_a_doubt() -> None:
    unsure = Notice(code="quality-uncertain", message="too few samples")
    assert floor_state(BASE) == "meets"
    assert floor_state(BASE.model_copy(update={"warnings": (unsure,)})) == "meets_unsure"
    below = BASE.model_copy(update={"meets_quality": False})
    assert floor_state(below) == "below"
    assert floor_state(below.model_copy(update={"warnings": (unsure,)})) == "below_unsure"
    assert floor_state(BASE.model_copy(update={"meets_quality": None})) == ""


def test_the_speed_of_other_hardware_is_no_gain_of_a_variant() -> None:
    """An accelerator has no fp32 cell: how fast it is says nothing about what compression does on the CPU."""
    slow = ok_record("int8-static", "onnxruntime", SINGLE, 0.025)
    fast = ok_record("int8-static", "fpga", SINGLE, 0.001)
    fast = fast.model_copy(update={"cell": fast.cell.model_copy(update={"device": "kv260"})})
    assert verdicts([BASE, slow, fast])["int8-static"] is verdicts([BASE, slow])["int8-static"]
    assert "fpga" not in judged([BASE, slow, fast]).backends
