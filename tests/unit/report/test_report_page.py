from __future__ import annotations

import base64
import hashlib
import os
import re
from pathlib import Path

import pytest

from leptonbench.errors import StorageError, UsageError
from leptonbench.report import render_report, write_report
from leptonbench.report.render import PACK_ABOVE_CELLS
from leptonbench.schema import CellRecord, Notice, Provenance, Reason, RunManifest, Scenario, Status
from tests.report_factory import absent_record, make_manifest, make_records, make_run, ok_record
from tests.report_page import Node, block, details, embedded, parse
from tests.suite_factory import SPECS, make_suite_run, suite_manifest, suite_records

LANGUAGES = ("en", "zh")


@pytest.fixture(scope="module", params=LANGUAGES)
def page(request: pytest.FixtureRequest) -> str:
    return render_report(*make_run(), lang=request.param)


@pytest.fixture(scope="module")
def english() -> str:
    return render_report(*make_run())


def many(count: int) -> list[CellRecord]:
    records: list[CellRecord] = []
    while len(records) < count:
        for record in make_records():
            records.append(
                record.model_copy(update={"cell": record.cell.model_copy(update={"batch": len(records) + 1})})
            )
    return records[:count]


def rows_by_key(root: Node, html: str) -> dict[str, tuple[Node, list[str]]]:
    """Return each comparison row with its table's metric tags, by cell key (through its link to the details)."""
    keys = {
        item.attributes["id"]: item.attributes["data-cell"] for item in details(html).find("details", class_="cell")
    }
    found = {}
    for table in root.find("table", class_="compare"):
        tags = [th.attributes["data-m"] or "" for th in table.find("th") if "data-m" in th.attributes]
        assert not table.find("tr", class_="r-skipped")
        for row in table.find("tbody")[0].find("tr"):
            href = row.find("a")[0].attributes["href"] or ""
            found[keys[href[1:]] or ""] = (row, tags)
    return found


def check_details(html: str, records: list[CellRecord]) -> None:
    tree = details(html)
    by_key = {item.attributes["data-cell"]: item for item in tree.find("details", class_="cell")}
    tried = [record for record in records if record.status is not Status.SKIPPED]
    assert set(by_key) == {record.cell.key for record in tried}
    for record in tried:
        item = by_key[record.cell.key]
        for tag, quantity in record.metrics.items():
            if quantity.value is None:
                (gap,) = item.find("span", data_m=tag)
                assert gap.parent is not None
                assert quantity.why_null is not None
                assert quantity.why_null in gap.parent.text()
                continue
            (row,) = item.find("tr", data_m=tag)
            ends = [] if quantity.low is None or quantity.high is None else [quantity.low, quantity.high]
            assert row.numbers() == [quantity.value, *ends], (record.cell.key, tag)
            assert (quantity.provenance or Provenance.ASSUMED).value[0].upper() == row.find("b")[0].text()
        for item_round in record.rounds:
            (row,) = item.find("tr", data_round=str(item_round.index))
            assert sorted(row.numbers()) == sorted(item_round.values.values())


def test_every_number_in_the_details_is_the_records(page: str) -> None:
    check_details(page, make_records())


def test_every_number_in_the_comparison_is_the_records(page: str) -> None:
    rows = rows_by_key(parse(page), page)
    compared = 0
    assert len(rows) == sum(record.status is not Status.SKIPPED for record in make_records())
    for record in make_records():
        if record.status is Status.SKIPPED:
            continue
        row, tags = rows[record.cell.key]
        if not record.metrics:
            assert row.numbers() == []
            continue
        cells = row.find("td")[: len(tags)]
        for tag, cell in zip(tags, cells, strict=True):
            value = record.metrics[tag].value
            assert cell.numbers() == ([] if value is None else [value]), (record.cell.key, tag)
            compared += 1
    assert compared > 150


def test_a_gap_carries_its_reason_and_a_visible_note(english: str) -> None:
    rows = rows_by_key(parse(english), english)
    row, tags = rows["inspection--fp32--torch--host-cpu--single-stream--b1-t2-i1"]
    cell = row.find("td")[tags.index("latency_p99")]
    (dash,) = cell.find("abbr")
    assert dash.attributes["title"] == "240 queries; p99 needs 662"
    href = cell.find("a")[0].attributes["href"] or ""
    (note,) = parse(english).find("li", id=href[1:])
    assert note.text() == "240\u2013635 queries; p99 needs 662"


