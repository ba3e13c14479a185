from __future__ import annotations

import pytest

from leptonbench.report.choice import RULES, Question, absent_cells, answer
from leptonbench.schema import CellRecord, Scenario
from tests.report_factory import make_records, ok_record

SINGLE, SERVER = Scenario.SINGLE_STREAM, Scenario.SERVER
FASTEST, CHEAPEST, FRUGAL = RULES


def names(records: tuple[CellRecord, ...]) -> list[tuple[str, str]]:
    return [(record.cell.variant, record.cell.backend) for record in records]


def test_the_fastest_is_valid_and_accurate_however_fast_the_others_are() -> None:
    found = answer(FASTEST, "inspection", make_records())
    assert found.best is not None
    assert names((found.best,)) == [("prune50+int8-static", "onnxruntime")]
    assert found.rejected_quality == 1


def test_what_comes_next_is_clearly_slower_and_has_a_ratio() -> None:
    found = answer(FASTEST, "inspection", make_records())
    assert found.next_clear is not None
    assert found.times is not None
    assert names((found.next_clear,)) == [("int8-static", "openvino")]
    assert found.times.value == pytest.approx(0.00699 / 0.00431)


def test_overlapping_intervals_are_ties() -> None:
    found = answer(CHEAPEST, "inspection", make_records())
    assert found.scenario is SERVER
    assert names(found.tied) == [("int8-static", "openvino")]
    assert found.next_clear is None


def test_the_cheapest_meets_the_target() -> None:
    cheap = ok_record("int8-static", "onnxruntime", SERVER, 0.01).model_copy(update={"meets_target": False})
    dear = ok_record("fp32", "onnxruntime", SERVER, 0.02)
    found = answer(CHEAPEST, "inspection", [cheap, dear])
    assert found.best is dear
    assert found.rejected_target == 1


def test_a_scenario_without_a_qualifying_cell_gives_way_to_the_next() -> None:
    late = ok_record("fp32", "onnxruntime", SERVER, 0.02).model_copy(update={"meets_target": False})
    fine = ok_record("fp32", "onnxruntime", SINGLE, 0.02)
    assert answer(CHEAPEST, "inspection", [late, fine]).best is fine
    nothing = answer(CHEAPEST, "inspection", [late])
    assert (nothing.best, nothing.scenario, nothing.candidates, nothing.rejected_target) == (None, SERVER, 1, 1)


def test_work_without_a_latency_is_judged_by_its_price_alone() -> None:
    dear, cheap = (
        ok_record(variant, "onnxruntime", Scenario.OFFLINE, seconds).model_copy(update={"meets_target": None})
        for variant, seconds in (("fp32", 0.02), ("int8-static", 0.01))
    )
    assert answer(CHEAPEST, "inspection", [dear, cheap]).best is cheap


def test_an_unknown_quality_does_not_qualify() -> None:
    unknown = ok_record("fp32", "onnxruntime", SINGLE, 0.02).model_copy(update={"meets_quality": None})
    found = answer(FASTEST, "inspection", [unknown])
    assert found.best is None
    assert found.rejected_quality == 1


def test_no_records_no_answer() -> None:
    found = answer(FRUGAL, "inspection", [])
    assert (found.rule.question, found.best, found.candidates) == (Question.FRUGAL, None, 0)


def test_absent_cells_are_grouped_by_reason_failures_first() -> None:
    groups = absent_cells(make_records())
    assert [(group.status.value, len(group.records)) for group in groups] == [
        ("failed", 1),
        ("invalid", 1),
        ("skipped", 2),
        ("skipped", 1),
    ]
    assert "QDQ" in groups[2].message
