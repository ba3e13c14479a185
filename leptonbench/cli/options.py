"""Options and arguments that several commands share."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated

import typer

from leptonbench.errors import UsageError

_DURATION = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<unit>ms|s|m|min|h)?")
_SECONDS = {"ms": 1e-3, "s": 1.0, None: 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of text.")]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, the name of one under results/, or `latest`.")
]
OutFile = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write to this file.")]


def parse_duration(text: str) -> float:
    """Return a duration in seconds from `500ms`, `2s`, `10m`, `1.5h` or plain seconds.

    Raises:
        UsageError: If it is not a duration, or not above zero.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match["number"]) * _SECONDS[match["unit"]] if match else 0.0
    if not 0 < seconds < math.inf:
        raise UsageError(f"`{text}` is not a duration", hint="write it like 500ms, 2s, 10m or 1.5h")
    return seconds
