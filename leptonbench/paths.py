"""Where things are: data folders (checkout or installed wheel), cache, results."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_root() -> Path:
    """Return the folder that holds `workloads/`, `hardware_profiles/` and `reports/`.

    It is the checkout's root when run from one, and a folder inside the package when installed from a wheel.
    """
    bundled = _PACKAGE / "_data"
    return bundled if bundled.is_dir() else _PACKAGE.parent


def cache_dir() -> Path:
    """Return the cache folder: `LEPTONBENCH_CACHE`, else `$XDG_CACHE_HOME/leptonbench`, else `~/.cache/leptonbench`."""
    explicit = os.environ.get("LEPTONBENCH_CACHE")
    if explicit:
        return Path(explicit).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "leptonbench"


def results_dir() -> Path:
    """Return where runs go unless `--out` says otherwise: `results/` under the current folder."""
    return Path.cwd() / "results"
