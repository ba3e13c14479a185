"""The worked example of docs/planning.md: the stored run gives the answer that the page prints.

Words and their order are held exactly, numbers within a fifth: another NumPy may deal the simulation other luck.
`python -m tests.unit.planning.test_worked_example` writes the page's block anew.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from leptonbench.cli.app import invoke
from leptonbench.schema import Scenario, Status
from leptonbench.store import RunStore

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "planning.md"
EXAMPLE = re.compile(r"^```console\n\$ (leptonbench plan docs/examples.*?)\n```\n+```text\n(.*?)^```", re.M | re.S)


NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_LUCK = 0.2


def _words(text: str) -> list[str]:
    return NUMBER.sub("#", text).split()


def _numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


def _command() -> list[str]:
    found = EXAMPLE.search(PAGE.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{PAGE} has no example")
    return shlex.split(found[1].replace("\\\n", " "))[1:]


def test_the_page_prints_what_the_command_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = EXAMPLE.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    monkeypatch.chdir(ROOT)
    assert invoke(_command()) == 0
    said = capsys.readouterr().out
    assert _words(said) == _words(found[2])
    assert _numbers(said) == pytest.approx(_numbers(found[2]), rel=_LUCK)


def test_the_stored_run_is_a_whole_one() -> None:
    store = RunStore.open(ROOT / "docs" / "examples" / "inspection")
    records = store.records()
    assert {record.cell.workload for record in records} == {"inspection"}
    assert {record.cell.scenario for record in records} == {Scenario.SINGLE_STREAM, Scenario.SERVER}
    assert store.manifest.git_dirty is False
    for record in records:
        assert record.status is Status.OK
        for one in record.rounds:
            assert one.effective or not one.queries
            if record.cell.scenario is Scenario.SINGLE_STREAM:
                assert len(store.latencies(record.cell.key, one.index)) == one.queries


if __name__ == "__main__":
    said = io.StringIO()
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(said):
        invoke(_command())
    text = PAGE.read_text(encoding="utf-8")
    page = EXAMPLE.search(text)
    if page is not None:
        PAGE.write_text(text[: page.start(2)] + said.getvalue() + text[page.end(2) :], encoding="utf-8")
