"""Cells over many runs: found changes, split series, and a page in both languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leptonbench.cli.app import invoke
from leptonbench.report.history import build_history
from leptonbench.report.history_page import render_history
from leptonbench.store import RunStore
from tests.history_factory import history_runs

Out = pytest.CaptureFixture[str]


def test_a_slower_level_is_found_and_called_worse() -> None:
    (series,) = build_history(history_runs((0.01, 12), (0.0108, 12)))
    (change,) = series.changes
    assert abs(change.start - 12) <= 1 and change.worse is True
    assert change.ratio == pytest.approx(1.08, abs=0.02)
    assert change.run == f"run-{change.start:02}"


def test_a_faster_level_is_better_and_the_order_of_loading_does_not_matter() -> None:
    (series,) = build_history(reversed(history_runs((0.01, 12), (0.008, 12))))
    assert [change.worse for change in series.changes] == [False]


def test_nothing_is_compared_across_machines() -> None:
    (series,) = build_history(history_runs((0.01, 12), (0.02, 12), python=("3.11.1", "3.12.1")))
    assert series.changes == ()
    assert [segment.differs for segment in series.segments] == [(), ("python",)]
    assert all("12 runs" in segment.why_none for segment in series.segments)


def test_the_page_shows_changes_and_splits_in_both_languages() -> None:
    series = build_history(history_runs((0.01, 12), (0.0108, 12), (0.0108, 3), python=("3.11.1", "3.11.1", "3.12.1")))
    page = render_history(series)
    assert page.count('class="run"') == 27
    assert 'class="change worse"' in page and 'class="machine"' in page
    assert "Worse: 10" in page and "On another machine" not in page and "on another machine" in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    other = render_history(series, lang="zh")
    assert "变差" in other and 'lang="zh-Hans"' in other


def test_the_command_tells_changes_and_writes_the_page(tmp_path: Path, capsys: Out) -> None:
    for manifest, records in history_runs((0.01, 8), (0.012, 8)):
        with RunStore.create(tmp_path / manifest.run_id, manifest) as store:
            for record in records:
                store.write_record(record)
    assert invoke(["history", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (series,) = document["series"]
    assert [change["worse"] for segment in series["segments"] for change in segment["changes"]] == [True]
    assert Path(document["page"]) == tmp_path / "history.html" and (tmp_path / "history.html").is_file()
    assert invoke(["history", str(tmp_path)]) == 0
    out, _ = capsys.readouterr()
    assert "worse" in out and "1 series, 1 change of level" in out


def test_no_history_is_told(tmp_path: Path, capsys: Out) -> None:
    assert invoke(["history", str(tmp_path)]) == 2
    assert "there is no history" in capsys.readouterr().err
    assert invoke(["history", str(tmp_path), "--metric", "latency"]) == 2
    assert "unknown metric" in capsys.readouterr().err


def test_a_run_that_cannot_be_read_is_told_and_left_out(tmp_path: Path, capsys: Out) -> None:
    for manifest, records in history_runs((0.01, 3)):
        with RunStore.create(tmp_path / manifest.run_id, manifest) as store:
            store.write_record(records[0])
    text = (tmp_path / "run-01" / "manifest.json").read_text(encoding="utf-8")
    (tmp_path / "run-01" / "manifest.json").write_text(text.replace('"seed"', '"sed"'), encoding="utf-8")
    assert invoke(["history", str(tmp_path), "--json"]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)["series"][0]["points"]) == 2
    assert "left out" in err
