"""The same findings on a terminal: `leptonbench show` of a run with several workloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from leptonbench.cli.app import invoke
from leptonbench.cli.wording import absences, by_workload, overview, verdicts
from leptonbench.schema import Status
from leptonbench.store import RunStore
from tests.suite_factory import make_suite_run

Out = pytest.CaptureFixture[str]


def test_tables_are_by_workload_and_say_where_the_quality_lies() -> None:
    _, records = make_suite_run()
    grouped = by_workload(record for record in records if record.metrics)
    assert list(grouped) == ["inspection", "detection", "speech"]
    columns, rows = overview(grouped["speech"])
    assert columns[-1].title == "floor"
    floors = {row[0].split(" · ")[0]: row[-1] for row in rows}
    assert floors["fp32"] == "meets"
    assert floors["int4-weight"] == "meets, not certain"
    assert floors["distill-half"] == "below"


def test_what_is_missing_is_one_row_a_reason_and_none_is_lost() -> None:
    _, records = make_suite_run()
    absent = [record for record in records if record.reason]
    _, rows = absences(absent)
    assert sum(int(row[2]) for row in rows) == len(absent)
    assert len(rows) < len(absent) / 10
    assert {row[1] for row in rows} == {"failed", "invalid", "skipped"}


def test_the_sentences_are_the_reports_without_markup() -> None:
    manifest, records = make_suite_run()
    mine = [record for record in records if record.cell.workload == "inspection"]
    first, *rest = verdicts(manifest, "inspection", mine)
    assert first.startswith(
        "Accurate enough and faster than the fastest fp32 (fp32 · openvino): distill-half+int8-static"
    )
    assert "Slower than fp32 on the same engine: fp16 and int8-dynamic." in rest
    assert "<" not in "".join([first, *rest])


def test_show_puts_it_together_and_a_cell_tells_its_cause(tmp_path: Path, capsys: Out) -> None:
    manifest, records = make_suite_run()
    with RunStore.create(tmp_path / "run", manifest) as store:
        for record in records:
            store.write_record(record)
    assert invoke(["show", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    skipped = sum(record.status is Status.SKIPPED for record in records)
    assert f"{skipped} skipped" in out
    assert out.count("Below the quality floor, shown and never ranked") == 2
    assert invoke(["show", str(tmp_path / "run"), "inspection", "int8-dynamic", "onnxruntime", "single"]) == 0
    assert "why not faster (dynamic-overhead): 31 % more of the time" in capsys.readouterr().out
