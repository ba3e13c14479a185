"""Options and arguments that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leptonbench.errors import UsageError

if TYPE_CHECKING:
    from leptonbench.harness.request import LatencyTarget

_DURATION = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<unit>ms|s|m|min|h)?")
_SECONDS = {"ms": 1e-3, "s": 1.0, None: 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

_SLO = re.compile(r"p(?P<percent>\d+(\.\d+)?)\s*=\s*(?P<time>.+)")
_LOWEST, _HIGHEST = 50.0, 99.9  # percent: below is no promise, above no run of minutes certifies


class GraphLevel(StrEnum):
    """How far an engine may rewrite the graph."""

    OFF = "off"
    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"


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


def parse_wait(text: str) -> float:
    """Return a wait in seconds, to the microsecond; it may be 0, which is no wait.

    Raises:
        UsageError: If it is not a duration.
    """
    return 0.0 if text.strip() in ("0", "0s", "0ms") else round(parse_duration(text), 6)


def parse_slo(text: str) -> LatencyTarget:
    """Return a latency target from `p99=20ms`.

    Raises:
        UsageError: If it is none, or its percentile is one that a run cannot certify.
    """
    from leptonbench.harness.request import LatencyTarget

    match = _SLO.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"`{text}` is not a latency target",
            cause="it wants a percentile and the time that it must not exceed",
            hint="write it like p99=20ms or p90=100ms",
        )
    percent = float(match["percent"])
    if not _LOWEST <= percent <= _HIGHEST:
        raise UsageError(
            f"the percentile of `{text}` is out of range",
            cause=f"p{percent:g} is not between p{_LOWEST:g} and p{_HIGHEST:g}: a run of minutes has too few queries",
            hint="ask for p90, p95, p99 or p99.9",
        )
    return LatencyTarget(percentile=round(percent / 100, 9), seconds=parse_duration(match["time"]))


def parse_dimensions(texts: Sequence[str]) -> dict[str, int]:
    """Return sizes by name from texts like `length=235`.

    Raises:
        UsageError: If one is none.
    """
    sizes = {}
    for text in texts:
        name, _, size = text.partition("=")
        if not name.strip() or not size.strip().isdecimal() or int(size) < 1:
            raise UsageError(f"`{text}` is not the size of a dimension", hint="write it like --dimension length=235")
        sizes[name.strip()] = int(size)
    return sizes
