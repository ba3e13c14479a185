from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from leptonbench import catalog
from leptonbench.errors import UsageError
from leptonbench.schema import SuiteSpec, VariantSpec

SUITE = """\
name: small
title: {en: Small, zh: 小}
description: {en: A suite, zh: 套件}
workloads: [inspection]
variants: [fp32]
backends: [torch]
scenarios:
  - kind: single-stream
    percentile: 0.9
latency_target_s: 0.1
demand:
  description: {en: Some, zh: 一些}
  rate_per_s: 12
  hours_per_day: 16
  days_per_week: 5
region: eu-central
"""


def _suite_error(tmp_path: Path, text: str) -> UsageError:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        catalog.load_suite(str(path))
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 2
    return caught.value


def test_everything_that_ships_loads() -> None:
    for name in catalog.suite_names():
        suite = catalog.load_suite(name)
        assert suite.name == name
    for name in catalog.workload_names():
        assert catalog.load_workload(name)[1].name == name
    for name in catalog.variant_names():
        assert catalog.load_variant(name).name == name
    for kind in catalog.DEVICE_KINDS:
        catalog.load_profiles(kind)


def test_every_shipped_text_is_in_both_languages() -> None:
    suites = [catalog.load_suite(name) for name in catalog.suite_names()]
    workloads = [catalog.load_workload(name)[0] for name in catalog.workload_names()]
    variants = [catalog.load_variant(name) for name in catalog.variant_names()]
    for item in [*suites, *workloads, *variants]:
        assert set(item.title) == {"en", "zh"}


def test_fp32_is_the_model_as_it_is() -> None:
    assert catalog.load_variant("fp32").steps == ()


def test_a_suite_is_loaded_from_a_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE, encoding="utf-8")
    assert catalog.load_suite(str(path)).name == "small"


@pytest.mark.parametrize(
    ("load", "name", "message", "hint"),
    [
        (catalog.load_suite, "manufacturng", "unknown suite `manufacturng`", "did you mean `manufacturing`?"),
        (catalog.load_variant, "int8static", "unknown variant `int8static`", "did you mean `int8-static`?"),
        (catalog.load_workload, "inspecton", "unknown workload `inspecton`", "did you mean `inspection`?"),
        (catalog.load_profiles, "cpus", "unknown device kind `cpus`", "did you mean `cpu`?"),
        (catalog.load_suite, "./none.yaml", "there is no suite file `none.yaml`", "suites by name: autonomous-driving"),
    ],
)
def test_a_wrong_name_is_explained(load: object, name: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(name)  # type: ignore[operator]
    assert caught.value.message == message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "cause", "hint"),
    [
        (
            "    percentile",
            "    percentle",
            "line 9, `scenarios[0].percentle`: unknown key",
            "did you mean `percentile`?",
        ),
        ("  rate_per_s", "  rate_per_h", "line 11, `demand.rate_per_s`: this key is missing (and 1 more)", ""),
        ("region: eu-central\n", "", "line 1, `region`: this key is missing", "add it"),
        ("kind: single-stream", "kind: single", "line 8, `scenarios[0].kind`: input should be", ""),
        (
            "percentile: 0.9",
            "percentile: 90",
            "line 9, `scenarios[0].percentile`: input should be less than 1, not",
            "",
        ),
        ("backends: [torch]", "backends: []", "line 6, `backends`: tuple should have at least 1 item", ""),
        ("backends: [torch]", "backends: torch", "line 6, `backends`: input should be a valid tuple, not `torch`", ""),
        ("title: {en: Small", "title: {fr: Petit", "line 2, `title.fr`: ", ""),
        ("variants: [fp32]", "variants: [fp32, fp23]", "line 5, `variants[1]`: unknown variant `fp23`", "`fp32`?"),
        ("workloads: [inspection]", "workloads:\n- x", "line 5, `workloads[0]`: unknown workload `x`", "inspection"),
        (
            "region:",
            "exclude: [{backend: torhc, reason: no}]\nregion:",
            "line 16, `exclude[0].backend`: unknown",
            "`torch`",
        ),
        ("region:", "exclude: [{scenario: offline, reason: no}]\nregion:", "`exclude[0].scenario`: unknown", "single"),
    ],
)
def test_what_does_not_fit_is_named_by_line_and_key(tmp_path: Path, old: str, new: str, cause: str, hint: str) -> None:
    assert old in SUITE
    error = _suite_error(tmp_path, SUITE.replace(old, new, 1))
    assert cause in error.cause
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (SUITE + "region: us-east\n", "line 17, column 1: key `region` is already on line 16"),
        (SUITE.replace("rate_per_s: 12", "rate_per_s: 12\n  rate_per_s: 13"), "already on line 13"),
        ("name: [unclosed\n", "line 2"),
        ("name: !!python/object/apply:os.system ['true']\n", "line 1"),
        ("a: 1\n---\nb: 2\n", "line 2"),
        ("\tname: x\n", "line 1"),
        ("a: *nowhere\n", "line 1"),
    ],
)
def test_what_is_not_yaml_is_named_by_line(tmp_path: Path, text: str, cause: str) -> None:
    error = _suite_error(tmp_path, text)
    assert "is not valid YAML" in error.message
    assert cause in error.cause


