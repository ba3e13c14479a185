from __future__ import annotations

import json
import re
from typing import Any

import pytest
from markupsafe import Markup

from leptonbench.errors import StorageError
from leptonbench.paths import data_root
from leptonbench.report import i18n, render_report
from leptonbench.report.history_page import render_history
from leptonbench.report.i18n import Translator, load_messages
from leptonbench.report.view import build_view
from leptonbench.schema import METRICS, Boundary, Cause, DemandSpec, Reason, Scenario, Status, SuiteSpec
from tests.history_factory import every_kind
from tests.report_factory import make_manifest, make_records, make_run, ok_record
from tests.report_page import Node, parse
from tests.suite_factory import suite_manifest, suite_records

PLACEHOLDER = re.compile(r"{(\w+)}")


def test_both_catalogues_have_the_same_keys_and_placeholders() -> None:
    english, chinese = load_messages("en"), load_messages("zh")
    assert {key for key in chinese if not key.startswith("formula.")} == set(english)
    for key, message in english.items():
        assert set(PLACEHOLDER.findall(message)) == set(PLACEHOLDER.findall(chinese[key])), key


def test_chinese_defines_every_metric_and_is_chinese() -> None:
    chinese = load_messages("zh")
    assert {key.removeprefix("formula.") for key in chinese if key.startswith("formula.")} == set(METRICS)
    same = {"list.", "prose.n", "bar.other_language", "footer.other"}
    for key, message in chinese.items():
        if not any(key.startswith(prefix) for prefix in same):
            words = PLACEHOLDER.sub("", message)
            assert re.search("[\u4e00-\u9fff]", words) or not re.search("[A-Za-z]", words), key


class _Recording(dict[str, str]):
    def __init__(self, messages: dict[str, str]) -> None:
        super().__init__(messages)
        self.used: set[str] = set()

    def __getitem__(self, key: str) -> str:
        self.used.add(key)
        return super().__getitem__(key)


def _variety() -> list[list[Any]]:
    """Return record sets that between them reach every message."""
    records = make_records()
    single, multi = Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM
    base = ok_record("fp32", "onnxruntime", single, 0.02)
    bare = base.metrics["latency_p50"].model_copy(update={"low": None, "high": None})
    slower = [base, ok_record("prune50", "onnxruntime", single, 0.03, speedup=0.7)]
    ties = [ok_record("fp32", name, single, 0.02) for name in ("a", "b", "c", "d", "e")]
    late = [record.model_copy(update={"meets_target": False}) for record in slower]
    lost = [
        record.model_copy(
            update={
                "meets_quality": False,
                "metrics": {tag: metric for tag, metric in record.metrics.items() if "cost" not in tag},
            }
        )
        for record in slower
    ]
    plain = [
        base.model_copy(update={"metrics": base.metrics | {"latency_p50": bare}}),
        ok_record("fp32", "torch", single, 0.03),
        ok_record("fp32", "torch", multi, 0.03),
    ]
    zero = [
        base.model_copy(
            update={
                "metrics": {
                    **base.metrics,
                    "energy_per_inference": base.metrics["energy_per_inference"].model_copy(
                        update={"value": 0.0, "low": 0.0, "high": 0.0}
                    ),
                }
            }
        ),
        ok_record("fp32", "torch", single, 0.03),
    ]
    twice = [
        record.model_copy(update={"cell": record.cell.model_copy(update={"batch": batch})})
        for record in records
        for batch in (1, 8)
    ]
    dear = [ok_record("fp32", "torch", single, 0.01), ok_record("fp32", "onnxruntime", single, 0.02)]
    boundaries = [
        base.model_copy(
            update={
                "metrics": {
                    name: base.metrics["energy_per_inference"].model_copy(update={"boundary": Boundary(name)})
                    for name in ("device", "package", "board", "wall")
                }
            }
        )
    ]
    differs = base.model_copy(
        update={"settings": base.settings.model_copy(update={"requested": {"threads": 4}, "effective": {"threads": 2}})}
    )
    no_reason = [record.model_copy(update={"reason": None}) for record in records if record.status is Status.SKIPPED]
    free = [
        record.model_copy(update={"metrics": {k: v for k, v in record.metrics.items() if k != "cost_per_million"}})
        for record in dear
    ]
    on_one_engine = [
        base,
        ok_record("fp32", "torch", single, 0.06),
        ok_record("prune50", "torch", single, 0.03, speedup=2),
    ]
    return [
        records,
        slower,
        on_one_engine,
        ties,
        late,
        lost,
        plain,
        zero,
        twice,
        dear,
        boundaries,
        [differs],
        no_reason,
        free,
        many(),
    ]


