"""Outcomes and tables as Markdown, for the pages that benchmarks write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def figure(one: dict[str, Any]) -> str:
    """Return an outcome's value with its unit and interval."""
    value = f"{one['value']:.3g} {_unit(one)}".strip()
    return value if one["low"] is None else f"{value} [{one['low']:.3g}, {one['high']:.3g}]"


def goal(one: dict[str, Any]) -> str:
    """Return an outcome's goal and whether it was met; nothing without one."""
    if one["goal"] is None:
        return ""
    bound = "at least" if one["at_least"] else "at most"
    return f"{bound} {one['goal']:g} {_unit(one)}".strip() + f": {'met' if one['met'] else 'missed'}"


def outcomes(some: Iterable[dict[str, Any]], *, what: str = "what") -> str:
    """Return a table of outcomes."""
    return table((what, "result", "n", "goal"), ((one["name"], figure(one), one["n"], goal(one)) for one in some))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |\n" for line in lines)


def _unit(one: dict[str, Any]) -> str:
    return "" if one["unit"] == "1" else str(one["unit"])
