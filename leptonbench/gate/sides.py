"""What the user calls a side (an ONNX file, a model folder, a configuration, a git ref) as something to measure."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from leptonbench.errors import UsageError
from leptonbench.gate.config import GateConfig, find_config, read_config
from leptonbench.gate.model import Kind, SideInfo, SideJob
from leptonbench.gate.trees import Repository, make_environment, repository, search_path
from leptonbench.paths import cache_dir


@dataclass(frozen=True, slots=True)
class Side:
    """One side, ready to be prepared.

    Attributes:
        label: `base` or `head`.
        given: As the user wrote it.
        config: What it measures, with absolute paths.
        python: The interpreter of its environment; `None` for the gate's own.
        environment: Variables of its processes.
        cwd: Their current folder; `None` for the gate's own.
        commit: Of a git ref.
    """

    label: str
    given: str
    kind: Kind
    config: GateConfig
    python: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    commit: str | None = None

    @property
    def info(self) -> SideInfo:
        """Return what the record says of it."""
        return SideInfo(given=self.given, kind=self.kind, commit=self.commit)

    def job(self, common: GateConfig) -> SideJob:
        """Return what it is to prepare; how it is measured is common to both sides."""
        return SideJob(
            suite=self.config.suite,
            workload=self.config.workload,
            variants=self.config.variants,
            backends=self.config.backends,
            scenarios=self.config.scenarios,
            model=self.config.model,
            data=self.config.data,
            threads=common.threads,
            window_s=common.window_s,
            quality_samples=common.quality_samples,
            seed=common.seed,
        )


class Resolver:
    """Finds both sides of a gate.

    Args:
        config: The project's, with the command line's changes.
        path: Where it was read; `None` for the defaults.
        changed: The fields that the command line set: they hold for both sides, whatever their own file says.
        say: Told what is being done.
    """

    def __init__(
        self, config: GateConfig, path: Path | None, *, changed: Mapping[str, object], say: Callable[[str], None]
    ) -> None:
        self._config = config
        self._path = path
        self._changed = dict(changed)
        self._say = say

    @contextlib.contextmanager
    def both(self, base: str, head: str | None) -> Iterator[tuple[Side, Side]]:
        """Give both sides; the worktrees of git refs are gone afterwards.

        Raises:
            UsageError: If a side is nothing that can be measured, or its tree does not build.
        """
        kinds = kind_of(base), kind_of(head) if head else None
        if head is None:
            if kinds[0] != "ref":
                raise UsageError(
                    "the gate wants a head", cause=f"`{base}` is no git ref", hint="say what to compare it with: --head"
                )
            head = "HEAD"
        # Two folders whose names have the same length: the layout of a process depends on the length of its paths.
        scratch = Path(tempfile.mkdtemp(prefix="leptonbench-gate-"))
        made: list[tuple[Repository, Path]] = []
        try:
            yield (
                self._side("base", base, kinds[0], scratch, made),
                self._side("head", head, kinds[1] or "ref", scratch, made),
            )
        finally:
            for owner, folder in made:
                owner.remove(folder)
            shutil.rmtree(scratch, ignore_errors=True)

    def _side(self, label: str, given: str, kind: Kind, scratch: Path, made: list[tuple[Repository, Path]]) -> Side:
        path = Path(given).expanduser()
        if kind in ("onnx", "folder"):
            config = self._config.model_copy(update={"model": str(path.resolve())})
            return Side(label, given, kind, config)
        if kind in ("config", "tree"):
            file = path if kind == "config" else find_config(path)
            config = self._own(read_config(file)) if file else self._config
            if kind == "config":
                return Side(label, given, kind, config)
            return self._in_tree(label, given, kind, config, path.resolve())
        owner, commit = self._commit(given)
        folder = scratch / label
        made.append((owner, folder))
        self._say(f"check out {label} {commit[:12]}")
        owner.check_out(commit, folder)
        side = self._in_tree(label, given, kind, self._of_commit(owner, folder), folder)
        return replace(side, commit=commit)

    def _in_tree(self, label: str, given: str, kind: Kind, config: GateConfig, tree: Path) -> Side:
        wanted = config.environment
        own = tree.parent / f"{label}-environment"
        cache = cache_dir() / "environments"
        python = make_environment(tree, wanted, cache=cache, scratch=own, say=self._say) if kind == "ref" else None
        environment = {"PYTHONPATH": search_path(tree, wanted)} if wanted.pythonpath else {}
        return Side(label, given, kind, config, python, environment, tree)

    def _own(self, config: GateConfig) -> GateConfig:
        """Return a side's own configuration under what the command line says."""
        return config.model_copy(update=self._changed)

    def _of_commit(self, owner: Repository, folder: Path) -> GateConfig:
        """Return a commit's own configuration; one that has none yet is measured by the present one."""
        root = owner.root.resolve()
        if self._path is None:
            return self._config
        inside = self._path.resolve()
        if inside.is_relative_to(root) and (folder / inside.relative_to(root)).is_file():
            return self._own(read_config(folder / inside.relative_to(root)))
        moved = {name: _moved(getattr(self._config, name), root, folder) for name in ("model", "data")}
        return self._config.model_copy(update=moved)

    def _commit(self, ref: str) -> tuple[Repository, str]:
        owner = repository(Path.cwd())
        commit = owner.commit(ref) if owner else None
        if owner is None or commit is None:
            raise _nothing(ref)
        if commit == owner.commit("HEAD") and ref in ("HEAD", "@") and (changed := owner.changed()):
            raise UsageError(
                f"the working tree differs from `{ref}`",
                cause=f"{len(changed)} changed: {', '.join(changed[:3])}{', ...' if len(changed) > 3 else ''}",
                hint="commit or stash the changes; `--head .` measures the folder as it is",
            )
        return owner, commit


def kind_of(given: str) -> Kind:
    """Return what a side is.

    Raises:
        UsageError: If it is nothing that can be measured.
    """
    path = Path(given).expanduser()
    if given.endswith(".onnx"):
        if not path.is_file():
            raise UsageError(f"there is no file `{given}`", hint="check the path")
        return "onnx"
    if path.is_file() and path.suffix == ".toml":
        return "config"
    if path.is_dir() and (path / "config.json").is_file():
        return "folder"
    if path.is_dir() and (given in (".", "./") or find_config(path)):
        return "tree"
    owner = repository(Path.cwd())
    if owner is not None and owner.commit(given) is not None:
        return "ref"
    raise _nothing(given)


def own_config(given: str | None) -> Path | None:
    """Return the configuration that a side is or holds: the head's says how to gate where the project has none."""
    if given is None:
        return None
    path = Path(given).expanduser()
    if path.is_dir():
        return find_config(path)
    return path if path.is_file() and path.suffix == ".toml" else None


def _nothing(given: str) -> UsageError:
    return UsageError(
        f"`{given}` is no side of a gate",
        cause="it is no ONNX file, model folder, leptonbench.toml or git ref of this repository",
        hint="check the path; a shallow clone has no older commits (`git fetch --unshallow`)",
    )


def _moved(path: str | None, root: Path, folder: Path) -> str | None:
    """Return a path of the working tree in another checkout of it."""
    if path is None or not Path(path).is_relative_to(root):
        return path
    return str(folder / Path(path).relative_to(root))