def _causes() -> tuple[Cause, ...]:
    """Return every cause that the catalogue words, with a value for every placeholder."""
    texts = {key: message for key, message in load_messages("en").items() if key.startswith("cause.")}
    codes = dict.fromkeys(key.split(".")[1] for key in texts)
    return tuple(
        Cause(
            code=code,
            values={
                name: "1"
                for key, message in texts.items()
                if key.split(".")[1] == code
                for name in PLACEHOLDER.findall(message)
            },
        )
        for code in codes
    )


_SENSITIVITIES: dict[str, dict[str, Any]] = {
    "inspection": {"loss_all_quantised": 0.02, "excluded": []},
    "detection": {"judged_by": "answers", "samples": 48, "loss_all_quantised": 0.001, "excluded": []},
    "speech": {"loss_all_quantised": 0.2, "loss_after_exclusion": [0.05], "excluded": ["first"]},
}


def _compressed() -> list[Any]:
    """Return a suite's records changed so that between them every finding and verdict of compression comes up."""
    changed = []
    for record in suite_records():
        place = (record.cell.workload, record.cell.variant, record.cell.backend, record.cell.scenario)
        if place == ("inspection", "int8-dynamic", "onnxruntime", Scenario.SINGLE_STREAM):
            record = record.model_copy(update={"causes": _causes()})
        if place == ("inspection", "fp16", "onnxruntime", Scenario.SINGLE_STREAM):
            record = record.model_copy(update={"causes": ()})
        if place == ("inspection", "sparse-2:4", "onnxruntime", Scenario.SINGLE_STREAM):
            kept = {tag: quantity for tag, quantity in record.metrics.items() if tag != "stored_size"}
            record = _with_facts(record.model_copy(update={"metrics": kept}), {"left_dense": list("abcdefgh")})
        if place == ("inspection", "int8-static", "openvino", Scenario.SINGLE_STREAM):
            record = record.model_copy(update={"meets_quality": False})
        if place == ("inspection", "int8-static", "openvino", Scenario.SERVER):
            reason = Reason(code="answers-differ", message="answers differ")
            record = record.model_copy(update={"status": Status.INVALID, "reason": reason})
        if place[1:] == ("int8-static", "onnxruntime", Scenario.SINGLE_STREAM):
            record = _with_facts(record, {"sensitivity": _SENSITIVITIES[place[0]]})
        if place[:2] == ("speech", "prune50-channel") and record.metrics:
            continue
        changed.append(record)
    return changed


def _with_facts(record: Any, facts: dict[str, Any]) -> Any:
    technique = record.artifact.recipe[0].technique
    artifact = record.artifact.model_copy(update={"facts": {"steps": {technique: facts}}})
    return record.model_copy(update={"artifact": artifact})


def many() -> list[Any]:
    record = ok_record("fp32", "torch", Scenario.SINGLE_STREAM, 0.03)
    return [
        record.model_copy(update={"cell": record.cell.model_copy(update={"batch": batch})}) for batch in range(1, 70)
    ]


def _by_the_hour(suite: SuiteSpec) -> SuiteSpec:
    """Give a suite a demand by the hour, on working and on other days."""
    stated = suite.demand.model_dump(exclude={"hours_per_day"})
    curve = {"working_day": (0.25,) * 12 + (1.0,) * 12, "other_day": (0.125,) * 24}
    return suite.model_copy(update={"demand": DemandSpec.model_validate(stated | curve)})


