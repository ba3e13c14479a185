"""What the harness reads of its own process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from leptonbench.harness import system
from leptonbench.harness.system import processing_identity

_ASK = "from leptonbench.harness.system import peak_memory_bytes as peak; print(peak())"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hand the peak down")
def test_the_peak_of_a_parent_is_not_its_childs():
    ballast = bytearray(300_000_000)
    assert len(ballast) > 0
    shown = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True)
    assert 1_000_000 < int(shown.stdout) < 200_000_000


SETTINGS = (
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "config.json",
    "generation_config.json",
)


@pytest.mark.parametrize("name", SETTINGS)
def test_answers_are_told_apart_by_every_settings_file_of_their_model(tmp_path: Path, name: str) -> None:
    bare = processing_identity(str(tmp_path))
    (tmp_path / name).write_text("{}", encoding="utf-8")
    before = processing_identity(str(tmp_path))
    (tmp_path / name).write_text('{"other": 1}', encoding="utf-8")
    after = processing_identity(str(tmp_path))
    assert len({str(found) for found in (bare, before, after)}) == 3
    (tmp_path / name).write_text("{}", encoding="utf-8")
    assert processing_identity(str(tmp_path)) == before


def test_answers_are_told_apart_by_what_decodes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = processing_identity(str(tmp_path))
    monkeypatch.setattr(system, "package_version", lambda name: "0.0.1" if name == "tokenizers" else before.get(name))
    assert processing_identity(str(tmp_path)) != before


def test_weights_are_no_settings(tmp_path: Path) -> None:
    """They are in the artifact's own hash, and reading gigabytes again would take its time."""
    before = processing_identity(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert processing_identity(str(tmp_path)) == before == processing_identity(None)
