"""A run folder: written by one process, whole after any crash, readable for ever.

manifest.json                     what was asked, on what
cells/<key>.json                  one record a cell
rounds/<key>/<index>.json         one record a round; written after its samples, so a round that is here is whole
samples/<key>/<index>.parquet     its latencies
logs/<key>/<index>/               LoadGen's own logs
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from leptonbench.atomic import FolderLock, make_folder, remove_leftovers, write_atomically
from leptonbench.errors import StorageError, UsageError
from leptonbench.exports.rows import record_row
from leptonbench.paths import results_dir
from leptonbench.registry import closest
from leptonbench.schema import SCHEMA_VERSION, CellRecord, CellSpec, Frozen, RoundRecord, RunManifest
from leptonbench.store_format import F, from_parquet, parse, read_json, to_parquet

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

MANIFEST = "manifest.json"


def run_folders(root: Path) -> list[Path]:
    """Return the run folders directly under a folder, newest first."""
    found = []
    for path in root.glob(f"*/{MANIFEST}"):
        try:
            created = str(json.loads(path.read_text(encoding="utf-8"))["created"])
        except (OSError, ValueError, KeyError, TypeError):
            created = ""
        found.append((created, path.parent.name, path.parent))
    return [folder for *_, folder in sorted(found, reverse=True)]


def find_run(text: str, *, root: Path | None = None) -> Path:
    """Return the run folder that a user means: a path, a name under `results/`, or `latest`.

    Raises:
        UsageError: If there is none.
    """
    root = root or results_dir()
    if text == "latest":
        folders = run_folders(root)
        if not folders:
            raise UsageError(f"there is no run under `{root}`", hint="make one with `leptonbench run`, or give a path")
        return folders[0]
    for path in (Path(text).expanduser(), root / text):
        if path.name == MANIFEST and path.is_file():
            return path.parent
        if path.is_dir():
            return path
    names = [folder.name for folder in run_folders(root)]
    guess = closest(Path(text).name, names)
    hint = f"did you mean `{guess}`?" if guess else "see `leptonbench list runs`"
    raise UsageError(f"there is no run `{text}`", hint=hint)


class RunStore:
    """One run folder. Use `create` or `open`; a context manager that gives its lock back."""

    def __init__(self, path: Path, manifest: RunManifest, *, lock: FolderLock | None = None) -> None:
        self.path = path
        self._manifest = manifest
        self._lock = lock

    @classmethod
    def create(cls, path: Path, manifest: RunManifest) -> Self:
        """Start a run in a folder that is new or empty, and hold its lock.

        Raises:
            StorageError: If the folder holds something already, is locked, or cannot be written.
        """
        make_folder(path)
        lock = FolderLock(path)
        try:
            if (path / MANIFEST).exists():
                raise StorageError(
                    f"`{path}` already holds a run",
                    hint=f"go on with it by `--resume {path}`, or choose another folder",
                )
            if any(not found.name.startswith(".") for found in path.iterdir()):
                raise StorageError(f"`{path}` is not empty", hint="choose a new or an empty folder")
            store = cls(path, manifest, lock=lock)
            store._write(path / MANIFEST, manifest)
        except BaseException:
            lock.release()
            raise
        return store

    @classmethod
    def open(cls, path: Path, *, writable: bool = False) -> Self:
        """Open a run folder; `writable` takes its lock at once, else the first write does.

        Raises:
            StorageError: If it is not a run, is damaged, was written by a newer leptonbench, or is locked.
        """
        file = path / MANIFEST
        if not file.is_file():
            why = "there is no such folder" if not path.exists() else f"it has no {MANIFEST}"
            raise StorageError(f"`{path}` is not a run", cause=why, hint="see `leptonbench list runs`")
        store = cls(path, parse(file, RunManifest, read_json(file), kind="manifest"))
        if writable:
            store._acquire()
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the lock back; reading goes on to work."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def manifest(self) -> RunManifest:
        """What was asked, on what."""
        return self._manifest

    def update(self, **changes: Any) -> RunManifest:
        """Replace fields of the manifest, on disk too, and return it."""
        fields = {name: getattr(self._manifest, name) for name in RunManifest.model_fields}
        manifest = RunManifest.model_validate({**fields, **changes})
        self._write(self.path / MANIFEST, manifest)
        self._manifest = manifest
        return manifest

    def finish(self, *, finished: str | None = None, **changes: Any) -> RunManifest:
        """Mark the run as complete (ISO time, UTC; now by default), with last changes to the manifest."""
        return self.update(finished=finished or datetime.now(UTC).isoformat(timespec="seconds"), **changes)

    def write_round(self, key: str, record: RoundRecord, latencies_s: NDArray[np.float64] | None = None) -> None:
        """Keep one round: samples first, then the record, so that a record is never without its samples.

        Args:
            key: The cell's key.
            record: The round; its index names its files, and an earlier one of that index is replaced.
            latencies_s: One latency a query, in the order of the queries; `None` if the round has none.

        Raises:
            StorageError: If it cannot be written; earlier rounds are untouched.
        """
        file = self._file("rounds", key) / f"{record.index}.json"
        if latencies_s is not None:
            self._acquire()
            file.unlink(missing_ok=True)  # an earlier record must not come to stand beside these samples
            self._write_bytes(self._samples(key, record.index), to_parquet(latencies_s))
        self._write(file, record)

    def rounds(self, key: str) -> list[RoundRecord]:
        """Return a cell's rounds in the order of their index; none if it was not measured yet."""
        paths = (path for path in self._file("rounds", key).glob("*.json") if path.stem.isdecimal())
        ordered = sorted(paths, key=lambda path: int(path.stem))
        return [self._load(path, RoundRecord, kind="round") for path in ordered]

    def latencies(self, key: str, index: int) -> NDArray[np.float64]:
        """Return one round's latencies in seconds, in the order of the queries.

        Raises:
            StorageError: If they are not there or damaged.
        """
        return from_parquet(self._samples(key, index))

    def log_dir(self, key: str, index: int) -> Path:
        """Return the folder for one round's own logs, created."""
        return make_folder(self._file("logs", key) / str(index))

    def write_record(self, record: CellRecord) -> None:
        """Keep one cell's result, replacing an earlier one.

        Raises:
            StorageError: If it cannot be written; the earlier one is untouched.
        """
        self._write(self._record_file(record.cell.key), record)

    def has_record(self, key: str) -> bool:
        """Return whether the cell has a result."""
        return self._record_file(key).is_file()

    def record(self, key: str) -> CellRecord:
        """Return one cell's result.

        Raises:
            StorageError: If there is none, or it is damaged.
        """
        path = self._record_file(key)
        if not path.is_file():
            why = "the run ended before it was measured" if self.manifest.finished is None else "its file is missing"
            raise StorageError(f"cell `{key}` has no result", cause=why, hint=f"`leptonbench run --resume {self.path}`")
        return self._load(path, CellRecord, kind="cell")

    def records(self) -> list[CellRecord]:
        """Return every result there is, in the order of the manifest."""
        return [self.record(key) for key in self._keys() if self.has_record(key)]

    def find_cell(self, text: str) -> CellSpec:
        """Return the one cell that `text` means: its key, or words that all occur in the key.

        Raises:
            UsageError: If no cell or more than one fits.
        """
        cells = {cell.key: cell for cell in self.manifest.cells}
        if text in cells:
            return cells[text]
        words = text.casefold().replace("/", " ").replace(",", " ").split()
        matches = [key for key in cells if all(word in key.casefold() for word in words)]
        whole = [key for key in matches if all(word in key.casefold().split("--") for word in words)]
        matches = whole if len(whole) == 1 else matches
        if len(matches) == 1:
            return cells[matches[0]]
        if matches:
            shown = ", ".join(matches[:5]) + (f" and {len(matches) - 5} more" if len(matches) > 5 else "")
            raise UsageError(f"`{text}` fits {len(matches)} cells", cause=shown, hint="give more words of the key")
        parts = {part for key in cells for part in key.split("--")}
        wrong = next((word for word in words if not any(word in key.casefold() for key in cells)), text)
        guess = closest(text, cells) or closest(wrong, parts)
        hint = f"did you mean `{guess}`?" if guess else f"see `leptonbench show {self.path}`"
        raise UsageError(f"no cell of `{self.path.name}` fits `{text}`", hint=hint)

    def frame(self) -> pd.DataFrame:
        """Return one row a cell: its axes, status, and each metric with `_low`, `_high`, `_n`, `_provenance`, ..."""
        import pandas as pd

        return pd.DataFrame([record_row(record) for record in self.records()])

    def _keys(self) -> Iterator[str]:
        planned = [cell.key for cell in self.manifest.cells]
        yield from planned
        yield from sorted({path.stem for path in (self.path / "cells").glob("*.json")} - set(planned))

    def _file(self, folder: str, key: str) -> Path:
        if "/" in key or key.startswith("."):
            raise StorageError(
                f"`{key}` cannot name a file", hint="names of workloads, variants and devices have no `/`"
            )
        return self.path / folder / key

    def _record_file(self, key: str) -> Path:
        path = self._file("cells", key)
        return path.with_name(path.name + ".json")

    def _samples(self, key: str, index: int) -> Path:
        return self._file("samples", key) / f"{index}.parquet"

    def _load(self, path: Path, model: type[F], *, kind: str) -> F:
        return parse(path, model, read_json(path), kind=kind)

    def _write(self, path: Path, model: Frozen) -> None:
        document = {"schema_version": SCHEMA_VERSION} | json.loads(model.model_dump_json())
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        self._write_bytes(path, text.encode() + b"\n")

    def _write_bytes(self, path: Path, data: bytes) -> None:
        self._acquire()
        write_atomically(path, data)

    def _acquire(self) -> None:
        """Take the lock unless it is held, and clean up after a writer that was killed."""
        if self._lock is None:
            self._lock = FolderLock(self.path)
            for folder in (self.path, self.path / "cells", *self.path.glob("rounds/*"), *self.path.glob("samples/*")):
                remove_leftovers(folder)
