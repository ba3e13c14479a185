"""What the user calls a side, found; git refs checked out and cleaned up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from leptonbench.errors import UsageError
from leptonbench.gate import trees
from leptonbench.gate.config import Environment, GateConfig, find_config, read_config
from leptonbench.gate.side import prepare_side
from leptonbench.gate.sides import Resolver, Side, kind_of
from leptonbench.gate.trees import make_environment, repository
from tests.gate_factory import write


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository of two commits, the first without a configuration."""
    root = tmp_path / "project"
    root.mkdir()
    _git(root, "init", "-q", "-b", "main")
    write(root / "models" / "a.onnx", "old")
    _git(root, "add", ".")
    _git(root, "commit", "-q", "-m", "first")
    write(root / "models" / "a.onnx", "new")
    write(root / "leptonbench.toml", '[gate]\nmodel = "models/a.onnx"\n[gate.environment]\npythonpath = ["src"]\n')
    _git(root, "add", ".")
    _git(root, "commit", "-q", "-m", "second")
    monkeypatch.chdir(root)
    return root


def _both(base: str, head: str | None, **changed: object) -> tuple[Side, Side, list[str], list[Path]]:
    path = find_config(Path.cwd())
    config = read_config(path) if path else GateConfig()
    said: list[str] = []
    with Resolver(config, path, changed=changed, say=said.append).both(base, head) as (one, other):
        models = [Path(side.config.model).read_text(encoding="utf-8") for side in (one, other) if side.config.model]
        folders = [side.cwd for side in (one, other) if side.cwd]
    return one, other, [*said, *models], folders


def test_two_refs_have_trees_of_their_own_that_are_gone_afterwards(project: Path) -> None:
    base, head, said, folders = _both("HEAD~1", None)
    assert said[-2:] == ["old", "new"]
    assert base.commit == _git(project, "rev-parse", "HEAD~1") and head.commit == _git(project, "rev-parse", "HEAD")
    assert len(str(folders[0])) == len(str(folders[1])) and folders[0] != folders[1]
    assert not any(folder.exists() for folder in folders)
    assert _git(project, "worktree", "list").count("\n") == 0


def test_a_tree_goes_before_what_is_installed(project: Path) -> None:
    _, head, _, (_, folder) = _both("HEAD~1", "HEAD")
    assert head.environment["PYTHONPATH"].split(":")[0] == str(folder / "src")
    assert head.cwd == folder and head.python == sys.executable


def test_the_folder_as_it_is_can_be_the_head(project: Path) -> None:
    write(project / "models" / "a.onnx", "in progress")
    base, head, said, _ = _both("HEAD~1", ".")
    assert said[-2:] == ["old", "in progress"]
    assert head.kind == "tree" and base.kind == "ref" and project.exists()


def test_a_working_tree_that_differs_from_head_is_told(project: Path) -> None:
    write(project / "models" / "a.onnx", "in progress")
    with pytest.raises(UsageError, match="differs from `HEAD`") as caught:
        _both("HEAD~1", None)
    assert "models/a.onnx" in caught.value.cause and "--head ." in caught.value.hint
    assert _git(project, "worktree", "list").count("\n") == 0


def test_the_command_line_goes_before_both_configurations(project: Path) -> None:
    base, head, _, _ = _both("HEAD", "HEAD", variants=("fp16",))
    assert base.config.variants == head.config.variants == ("fp16",)


def test_files_and_folders_are_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.onnx", "")
    write(tmp_path / "model" / "config.json", "{}")
    write(tmp_path / "other.toml", "")
    write(tmp_path / "tree" / "leptonbench.toml", "")
    given = ("a.onnx", "model", "other.toml", "tree", ".")
    assert [kind_of(one) for one in given] == ["onnx", "folder", "config", "tree", "tree"]


def test_each_side_has_its_own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "one.toml", '[gate]\nvariants = ["fp32"]\nmodel = "one"\n')
    write(tmp_path / "two.toml", '[gate]\nvariants = ["int8-static"]\n')
    with Resolver(GateConfig(), None, changed={}, say=print).both("one.toml", "two.toml") as (base, head):
        assert (base.config.variants, head.config.variants) == (("fp32",), ("int8-static",))
        assert base.job(GateConfig(threads=2)).threads == 2


@pytest.mark.parametrize(
    ("given", "words"), [("no.onnx", "no file"), ("no-such-ref", "no side of a gate"), ("--help", "no side of a gate")]
)
def test_what_is_no_side_is_told(project: Path, given: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        _both(given, "HEAD")


def test_outside_of_a_repository_there_are_no_refs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert repository(tmp_path) is None
    with pytest.raises(UsageError, match="no side of a gate"):
        kind_of("main")


def test_a_file_wants_a_head(project: Path) -> None:
    with pytest.raises(UsageError, match="wants a head"):
        _both("models/a.onnx", None)


def test_what_holds_the_tree_itself_is_installed_for_it_alone(tmp_path: Path) -> None:
    """An environment with one commit's code must not serve the other."""
    write(tmp_path / "plain.txt", "numpy==2.0\n")
    write(tmp_path / "own.txt", "numpy==2.0\n-e .\n")
    (tmp_path / "package").mkdir()
    write(tmp_path / "built.whl", "").write_bytes(b"PK\xff\xfe")
    for install, own in (
        (("-r", "plain.txt"), False),
        (("built.whl",), False),
        (("-r", "own.txt"), True),
        (("package",), True),
        ((".[gate]",), True),
    ):
        assert trees._holds_tree(tmp_path, Environment(install=install)) is own, install
        assert len(trees._identity(tmp_path, Environment(install=install))) == 16


def test_a_simulated_backend_is_refused_before_anything_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.onnx", "")
    with Resolver(GateConfig(backends=("fpga",)), None, changed={}, say=print).both("a.onnx", "a.onnx") as (base, _):
        job = base.job(base.config)
    with pytest.raises(UsageError, match="does not measure the backend `fpga`") as caught:
        prepare_side(job, tmp_path)
    assert caught.value.cause and "fpga simulate" in caught.value.hint


def test_a_tree_that_does_not_build_is_told(tmp_path: Path) -> None:
    wanted = Environment(install=("--no-index", "no-such-package-of-anyone"))
    with pytest.raises(UsageError, match="does not build: cannot install") as caught:
        make_environment(tmp_path, wanted, cache=tmp_path / "cache", scratch=tmp_path / "own", say=print)
    assert "no-such-package-of-anyone" in caught.value.cause + caught.value.hint
