"""Files that are either whole or not there, whatever kills the process that writes them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from pathlib import Path

from leptonbench.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def storage_error(path: Path, error: OSError, *, doing: str) -> StorageError:
    """Put an operating system's error into three parts.

    Args:
        path: What was being read or written.
        error: What the operating system said.
        doing: `written`, `read` or `created`.
    """
    hint = "check the folder and the disk"
    if error.errno in _FULL:
        hint = "free some space and try again; what was completed before is kept"
    elif error.errno in _FORBIDDEN:
        hint = "choose a folder that you may write to" if doing != "read" else "ask for permission to read it"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        hint = "something else has this name; choose another"
    elif error.errno == errno.ENAMETOOLONG:
        hint = "choose a shorter name"
    return StorageError(f"`{path}` cannot be {doing}", cause=error.strerror or str(error), hint=hint)


def make_folder(path: Path) -> Path:
    """Create a folder and its parents unless they are there.

    Raises:
        StorageError: If that is not possible.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error, doing="created") from error
    return path


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that readers see the old content or the new one, and a power cut leaves one of the two.

    Raises:
        StorageError: If it cannot be written; the old content, if any, is untouched.
    """
    make_folder(path.parent)
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error, doing="written") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what an interrupted `write_atomically` left in this folder; only its writer may call this."""
    for leftover in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            leftover.unlink()


class FolderLock:
    """An exclusive lock on a folder, gone when the process that holds it is.

    Raises:
        StorageError: If another process holds it, or the file system has no locks.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / ".lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise storage_error(path, error, doing="written") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise StorageError(
                f"`{folder}` is being written by another run",
                cause=f"process {holder} holds its lock",
                hint="wait until it ends, or choose another folder",
            ) from error
        except OSError as error:
            self.release()
            raise storage_error(path, error, doing="written") from error

    def release(self) -> None:
        """Let go of the lock; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
