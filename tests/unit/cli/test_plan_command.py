"""`leptonbench plan` on a stored run: text, JSON, page, and errors in three parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leptonbench.cli.app import invoke
from leptonbench.schema.plan import PLAN_VERSION, PlanDocument
from tests.plan_factory import remembered, write_run

Out = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("cli") / "run").path


@pytest.fixture(autouse=True)
def _sized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leptonbench.planning.build.size", remembered)


def plan(run: Path, *words: str) -> list[str]:
    return ["plan", str(run), "--demand", "40 lines x 30/s, 16 h x 5 d", "--as-of", "2026-11-23", *words]


def test_the_answer_comes_first_and_messages_go_to_stderr(run: Path, capsys: Out) -> None:
    assert invoke(plan(run, "--slo", "p99=50ms", "--availability", "n+1")) == 0
    out, err = capsys.readouterr()
    assert "1,200/s at the busiest hour" in out
    assert "Cheapest over 3 years" in out
    assert "what would have to change" in out
    assert "without a deadline" in out
    assert "figures not measured here" in err
    assert "warning" not in out


def test_json_is_the_document_and_out_is_the_page(run: Path, tmp_path: Path, capsys: Out) -> None:
    page = tmp_path / "plan.html"
    assert invoke(plan(run, "--json", "--out", str(page), "--lang", "zh")) == 0
    out, err = capsys.readouterr()
    document = PlanDocument.model_validate(json.loads(out)["plan"])
    assert document.plan_version == PLAN_VERSION
    assert document.spare_nodes == 0
    assert page.is_file()
    assert str(page) in err


@pytest.mark.parametrize(
    "words",
    [
        ("--slo", "p99=1ns"),
        ("--slo", "50ms"),
        ("--region", "atlantis"),
        ("--terms", "on-demand", "--share-servers"),
        ("--prices", "nowhere.yaml"),
        ("--availability", "5 nines"),
    ],
)
def test_a_wrong_question_is_a_usage_error(run: Path, words: tuple[str, ...], capsys: Out) -> None:
    assert invoke(plan(run, *words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "Traceback" not in err