def test_a_demand_by_the_hour_is_shown() -> None:
    manifest = make_manifest(make_records())
    plain = render_report(manifest, make_records())
    shown = render_report(manifest.model_copy(update={"suite": _by_the_hour(manifest.suite)}), make_records())
    curve = "25 25 25 25 25 25 25 25 25 25 25 25 100 100"
    assert curve in shown and curve not in plain
    assert "The mean over the week is 55 %" in shown  # (6 x 15 + 1 x 3) of 168 hours


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_message_is_used(lang: str, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogues = {name: _Recording(load_messages(name)) for name in ("en", "zh")}
    monkeypatch.setattr(i18n, "load_messages", catalogues.__getitem__)
    for index, records in enumerate(_variety()):
        manifest = make_manifest(records)
        updates: dict[str, Any] = {}
        if index == 1:
            updates = {"git_dirty": False, "workloads": ()}
        if index == 3:
            updates = {"git_commit": None}
        if index == 4:
            updates = {"suite": _by_the_hour(manifest.suite)}
        render_report(manifest.model_copy(update=updates), records, lang=lang)
    compressed = _compressed()
    render_report(suite_manifest(compressed), compressed, lang=lang)
    render_history(every_kind(), lang=lang)
    assert set(catalogues[lang]) - catalogues[lang].used == set()


def _texts(node: Node) -> tuple[str, list[str]]:
    """Return all text below a node, and the attributes that readers meet."""
    text, attributes = "", [value for name in ("title", "aria-label") if (value := node.attributes.get(name))]
    for child in node.children:
        if isinstance(child, str):
            text += child
        elif child.tag not in ("style", "script"):
            below, more = _texts(child)
            text += below + "\n"
            attributes += more
    return text, attributes


def _outside(text: str) -> str:
    """Return what is not within the brackets of any message."""
    depth, kept = 0, ""
    for letter in text:
        depth += {"⟦": 1, "⟧": -1}.get(letter, 0)
        kept += letter if depth == 0 else " "
    assert depth == 0
    return kept


def test_no_text_bypasses_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mark every message with brackets: what is left outside them comes from the records, or is a number or unit."""
    marked = {key: f"⟦{message}⟧" for key, message in load_messages("en").items()}
    monkeypatch.setattr(i18n, "load_messages", lambda _: marked)
    manifest, records = make_run()
    known = json.dumps([manifest.model_dump(mode="json"), [record.model_dump(mode="json") for record in records]])
    known += " ".join(f"{spec.title_en} {spec.formula}" for spec in METRICS.values())
    known += " leptonbench run b1 t2 i1 UTC sha256 True M S P A n s ms µs k MB GB kB G mJ J GHz pp"
    words = set(re.findall(r"[A-Za-z]+", known))
    text, attributes = _texts(parse(render_report(manifest, records)).find("body")[0])
    for piece in (text, *attributes):
        outside = _outside(piece)
        assert set(re.findall(r"[A-Za-z]+", outside)) <= words, set(re.findall(r"[A-Za-z]+", outside)) - words


def _sentences(lang: str) -> str:
    manifest, records = make_run()
    lines = []
    for part in build_view(manifest, records, Translator(lang)).parts:
        summary = part.summary
        lines.append(f"# {summary.title} | {summary.criteria.striptags()}")
        for line in summary.lines:
            lines.append(f"{line.question}: " + " ".join(sentence.striptags() for sentence in line.sentences))
    return "\n".join(lines).replace("\u00a0", " ")


def test_the_summary_reads_in_english() -> None:
    text = _sentences("en")
    assert (
        "Fastest that is still accurate: prune50+int8-static · onnxruntime: Latency p50 4.31 ms (4.26–4.36, n = 5, "
        "measured), single-stream. Its top-1 is 97.6 %. Next is int8-static · openvino, which takes 1.62× "
        "(1.59 to 1.66) as long." in text
    )
    assert "Not distinguishable from int8-static · openvino: the intervals overlap." in text
    assert (
        "Accurate enough and faster than the fastest fp32 (fp32 · openvino): prune50+int8-static on onnxruntime, 3.92× "
        "(3.92 to 3.92) as fast" in text
    )
    assert "Below the quality floor, shown and never ranked: distill-half." in text
    assert "not known to be accurate enough: 0; above the latency target: 1" in text


def test_the_summary_reads_in_chinese() -> None:
    text = _sentences("zh")
    assert (
        "精度达标且最快: prune50+int8-static · onnxruntime：延迟 p50 4.31 ms（4.26–4.36，n = 5，实测），单流场景。 "
        "其 top-1 为 97.6 %。 其次是 int8-static · openvino，耗时为其 1.62 倍（1.59 至 1.66）。" in text
    )
    assert "低于精度下限，照列但绝不参与排名：distill-half。" in text


def test_values_put_into_messages_are_escaped() -> None:
    translate = Translator("en", {"a": "{x} & {y}"})
    assert translate("a", x="<b>", y=Markup("<i>")) == "&lt;b&gt; & <i>"


def test_an_unreadable_catalogue_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    load_messages.cache_clear()
    monkeypatch.setattr(i18n, "data_root", lambda: data_root() / "nowhere")
    with pytest.raises(StorageError, match="cannot read the messages"):
        load_messages("en")
    load_messages.cache_clear()
