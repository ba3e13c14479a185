"""The project's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from leptonbench.errors import UsageError
from leptonbench.gate.config import find_config, read_config
from tests.gate_factory import write

FULL = """\
[gate]
workload = "inspection"
variants = ["int8-static"]
model = "models/mine.onnx"
data = "data"
window_s = 0.3

[gate.budgets]
latency_p50 = "50ms"

[gate.rules]
delta = 0.04
pairs = [10, 12]

[gate.environment]
install = ["-r", "requirements.txt"]
pythonpath = ["."]
"""


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    found = read_config(write(tmp_path / "leptonbench.toml", FULL))
    assert found.model == str((tmp_path / "models" / "mine.onnx").resolve())
    assert found.data == str((tmp_path / "data").resolve())
    assert found.accepted_changes == str(tmp_path.resolve() / "accepted_changes.toml")
    assert found.rules.pairs == (10, 12) and found.rules.promise == 0.05
    assert found.environment.pythonpath == (".",)


def test_a_hub_id_stays_one(tmp_path: Path) -> None:
    assert read_config(write(tmp_path / "leptonbench.toml", '[gate]\nmodel = "org/name"')).model == "org/name"


def test_pyproject_has_its_table(tmp_path: Path) -> None:
    path = write(tmp_path / "pyproject.toml", '[tool.other]\nx = 1\n[tool.leptonbench.gate]\nvariants = ["fp16"]\n')
    assert find_config(tmp_path) == path
    assert read_config(path).variants == ("fp16",)
    write(tmp_path / "leptonbench.toml", "[gate]\n")
    assert find_config(tmp_path) == tmp_path / "leptonbench.toml"


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert find_config(tmp_path) is None
    write(tmp_path / "pyproject.toml", "[project]\nname = 'x'\n")
    assert find_config(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "cause", "hint"),
    [
        ("[gate]\nvariant = ['x']", "unknown key `gate.variant`", "did you mean `variants`?"),
        ("[gate.rules]\ndelt = 0.1", "unknown key `gate.rules.delt`", "did you mean `delta`?"),
        ("[gaet]\n", "unknown key `gaet`", "did you mean `gate`?"),
        ("[gate]\nwindow_s = 0", "gate.window_s", "docs/gating.md"),
        ("[gate.rules]\npairs = [30, 20]", "`pairs` are two numbers", "docs/gating.md"),
        ("[gate", "", "correct the line"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, cause: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_config(write(tmp_path / "leptonbench.toml", text))
    assert cause in caught.value.cause
    assert hint in caught.value.hint
    assert "leptonbench.toml" in caught.value.message
