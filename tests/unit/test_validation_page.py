"""The page that benchmarks write: each section between its marks, from what was found, and never an empty one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import validation_page, validation_sections
from leptonbench.projector.published import back_test

ERRORS = {
    "nearest": {
        "mean": 0.139,
        "idle": 0.21,
        "full": 0.13,
        "energy_p90": 0.25,
        "bias": -0.01,
        "servers": 395,
        "within": 0.93,
        "within_by_cpu": 0.87,
    }
}


def _document(outcomes: list[dict[str, Any]], **details: Any) -> dict[str, Any]:
    return {"created": "2026-11-24T01:02:03", "leptonbench_version": "0.1.0", "outcomes": outcomes, "details": details}


def _outcome(name: str, value: float, unit: str = "%", **changes: Any) -> dict[str, Any]:
    plain = {"low": None, "high": None, "n": 7, "goal": None, "at_least": False, "met": None}
    return {"name": name, "value": value, "unit": unit} | plain | changes


POWER = _document([_outcome("nearest", 0.1385, "1", goal=0.15, met=True)], errors=ERRORS, cpus=100)


def test_a_section_goes_to_its_marks_and_others_stay() -> None:
    page = validation_page.assemble("# Title\n", {"one": "first\n", "two": "second\n"})
    assert page.index("# Title") < page.index("first") < page.index("second")
    again = validation_page.assemble(page, {"one": "anew\n"})
    assert again == page.replace("first", "anew")
    assert validation_page.assemble(again, {"one": "anew\n"}) == again
    with pytest.raises(ValueError, match="`two` of the page has no end"):
        validation_page.assemble(page.replace("<!-- two: end -->", ""), {"two": "x\n"})


def test_what_was_not_found_here_is_left_as_another_machine_wrote_it(tmp_path: Path) -> None:
    page = tmp_path / "validation.md"
    (tmp_path / "cpu_power_model.json").write_text(json.dumps(POWER))
    assert validation_page.write(validation_page.SECTIONS, page, tmp_path) == ["cpu_power_model"]
    text = page.read_text()
    assert "395 published servers with 100 CPUs" in text
    assert "| nearest | 13.9% | 21% | 13% | 25% | -1% |" in text
    assert "at most 0.15: met" in text
    assert "Projection" not in text
    (tmp_path / "cpu_power_model.json").unlink()
    assert validation_page.write(validation_page.SECTIONS, page, tmp_path) == []
    assert page.read_text() == text


def test_errors_coverage_and_claims_have_tables_of_their_own() -> None:
    claim = {
        "own": "nothing",
        "kin": "",
        "by_latency": True,
        "n": 20,
        "mean_abs_error": 0.1,
        "bias": 0.0,
        "factor": 2.0,
    }
    outcomes = [
        _outcome("a headline", 10.6, low=9.0, high=12.0, goal=11.0, met=True),
        _outcome("earlier rounds only: within the interval", 90.2),
        _outcome("latency: nothing; any kin", 10.0),
    ]
    found = _document(outcomes, claims=[claim], widening={"throughput": 1.5, "latency": 1.25})
    text = validation_sections.projection(found)
    errors, coverage, claims = (part for part in text.split("\n\n") if part.startswith("|"))
    assert "| a headline | 10.6 % [9, 12] | 7 | at most 11 %: met |" in errors
    assert "within the interval | 90.2 % | 7 |" in coverage
    assert "| latency | nothing | any | 20 | 10.0% | +0.0% | x/÷ 2.00 |" in claims
    assert "latency: nothing" not in text
    assert "1.50 for throughput and 1.25 for latency" in text


def test_the_page_shows_the_errors_that_projections_print() -> None:
    text = validation_page.PAGE.read_text(encoding="utf-8")
    for claim in back_test().claims:
        cells = validation_sections._claim_row(claim.model_dump(mode="json"))
        assert f"| {' | '.join(map(str, cells))} |" in text
    assert "cpu_power_model: begin" in text
