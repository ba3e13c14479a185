"""A git ref of the current repository as a folder of its own, with an environment of its own where it asks for one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from leptonbench.errors import PrerequisiteError, UsageError
from leptonbench.gate.config import Environment

_GIT_TIMEOUT_S = 120.0
_INSTALL_TIMEOUT_S = 1800.0
_READY = ".ready"


class Repository(NamedTuple):
    """A git repository's working tree."""

    root: Path

    def commit(self, ref: str) -> str | None:
        """Return the commit that a ref means; `None` if it means none."""
        # Not `--verify REF` alone: a ref that starts with a dash would be read as an option.
        found = _git(self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        return found.stdout.strip() if found.returncode == 0 else None

    def changed(self) -> tuple[str, ...]:
        """Return the tracked files that differ from HEAD."""
        status = _git(self.root, "status", "--porcelain", "--untracked-files=no")
        return tuple(line[3:] for line in status.stdout.splitlines())

    def check_out(self, commit: str, folder: Path) -> None:
        """Put a commit's files into a new folder.

        Raises:
            UsageError: If git cannot; in its own words.
        """
        added = _git(self.root, "worktree", "add", "--detach", "--quiet", str(folder), commit)
        if added.returncode:
            raise UsageError(
                f"commit {commit[:12]} cannot be checked out",
                cause=_last_line(added.stderr),
                hint="`git worktree prune` forgets worktrees that are gone; a shallow clone: `git fetch --unshallow`",
            )

    def remove(self, folder: Path) -> None:
        """Remove a folder that `check_out` made; git forgets it even if files were left in it."""
        _git(self.root, "worktree", "remove", "--force", str(folder))
        shutil.rmtree(folder, ignore_errors=True)
        _git(self.root, "worktree", "prune")


def repository(folder: Path) -> Repository | None:
    """Return the repository that a folder is in; `None` outside of one, or without git."""
    try:
        found = _git(folder, "rev-parse", "--show-toplevel")
    except FileNotFoundError:
        return None
    return Repository(Path(found.stdout.strip())) if found.returncode == 0 else None


def make_environment(tree: Path, wanted: Environment, *, cache: Path, scratch: Path, say: Callable[[str], None]) -> str:
    """Return the Python of an environment with everything that a tree asks for; made once for the same requirements.

    Args:
        tree: Where `pip install` runs.
        wanted: Its arguments.
        cache: Folder of environments that hold nothing of the tree itself.
        scratch: Folder for one that does: it goes with the tree.
        say: Told what is being done.

    Raises:
        UsageError: If pip fails, or no leptonbench comes out: a side that does not build cannot be compared.
    """
    if not wanted.install:
        return sys.executable
    folder = scratch if _holds_tree(tree, wanted) else cache / _identity(tree, wanted)
    python = folder / "bin" / "python"
    if (folder / _READY).exists():
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    say("install " + " ".join(wanted.install))
    _must([sys.executable, "-m", "venv", "--without-pip", str(folder)], tree, doing="make an environment")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check"]
    _must([*pip, "install", *wanted.install], tree, doing="install its requirements")
    path = {"PYTHONPATH": search_path(tree, wanted)} if wanted.pythonpath else None
    _must([str(python), "-c", "import leptonbench.gate.side"], tree, doing="import its leptonbench", environment=path)
    (folder / _READY).touch()
    return str(python)


def search_path(tree: Path, wanted: Environment) -> str:
    """Return `PYTHONPATH` with the folders of a tree before what is on it already."""
    own = [str(tree / name) for name in wanted.pythonpath]
    return os.pathsep.join([*own, *filter(None, [os.environ.get("PYTHONPATH")])])


def _holds_tree(tree: Path, wanted: Environment) -> bool:
    """Return whether something of the tree itself is installed, by an argument or a line of a file that one names."""
    files = [tree / name for name in wanted.install if (tree / name).is_file()]
    lines = [line for file in files for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
    told = [*wanted.install, *(line.strip() for line in lines)]
    return any(one.startswith((".", "-e", "--editable")) or (tree / one).is_dir() for one in told if one)


def _identity(tree: Path, wanted: Environment) -> str:
    """Return what decides what an installation gives: the interpreter, the arguments, the files that they name."""
    named = [name for name in wanted.install if (tree / name).is_file()]
    files = {name: hashlib.sha256((tree / name).read_bytes()).hexdigest() for name in named}
    told = json.dumps([sys.version, wanted.install, files], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _must(command: list[str], tree: Path, *, doing: str, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=_INSTALL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PrerequisiteError(f"cannot {doing}", cause=str(error)) from error
    if done.returncode:
        raise UsageError(
            f"`{tree.name}` does not build: cannot {doing}",
            cause=_last_line(done.stderr),
            hint=f"try it in a checkout of its commit: {' '.join(command)}",
        )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1]


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False)