@pytest.mark.parametrize("text", ["", "# only a comment\n", "- a\n- b\n", "just text\n"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert _suite_error(tmp_path, text).cause.startswith("line 1: ")


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    for content in (b"\xff\xfe\x00bad", b"name: a\x00b\n"):
        path = tmp_path / "binary.yaml"
        path.write_bytes(content)
        with pytest.raises(UsageError, match="is not text"):
            catalog.load_yaml(path, SuiteSpec)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        catalog.load_yaml(tmp_path, SuiteSpec)


def test_yaml_has_no_surprises(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(
        "name: v\nprecision: fp32\ntitle: {en: no, zh: 2026-11-01}\n"
        "steps: [{technique: t, options: {on: yes, flag: true, rate: 1e-3}}]\n",
        encoding="utf-8",
    )
    variant = catalog.load_yaml(path, VariantSpec)
    assert variant.title == {"en": "no", "zh": "2026-11-01"}
    assert variant.steps[0].options == {"on": "yes", "flag": True, "rate": 0.001}


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(
        "name: v\nprecision: int8\ntitle: {en: V}\n"
        "steps:\n  - &base {technique: t, options: {a: 1}}\n  - <<: *base\n    technique: u\n",
        encoding="utf-8",
    )
    steps = catalog.load_yaml(path, VariantSpec).steps
    assert [step.technique for step in steps] == ["t", "u"]
    assert steps[0].options == steps[1].options


def test_a_file_that_calls_itself_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "workloads" / "variants"
    folder.mkdir(parents=True)
    (folder / "fast.yaml").write_text("name: slow\ntitle: {en: S}\nprecision: fp32\n", encoding="utf-8")
    monkeypatch.setattr(catalog, "data_root", lambda: tmp_path)
    with pytest.raises(UsageError) as caught:
        catalog.load_variant("fast")
    assert caught.value.cause == "line 1, `name`: `slow` does not match where it is"
    assert caught.value.hint == "call it `fast`"


def test_two_profiles_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "hardware_profiles" / "cpu"
    folder.mkdir(parents=True)
    for stem in ("a", "b"):
        (folder / f"{stem}.yaml").write_text("name: same\nkind: cpu\ntitle: {en: S}\n", encoding="utf-8")
    monkeypatch.setattr(catalog, "data_root", lambda: tmp_path)
    with pytest.raises(UsageError, match="two hardware profiles are called `same`"):
        catalog.load_profiles("cpu")


def test_a_user_workload_is_loaded_from_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    shipped = catalog.load_workload("inspection")[1] / "workload.yaml"
    text = shipped.read_text(encoding="utf-8").replace("name: inspection", "name: mine", 1)
    (folder / "workload.yaml").write_text(text, encoding="utf-8")
    workload, where = catalog.load_workload(str(folder))
    assert (workload.name, where) == ("mine", folder)


def test_importing_the_catalog_does_not_import_yaml() -> None:
    code = "import leptonbench.catalog, sys; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
