"""The plan's page: both languages, self-contained, its numbers the document's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from leptonbench.report.i18n import load_messages
from leptonbench.report.plan_page import render_plan, write_plan
from leptonbench.report.plan_view import build_plan_view, plan_translator
from leptonbench.schema.plan import PlanDocument
from tests.plan_factory import card, planned, request, write_run
from tests.report_page import parse

PLACEHOLDER = re.compile(r"{(\w+)}")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> PlanDocument:
    return planned(write_run(tmp_path_factory.mktemp("page") / "run"), request())


def test_both_catalogues_have_the_same_keys_and_placeholders() -> None:
    english, chinese = load_messages("en", "plan"), load_messages("zh", "plan")
    assert set(english) == set(chinese)
    for key, message in english.items():
        assert set(PLACEHOLDER.findall(message)) == set(PLACEHOLDER.findall(chinese[key])), key
        assert re.search("[\u4e00-\u9fff]", chinese[key]) or not re.search("[A-Za-z]", PLACEHOLDER.sub("", message)), (
            key
        )


def test_no_key_hides_one_of_the_report() -> None:
    assert not set(load_messages("en")) & set(load_messages("en", "plan"))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_needs_nothing_else(plan: PlanDocument, lang: str) -> None:
    page = render_plan(plan, lang=lang)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert "<script src" not in page
    assert "default-src 'none'" in page
    assert render_plan(plan, lang=lang) == page
    parse(page)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_cell_and_choice_is_on_the_page(plan: PlanDocument, lang: str) -> None:
    page = render_plan(plan, lang=lang)
    for row in plan.rows:
        assert row.cell.variant in page
        for choice in row.choices:
            assert repr(choice.usd_horizon.value) in page
    for one in plan.assumptions:
        assert one.date in page


def test_the_data_inside_is_the_plan(plan: PlanDocument) -> None:
    page = render_plan(plan)
    found = re.search(r'<script type="([^"]+)" id="plan">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    if found[1] == "application/json":
        assert PlanDocument.model_validate(json.loads(found[2])) == plan
    else:
        import base64
        import gzip

        assert PlanDocument.model_validate_json(gzip.decompress(base64.b64decode(found[2]))) == plan


def test_the_answer_names_the_first_choice_its_cost_and_its_rivals(plan: PlanDocument) -> None:
    view = build_plan_view(plan, plan_translator("en"))
    first = view.answer[0]
    assert "Cheapest over 3 years" in first
    assert "USD" in first
    assert len(view.flips) >= 1
    assert any(word in view.flips[0] for word in ("rose from", "fell from"))


def test_a_plan_without_a_price_says_so(tmp_path: Path) -> None:
    from leptonbench.schema.prices import Terms

    plan = planned(write_run(tmp_path / "run", [card()]), request(terms=(Terms.OWNED,)))
    assert not plan.ranking
    view = build_plan_view(plan, plan_translator("en"))
    assert "nothing is ranked" in view.answer[0]
    assert "<svg" in render_plan(plan)


def test_a_feasible_cell_without_any_price_is_still_shown(tmp_path: Path) -> None:
    unknown = card()
    unknown = unknown.model_copy(update={"cell": unknown.cell.model_copy(update={"device": "nvidia-nowhere"})})
    plan = planned(write_run(tmp_path / "run", [card(), unknown]), request())
    view = build_plan_view(plan, plan_translator("en"))
    lost = [one for one in view.unpriced if "nvidia-nowhere" in one.why]
    assert {one.terms.value for one in lost} == {"on-demand", "reserved", "spot", "owned"}
    page = render_plan(plan)
    assert "no profile of `nvidia-nowhere` is known" in page


def test_a_cost_that_is_open_upwards_does_not_look_exact(plan: PlanDocument) -> None:
    ends = dict.fromkeys(("low", "high", "own_low", "own_high"))
    first, *others = plan.ranking
    bare = first.model_copy(update={"usd_horizon": first.usd_horizon.model_copy(update=ends)})
    opened = render_plan(plan.model_copy(update={"ranking": (bare, *others)}))
    assert opened.count("(open upwards)") > render_plan(plan).count("(open upwards)")


def test_the_page_is_written_whole(plan: PlanDocument, tmp_path: Path) -> None:
    out = write_plan(plan, out=tmp_path / "deep" / "plan.html", lang="zh")
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert 'lang="zh-Hans"' in out.read_text(encoding="utf-8")
