from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leptonbench.cli.app import invoke
from leptonbench.cli.options import parse_duration
from leptonbench.cli.wording import duration
from leptonbench.errors import UsageError
from leptonbench.harness import run as harness
from leptonbench.harness.request import Plan, Progress, RunOutcome, RunRequest
from leptonbench.schema import CellRecord, Notice, Status
from tests.report_factory import make_run

ROOT = Path(__file__).resolve().parents[3]
Out = pytest.CaptureFixture[str]
Execute = Callable[[RunRequest, Progress], RunOutcome]


def _fake(path: Path, *, only: Status | None = None, seen: list[RunRequest] | None = None) -> Execute:
    manifest, records = make_run()

    def execute(request: RunRequest, progress: Progress) -> RunOutcome:
        if seen is not None:
            seen.append(request)
        progress.plan(Plan(tuple(record.cell for record in records), (), 3, 1.5, 95.0))
        progress.phase("preparing", done=0, total=2)
        progress.phase("preparing", done=1, total=2)
        progress.notice(Notice(code="host-load", message="the machine is busy", hint="close other programs"))
        cell = records[3].cell
        progress.round(cell, 0, 12, status="running", detail="", eta_s=None)
        progress.round(cell, 7, 12, status="ok", detail="7.06 ms", eta_s=80.0)
        progress.round(cell, 8, 12, status="failed", detail="crash", eta_s=60.0)
        kept: tuple[CellRecord, ...] = tuple(record for record in records if only in (None, record.status))
        path.mkdir(parents=True, exist_ok=True)
        return RunOutcome(path, manifest, kept)

    return execute


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[RunRequest]:
    seen: list[RunRequest] = []
    monkeypatch.setattr(harness, "execute", _fake(tmp_path / "run", only=Status.OK, seen=seen))
    return seen


def test_the_last_line_is_where_the_report_is(fake: list[RunRequest], tmp_path: Path, capsys: Out) -> None:
    assert invoke(["run"]) == 0
    out, _ = capsys.readouterr()
    assert out.splitlines()[-1] == f"report: {tmp_path / 'run' / 'report.html'}"
    assert (tmp_path / "run" / "report.html").is_file()
    assert "inspection: fastest" in out
    assert "cheapest within the latency target" in out


def test_progress_is_one_line_a_round_without_a_terminal(fake: list[RunRequest], capsys: Out) -> None:
    assert invoke(["run", "--no-report"]) == 0
    out, err = capsys.readouterr()
    *said, ended, failed = err.splitlines()
    assert said == [
        "21 cells; 3 rounds of 1.5 s each; about 1 min 35 s",
        "preparing (2)",
        "warning (host-load): the machine is busy",
        "  hint: close other programs",
    ]
    assert re.fullmatch(r"\[ 7/12\] inspection · int8-static · onnxruntime .*: ok, 7.06 ms; 1 min 20 s left", ended)
    assert re.fullmatch(r"\[ 8/12\] inspection · int8-static · onnxruntime .*: failed, crash; 1 min left", failed)
    assert out.splitlines()[-1].startswith("run: ")


def test_failed_cells_are_exit_code_3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Out) -> None:
    monkeypatch.setattr(harness, "execute", _fake(tmp_path / "run"))
    assert invoke(["run", "--no-report"]) == 3
    err = capsys.readouterr().err
    assert "failed: detection · int8-static" in err
    assert "1 invalid and 1 failed of 21 cells: the exit code is 3" in err


def test_json_is_one_document_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Out) -> None:
    monkeypatch.setattr(harness, "execute", _fake(tmp_path / "run"))
    assert invoke(["run", "--json"]) == 3
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    assert found["statuses"] == {"ok": 16, "invalid": 1, "skipped": 3, "failed": 1}
    assert found["report"] == str(tmp_path / "run" / "report.html")
    assert found["clean"] is False


def test_options_become_the_request(fake: list[RunRequest], tmp_path: Path, capsys: Out) -> None:
    arguments = "--variant fp32,int8-static --variant bf16 --backend torch --rounds 5 --duration 500ms --budget 10m"
    more = f"--threads 1 --seed 7 --out {tmp_path / 'out'} --model org/name --data {tmp_path} --round-timeout 2m"
    assert invoke(["run", *arguments.split(), *more.split(), "--no-report"]) == 0
    (request,) = fake
    assert request.filters == {"variant": ("fp32", "int8-static", "bf16"), "backend": ("torch",)}
    assert (request.rounds, request.threads, request.seed) == (5, 1, 7)
    assert (request.duration_s, request.budget_s, request.round_timeout_s) == (0.5, 600.0, 120.0)
    assert (request.out, request.data, request.model) == (tmp_path / "out", tmp_path, "org/name")
    assert request.passed["duration"] == "500ms"
    assert request.passed["out"] == str(tmp_path / "out")
    assert "suite" not in request.passed and "no_report" not in request.passed
    json.dumps(request.passed)


def test_an_interrupted_run_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    def execute(request: RunRequest, progress: Progress) -> RunOutcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(harness, "execute", execute)
    assert invoke(["run", "--out", "here"]) == 130
    assert "`leptonbench run --resume here`" in capsys.readouterr().err


def test_resume_needs_a_run(capsys: Out) -> None:
    assert invoke(["run", "--resume", "no-such-run"]) == 2
    assert "there is no run `no-such-run`" in capsys.readouterr().err


def test_dry_run_shows_the_plan(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    records = make_run()[1]
    skipped = tuple(record for record in records if record.status is Status.SKIPPED)
    cells = tuple(record.cell for record in records if record.status is Status.OK)
    monkeypatch.setattr(harness, "plan", lambda request: Plan(cells, skipped, 3, 1.5, 600.0))
    assert invoke(["run", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert "skip  unsupported: torch cannot run a QDQ graph of ONNX" in out
    assert err == "16 cells, 3 skipped; 3 rounds of 1.5 s each; about 10 min\n"
    assert invoke(["run", "--dry-run", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (len(found["cells"]), len(found["skipped"]), found["estimate_s"]) == (16, 3, 600.0)


LIVE = """
import threading
from pathlib import Path
from leptonbench.cli.app import invoke
from leptonbench.harness import run as harness
from tests.unit.cli.test_run_command import _fake
inner = _fake(Path({path!r}))
def execute(request, progress):
    outcome = inner(request, progress)
    assert threading.active_count() == 1, threading.enumerate()
    return outcome
harness.execute = execute
raise SystemExit(invoke(["run", "--no-report"]))
"""


def test_live_progress_has_no_thread(tmp_path: Path) -> None:
    terminal, worker = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"}
    command = [sys.executable, "-c", LIVE.format(path=str(tmp_path / "run"))]
    with subprocess.Popen(command, stderr=worker, stdout=subprocess.PIPE, cwd=ROOT, env=environment) as running:
        os.close(worker)
        shown = b""
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:
                break
            if not part:
                break
            shown += part
        assert running.wait() == 3, shown.decode()
    os.close(terminal)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "about 1 min 35 s" in text
    assert "1 min 20 s left" in text
    assert "failed, crash" in text
    assert "\x1b[3" not in shown.decode()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2), ("10m", 600), ("1.5h", 5400), ("3", 3), (" 2 min ", 120), (".5s", 0.5)],
)
def test_durations_are_parsed(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "0", "-1s", "2 weeks", "1e3s", "nan", "1" * 400])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (95, "1 min 35 s"), (3600, "1 h"), (7500, "2 h 5 min"), (-3, "0 s")],
)
def test_durations_are_worded(seconds: float, text: str) -> None:
    assert duration(seconds) == text
