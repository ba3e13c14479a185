"""`leptonbench.toml`, or `[tool.leptonbench]` in `pyproject.toml`: what a project gates, and when the gate speaks."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from leptonbench.errors import UsageError
from leptonbench.gate.model import Rules
from leptonbench.registry import closest
from leptonbench.schema import Frozen

NAMES = ("leptonbench.toml", "pyproject.toml")


class Environment(Frozen):
    """How a git ref's own environment is made.

    Attributes:
        install: Arguments of `pip install`, run in the ref's worktree; empty uses the gate's own environment.
        pythonpath: Folders of the worktree from which Python imports before what is installed.
    """

    install: tuple[str, ...] = ()
    pythonpath: tuple[str, ...] = ()


class GateConfig(Frozen):
    """The table `[gate]`.

    Attributes:
        model: A model folder, hub id or ONNX file in place of the workload's own; relative to this file.
        data: The user's own data, relative to this file.
        window_s: Length of one process's timed window.
        quality_samples: Evaluation samples that both sides answer.
        accepted_changes: The file of exact changes that are meant, relative to this file.
        advisory: Tell the verdict and exit with 0.
        budgets: What the head must meet, by metric: `latency_p50 = "50ms"`, `quality = ">= 0.98 x base"`.
        environment: Of a git ref.
        rules: When the gate speaks.
    """

    suite: str = "manufacturing"
    workload: str = "inspection"
    variants: tuple[str, ...] = ("fp32",)
    backends: tuple[str, ...] = ("onnxruntime",)
    scenarios: tuple[str, ...] = ("single-stream",)
    model: str | None = None
    data: str | None = None
    threads: int | None = Field(default=None, ge=1)
    window_s: float = Field(default=0.5, ge=0.1, le=60)
    quality_samples: int = Field(default=200, ge=1)
    accepted_changes: str = "accepted_changes.toml"
    advisory: bool = False
    seed: int = Field(default=0, ge=0)
    budgets: dict[str, str] = Field(default_factory=dict)
    environment: Environment = Environment()
    rules: Rules = Rules()


class _Document(Frozen):
    gate: GateConfig = GateConfig()


def find_config(folder: Path) -> Path | None:
    """Return the file of a folder that configures leptonbench; `None` if there is none."""
    for name in NAMES:
        path = folder / name
        if path.is_file() and (name != "pyproject.toml" or b"tool.leptonbench" in path.read_bytes()):
            return path
    return None


def read_config(path: Path) -> GateConfig:
    """Read a configuration; its paths come out absolute.

    Raises:
        UsageError: If it cannot be read or has an unknown key; names the file and the key.
    """
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read", cause=error.strerror or str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"`{path}` is not TOML", cause=str(error), hint="correct the line") from error
    if path.name == "pyproject.toml":
        tool = document.get("tool", {})
        document = tool.get("leptonbench", {}) if isinstance(tool, dict) else {}
    try:
        found = _Document.model_validate(document).gate
    except ValidationError as error:
        raise _malformed(path, error) from error
    folder = path.resolve().parent
    return found.model_copy(
        update={
            "model": placed(found.model, folder),
            "data": placed(found.data, folder),
            "accepted_changes": str(folder / found.accepted_changes),
        }
    )


def placed(name: str | None, folder: Path) -> str | None:
    """Return a path of a configuration as an absolute one; what is no file there (a hub id) stays as it is."""
    if name is None:
        return None
    path = folder / Path(name).expanduser()
    return str(path.resolve()) if path.exists() or name.endswith(".onnx") or name.startswith(".") else name


def _malformed(path: Path, error: ValidationError) -> UsageError:
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] != "extra_forbidden":
        return UsageError(f"`{path}` is malformed", cause=f"`{key}`: {first['msg']}", hint="see docs/gating.md")
    known = {"": ("gate",), "gate": GateConfig.model_fields, "gate.rules": Rules.model_fields}
    known |= {"gate.environment": Environment.model_fields}
    table, _, name = key.rpartition(".")
    guess = closest(name, known.get(table, ()))
    hint = f"did you mean `{guess}`?" if guess else "see docs/gating.md"
    return UsageError(f"`{path}` is malformed", cause=f"unknown key `{key}`", hint=hint)