def test_absent_cells_show_reason_and_remedy(english: str) -> None:
    rows = rows_by_key(parse(english), english)
    row, _ = rows["detection--int8-static--onnxruntime--host-cpu--single-stream--b1-t2-i1"]
    assert row.attributes["class"] == "r-failed"
    assert "signal 11" in row.text()
    assert "LEPTONBENCH_DEBUG=1" in row.text()
    assert "Segmentation fault" in details(english).text()


def test_best_is_marked_only_where_clear_and_accurate(english: str) -> None:
    rows = rows_by_key(parse(english), english)
    best = {
        (key, tag)
        for key, (row, tags) in rows.items()
        for tag, cell in zip(tags, row.find("td"), strict=False)
        if cell.attributes.get("class") == "best" and "single-stream" in key
    }
    key = "inspection--prune50+int8-static--onnxruntime--host-cpu--single-stream--b1-t2-i1"
    assert (key, "latency_p50") in best
    assert not [item for item in best if "distill" in item[0] or "openvino" in item[0]]
    assert not [item for item in best if item[1] in ("quality", "energy_per_inference", "theoretical_speedup")]


def test_the_embedded_records_are_the_records(page: str) -> None:
    manifest, records = make_run()
    document = embedded(page)
    assert RunManifest.model_validate(document["manifest"]) == manifest
    assert [CellRecord.model_validate(item) for item in document["records"]] == records


def test_small_records_are_embedded_readable_and_cannot_break_out() -> None:
    record = ok_record("fp32", "torch", Scenario.SINGLE_STREAM, 0.03)
    evil = record.model_copy(update={"warnings": (Notice(code="x", message="</script><script>alert(1)</script>"),)})
    html = render_report(make_manifest([evil]), [evil])
    assert '<script type="application/json" id="records">{"manifest"' in html
    assert [CellRecord.model_validate(item) for item in embedded(html)["records"]] == [evil]
    assert "<script>alert" not in html


def test_the_page_asks_for_nothing(page: str) -> None:
    for node in parse(page).walk():
        for name, value in node.attributes.items():
            assert not name.startswith("on"), f"inline handler {name}"
            assert name != "style", "an inline style would be blocked by the policy"
            if name in ("src", "href", "srcset", "action", "poster", "data"):
                assert (value or "").startswith("#"), (name, value)
    assert not re.findall(r"url\((?!#)", page)
    assert "@import" not in page


def test_the_policy_allows_exactly_the_inlined_style_and_script(page: str) -> None:
    (policy,) = [m for m in parse(page).find("meta") if m.attributes.get("http-equiv") == "Content-Security-Policy"]
    content = policy.attributes["content"] or ""
    assert content.startswith("default-src 'none';")
    assert "unsafe" not in content
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in content


