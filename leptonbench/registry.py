"""Names to things: lazy, open to plugins, and helpful about a wrong name.

A registry lists its own entries as `"module:attribute"` placeholders, so that naming an engine does not import it.
Installed packages add entries through an entry-point group (`leptonbench.backends`, `leptonbench.tasks`, ...).
"""

from __future__ import annotations

import difflib
import importlib
import threading
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar, cast

from leptonbench.errors import PrerequisiteError, UsageError

T = TypeVar("T")


def closest(name: str, names: Iterable[str]) -> str:
    """Return the one of `names` that looks most like `name`, or an empty string if none does."""
    folded = {candidate.casefold(): candidate for candidate in names}
    matches = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.55)
    return folded[matches[0]] if matches else ""


def unknown(kind: str, name: str, names: Iterable[str]) -> UsageError:
    """Build the error for a name that does not exist: the nearest one, and all there are.

    Args:
        kind: What was named, in the singular: `backend`, `suite`.
        name: What the user wrote.
        names: What there is.
    """
    known = sorted(names)
    guess = closest(name, known)
    parts = [f"did you mean `{guess}`?"] if guess else []
    parts.append(f"available: {', '.join(known)}" if known else f"there is no {kind} at all")
    return UsageError(f"unknown {kind} `{name}`", hint="; ".join(parts))


class _Entry(NamedTuple):
    """One name's target and who registered it, for the collision error."""

    target: str
    origin: str
    load: Callable[[], object]


class Registry(Generic[T]):
    """Map names to objects that are imported on first use.

    Args:
        kind: What is registered, in the singular; used in errors.
        builtin: leptonbench's own entries, name to `"module:attribute"`.
        group: Entry-point group through which installed packages add entries; `None` for a closed registry.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], *, group: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._pending: dict[str, _Entry] = {}
        self._entries: Mapping[str, _Entry] | None = None
        self._loaded: dict[str, T] = {}
        self._lock = threading.RLock()
        for name, target in builtin.items():
            self.register(name, target)

    def register(self, name: str, target: str, *, origin: str = "leptonbench") -> None:
        """Add `name` as a placeholder for `"module:attribute"`.

        Raises:
            UsageError: If the name is taken by something else; the error names both sides.
            RuntimeError: If the registry was already used: it is frozen from then on.
        """
        if self._entries is not None:
            raise RuntimeError(f"the registry of {self.kind}s is frozen; register `{name}` before its first use")
        if target.count(":") != 1:
            raise ValueError(f"`{target}` is not of the form module:attribute")
        self._add(name, _Entry(target, origin, lambda: _resolve(target)))

    def names(self) -> tuple[str, ...]:
        """Return every name, sorted; freezes the registry."""
        return tuple(sorted(self._frozen()))

    def get(self, name: str) -> T:
        """Import (once) and return what `name` stands for.

        Raises:
            UsageError: If there is no such name; says which one is near and which there are.
            PrerequisiteError: If it cannot be imported, because a package is missing or a plugin is broken.
        """
        entries = self._frozen()
        if name not in entries:
            raise unknown(self.kind, name, entries)
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = cast(T, self._load(name, entries[name]))
            return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._frozen()

    def _add(self, name: str, entry: _Entry) -> None:
        present = self._pending.get(name)
        if present is not None and present.target != entry.target:
            raise UsageError(
                f"two {self.kind}s are called `{name}`",
                cause=f"`{present.target}` from {present.origin} and `{entry.target}` from {entry.origin}",
                hint="uninstall one of them, or rename it",
            )
        self._pending[name] = entry

    def _frozen(self) -> Mapping[str, _Entry]:
        with self._lock:
            if self._entries is None:
                for point in entry_points(group=self.group) if self.group else ():
                    self._add(point.name, _Entry(point.value, _origin(point), point.load))
                self._entries = MappingProxyType(self._pending)
            return self._entries

    def _load(self, name: str, entry: _Entry) -> object:
        try:
            return entry.load()
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            missing = bool(package) and package != "leptonbench"
            raise PrerequisiteError(
                f"{self.kind} `{name}` cannot be loaded",
                cause=str(error),
                hint=f"install the package that provides `{package}`" if missing else f"reinstall {entry.origin}",
            ) from error
        except (ImportError, AttributeError) as error:
            raise PrerequisiteError(
                f"{self.kind} `{name}` cannot be loaded",
                cause=f"{entry.target} from {entry.origin}: {error}",
                hint=f"update or uninstall {entry.origin}",
            ) from error


def _resolve(target: str) -> object:
    module, _, attribute = target.partition(":")
    found: object = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an installed package"
