"""Finding tuned networks on disk, and refusing stale ones. Reads JSON only: a warm run must not wait for torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leptonbench.errors import UsageError
from leptonbench.schema import StepSpec

WEIGHTS_FILE = "weights.safetensors"
TUNED_FILE = "tuned.json"
TUNED_FORMAT = 1


def read_document(folder: Path) -> dict[str, Any]:
    """Read how a tuned network came about.

    Raises:
        UsageError: If the file is damaged, or of a format that this version does not know.
    """
    path = folder / TUNED_FILE
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != TUNED_FORMAT:
            raise ValueError(f"format {document['format']}, not {TUNED_FORMAT}")
        return document
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"`{path}` cannot be read",
            cause=str(error) or type(error).__name__,
            hint="remove the folder, so that it is made again",
        ) from error


def find_tuned(folder: Path | None, source_sha256: str, steps: Sequence[StepSpec]) -> Path | None:
    """Return the folder inside `folder` that holds exactly these steps on exactly this model; `None` if none does."""
    wanted = [step.model_dump() for step in steps]
    for path in sorted(folder.glob(f"*/{TUNED_FILE}")) if folder is not None else []:
        document = read_document(path.parent)
        if document["source_sha256"] == source_sha256 and document["steps"] == wanted:
            return path.parent
    return None


def check_shipped(folder: Path, source_sha256: str) -> None:
    """Refuse tuned weights of another model than the one they ship with.

    Args:
        folder: Of a workload's tuned weights, one folder a variant.
        source_sha256: Of the workload's own model.

    Raises:
        UsageError: Naming the first that is stale, and how to make it again.
    """
    for path in sorted(folder.glob(f"*/{TUNED_FILE}")):
        found = read_document(path.parent)["source_sha256"]
        if found != source_sha256:
            raise UsageError(
                f"the tuned weights in `{path.parent}` are of another model than the workload's",
                cause=f"they were made from {found[:12]}, the workload's model is {source_sha256[:12]}",
                hint=f"python workloads/tune_variants.py --workload {folder.parent.name} --variant {path.parent.name}",
            )