def test_ids_are_unique_and_every_fragment_exists(page: str) -> None:
    root = parse(page)
    ids = [node.attributes["id"] for node in root.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for node in root.walk():
        for name in ("href", "aria-labelledby"):
            for part in (node.attributes.get(name) or "").split():
                assert part.removeprefix("#") in ids, (node.tag, name, part)


def test_tables_are_labelled_for_assistive_technology(page: str) -> None:
    root = parse(page)
    assert len(root.find("main")) == 1
    assert len(root.find("h1")) == 1
    for table in root.find("table"):
        assert table.find("caption"), table.text()[:80]
    for heading in root.find("th"):
        assert heading.attributes.get("scope") in ("row", "col")
    for chart in root.find("svg", class_="chart"):
        assert chart.find("title")
        assert chart.find("desc")


def test_text_from_records_is_escaped_everywhere() -> None:
    evil = "<script>alert(1)</script>"
    attack = 'x" onmouseover="alert(1)'
    records = [
        ok_record("fp32", "torch", Scenario.SINGLE_STREAM, 0.03),
        ok_record("int8-static", "onnxruntime", Scenario.SINGLE_STREAM, 0.01, speedup=2.0),
        absent_record(
            "fp32",
            "openvino",
            Scenario.SINGLE_STREAM,
            Status.FAILED,
            Reason(code=evil, message=evil, hint=attack, stderr=(evil,)),
        ),
    ]
    renamed = [
        record.model_copy(
            update={
                "cell": record.cell.model_copy(update={"variant": evil + record.cell.variant, "backend": attack}),
                "warnings": (Notice(code=evil, message=evil, hint=attack),),
            }
        )
        for record in records
    ]
    for lang in LANGUAGES:
        html = render_report(make_manifest(renamed), renamed, lang=lang)
        scripts = [node for node in parse(html).find("script") if "id" not in node.attributes]
        assert len(scripts) == 1
        assert not [node for node in parse(html).walk() for name in node.attributes if name.startswith("on")]
        assert "&lt;script&gt;" in html


def test_the_other_language_travels_with_the_page() -> None:
    english, chinese = (render_report(*make_run(), lang=lang) for lang in LANGUAGES)
    body = english.split('<div id="page">\n')[1].split("\n</div>\n<script")[0]
    assert block(chinese, "other") == body
    assert '<html lang="en"' in english
    assert '<html lang="zh-Hans"' in chinese
    assert "怎么选" in (block(english, "other") or "")


def test_two_hundred_cells_fit_half_a_megabyte_and_lose_nothing() -> None:
    records = many(200)
    html = render_report(make_manifest(records), records)
    assert len(html.encode()) <= 500_000
    check_details(html, records)
    assert len(embedded(html)["records"]) == 200
    assert 'data-do="language"' not in html


def test_a_suite_of_three_workloads_stays_small_and_bilingual() -> None:
    html = render_report(*make_suite_run())
    assert len(html.encode()) <= 1_000_000
    other = block(html, "other") or ""
    assert "哪种压缩划算" in other
    assert "data-packed" in other
    assert 'data-do="language"' in html


def test_details_are_readable_without_scripts_up_to_the_limit() -> None:
    records = many(PACK_ABOVE_CELLS)
    assert "data-packed" not in render_report(make_manifest(records), records)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_an_empty_run_still_makes_a_page(lang: str) -> None:
    cell = absent_record("fp32", "torch", Scenario.SINGLE_STREAM, Status.SKIPPED, Reason(code="x", message="why"))
    for records in ([], [cell], [cell.model_copy(update={"reason": None})]):
        root = parse(render_report(make_manifest(list(records)), list(records), lang=lang))
        assert len(root.find("h2")) == (5 if not records else 6)


def test_the_trust_strip_counts_numbers_by_origin(english: str) -> None:
    records = make_records()
    (counts,) = parse(english).find("dd", class_="counts")
    shown = [int(node.text()) for node in counts.find("b")]
    values = [quantity for record in records for quantity in record.metrics.values()]
    expected = [sum(q.value is not None and q.provenance is kind for q in values) for kind in Provenance]
    assert shown == [*expected, sum(q.value is None for q in values)]


def test_the_red_band_is_there_only_with_cause() -> None:
    manifest, records = make_run()
    assert 'class="band"' in render_report(manifest, records)
    calm = manifest.model_copy(update={"git_dirty": False, "notices": ()})
    fine = [record for record in records if record.status is Status.OK]
    assert 'class="band"' not in render_report(calm, fine)
    assert "UNVERIFIED" in render_report(manifest, fine)


def test_an_unknown_language_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no report in language `de`"):
        render_report(*make_run(), lang="de")


def test_the_file_is_written_whole_and_parents_are_made(tmp_path: Path) -> None:
    manifest, records = make_run()
    out = tmp_path / "deep" / "report.html"
    assert write_report(manifest, records, out=out) == out
    assert out.read_text(encoding="utf-8") == render_report(manifest, records)
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_an_unwritable_place_is_a_storage_error_that_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError) as raised:
        write_report(*make_run(), out=tmp_path / "file" / "report.html")
    assert raised.value.cause
    assert "--out" in raised.value.hint


def test_a_failed_write_keeps_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "report.html"
    out.write_text("the old one")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(StorageError, match="cannot write"):
        write_report(*make_run(), out=out)
    assert out.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [out]


@pytest.fixture(scope="module")
def suite() -> Node:
    return parse(render_report(*make_suite_run()))


def test_every_workload_has_its_part_and_the_bar_leads_there(suite: Node) -> None:
    parts = suite.find("section", class_="workload")
    assert [part.find("h2")[0].text() for part in parts] == [
        "Surface inspection",
        "Part detection",
        "Shop-floor speech",
    ]
    links = [link.attributes["href"] for link in suite.find("a", class_="to-workload")]
    assert links == [f"#{part.attributes['id']}" for part in parts]
    for part in parts:
        assert len(part.find("table", class_="variants")) == 1
        assert len(part.find("table", class_="compare")) == 2
        assert part.find("svg", class_="chart")


