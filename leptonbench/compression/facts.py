"""What a technique found out while it worked, kept inside the ONNX file that it made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KEY = "leptonbench.facts"
"""Of the file's `metadata_props`; the value is JSON: technique to facts."""


def read_facts(model: Any) -> dict[str, dict[str, Any]]:
    """Return the facts in an onnx `ModelProto`, by technique; empty where it carries none."""
    for entry in model.metadata_props:
        if entry.key == KEY:
            found: dict[str, dict[str, Any]] = json.loads(entry.value)
            return found
    return {}


def read_file_facts(path: Path) -> dict[str, dict[str, Any]]:
    """Return the facts in an ONNX file, by technique; its external data is not read."""
    import onnx

    return read_facts(onnx.load(str(path), load_external_data=False))


def add_facts(model: Any, technique: str, facts: dict[str, Any]) -> None:
    """Put a technique's facts into an onnx `ModelProto`, beside those of the steps before it."""
    import onnx

    entries = {entry.key: entry.value for entry in model.metadata_props}
    entries[KEY] = json.dumps(read_facts(model) | {technique: facts}, sort_keys=True)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, entries)
