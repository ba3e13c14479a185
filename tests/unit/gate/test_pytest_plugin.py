"""The fixture, inside a pytest of its own, on top of pytest-benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from leptonbench.gate.pytest_plugin import Cell, Replay
from leptonbench.schema import CellRecord, Status
from tests.report_factory import make_run

# What a user writes, but for `execute`: the records are made up, so that no test here times anything.
_TESTS = """
from pathlib import Path
import pytest
from leptonbench.harness import run as harness
from leptonbench.harness.request import RunOutcome
from leptonbench.schema import Status
from tests.report_factory import make_run


@pytest.fixture(autouse=True)
def measured(monkeypatch, tmp_path):
    def execute(request, progress):
        manifest, records = make_run()
        kept = [r for r in records if r.cell.workload == "inspection" and r.cell.scenario.value == "single-stream"
                and r.cell.backend == "onnxruntime" and r.cell.variant in request.filters["variant"]]
        return RunOutcome(Path(request.out), manifest, tuple(kept))
    monkeypatch.setattr(harness, "execute", execute)


def test_within(leptonbench):
    cell = leptonbench.measure("inspection", variant="int8-static", against_fp32=True)
    cell.check(p50="1s", quality=">= 0.5 x base")
    assert cell["latency_p50"].value > 0


def test_beyond(leptonbench):
    leptonbench.measure("inspection", variant="int8-static").check(p50="1us")


def test_ordinary():
    pass
"""


def _pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[3]
    (folder / "test_cells.py").write_text(_TESTS, encoding="utf-8")
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(root)}
    plugins = ["-p", "pytest_benchmark.plugin", "-p", "leptonbench.gate.pytest_plugin", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_fixture_measures_checks_and_fills_pytest_benchmarks_json(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "--leptonbench", "--benchmark-json=out.json", "-q")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 passed" in done.stdout and "1 failed" in done.stdout
    assert "is out of budget" in done.stdout and "at most 1e-06 s wanted (`1us`)" in done.stdout
    assert "interval [" in done.stdout
    assert "judge_budget" not in done.stdout  # the traceback ends in the user's line
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    one = next(item for item in document["benchmarks"] if item["name"] == "test_within")
    (record,) = [r for r in make_run()[1] if r.cell.key == _KEY]
    values = [item.values["latency_p50"] for item in record.rounds]
    assert one["stats"]["data"] == pytest.approx(values)
    assert one["group"] == "inspection"
    assert one["extra_info"]["leptonbench"]["latency_p50"]["unit"] == "s"


def test_without_the_option_such_tests_are_skipped(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "-q", "-rs")
    assert done.returncode == 0
    assert "1 passed, 2 skipped" in done.stdout
    assert "--leptonbench only" in done.stdout


def _key() -> str:
    return next(
        record.cell.key
        for record in make_run()[1]
        if record.cell.workload == "inspection"
        and record.cell.scenario.value == "single-stream"
        and record.cell.backend == "onnxruntime"
        and record.cell.variant == "int8-static"
    )


_KEY = _key()


def test_a_timer_plays_back_what_was_measured() -> None:
    replay = Replay()
    replay.load([0.5, 0.25])
    readings = [replay() for _ in range(6)]
    assert [end - start for start, end in zip(readings[::2], readings[1::2], strict=True)] == [0.5, 0.25, 0.0]


def test_a_budget_against_a_base_wants_one(tmp_path: Path) -> None:
    record: CellRecord = next(one for one in make_run()[1] if one.status is Status.OK)
    with pytest.raises(AssertionError, match="the base has no `quality`"):
        Cell(record, None, tmp_path).check(quality=">= 0.98 x base")