def test_every_variant_is_in_every_workloads_table_measured_or_with_its_reason(suite: Node) -> None:
    for table in suite.find("table", class_="variants"):
        rows = [row for row in table.find("tr") if row.find("th", scope="row")]
        assert [row.find("b")[0].text() for row in rows] == list(SPECS)
        for body in table.find("tbody"):
            assert body.find("data") or "Not measured on" in body.text() or "Failed on" in body.text()


def test_every_number_of_the_compression_table_is_a_records(suite: Node) -> None:
    values = {
        quantity.value
        for record in suite_records()
        for quantity in record.metrics.values()
        if quantity.value is not None
    }
    shown = [number for table in suite.find("table", class_="variants") for number in table.numbers()]
    assert len(shown) > 300
    assert set(shown) <= values


def test_skipped_cells_are_folded_by_reason_and_none_is_lost(suite: Node) -> None:
    skipped = [record for record in suite_records() if record.status is Status.SKIPPED]
    folds = [fold for fold in suite.find("details", class_="missing") if "open" not in fold.attributes]
    assert sum(int(re.findall(r"(\d+) cells?:", fold.text())[0]) for fold in folds) == len(skipped)
    assert len(folds) < len(skipped) / 10
    text = " ".join(fold.text() for fold in folds)
    assert all(record.reason is not None and record.reason.message in text for record in skipped)


def test_what_is_below_the_floor_is_marked_on_no_front_and_never_best(suite: Node) -> None:
    keys = {f"{r.cell.variant} · {r.cell.backend}" for r in suite_records() if r.meets_quality is False}
    pale = suite.find("a", class_="b")
    assert pale
    for point in pale:
        assert "s" not in (point.attributes["class"] or "").split()
        assert "below the quality floor" in point.find("title")[0].text()
        assert point.find("title")[0].text().split(":")[0] in keys
    for row in suite.find("tr", class_="r-ok"):
        if row.find("span", class_="f-below") or row.find("span", class_="f-below_unsure"):
            assert not row.find("td", class_="best")
    for body in suite.find("tbody", class_="v-inaccurate"):
        assert not body.find("td", class_="gain")


def test_a_cause_is_told_where_a_check_found_one_and_its_lack_where_none_did(suite: Node) -> None:
    (table,) = suite.find("section", id="w1")[0].find("table", class_="variants")
    why = {body.find("b")[0].text(): body.find("tr", class_="why") for body in table.find("tbody")}
    assert "finding ranges and converting at run time" in why["int8-dynamic"][0].text()
    assert "1.81\u00a0G" in why["prune80-unstructured"][0].text()
    assert "no check of this run established a cause" in why["sparse-2:4"][0].text()
    assert not why["fp32"]


def test_a_distilled_student_is_set_against_one_without_a_teacher(suite: Node) -> None:
    (table,) = suite.find("section", id="w1")[0].find("table", class_="variants")
    (student,) = [body for body in table.find("tbody") if body.find("b")[0].text() == "distill-half"]
    text = student.text().replace("\u00a0", " ")
    assert "The same student trained without its teacher reached 91.4 %: the teacher brought +1.50 pp." in text


def test_each_step_of_a_composition_has_a_row(suite: Node) -> None:
    (table,) = suite.find("section", id="w1")[0].find("table", class_="steps")
    steps = [row.find("td")[0].text() for row in table.find("tbody")[0].find("tr")]
    assert steps[:2] == ["fp32 → prune50-channel", "prune50-channel → prune50-channel+int8-static"]


def test_ids_stay_unique_with_several_workloads(suite: Node) -> None:
    ids = [node.attributes["id"] for node in suite.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))


def test_the_latency_target_of_a_chart_is_its_workloads_own() -> None:
    records = [record for record in suite_records() if record.cell.workload == "detection"]
    manifest = suite_manifest(records)
    near = {"detection": 0.05, "inspection": 0.01, "speech": 0.01}
    suite = manifest.suite.model_copy(update={"latency_targets_s": near})
    shown = render_report(manifest.model_copy(update={"suite": suite}), records)
    assert 'class="limit' in shown
    assert ">target<" in shown
    assert ">target<" not in render_report(manifest, records)
