"""Write the RTL's package and the tables of the documentation from the instruction table."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from pathlib import Path

from leptonbench.fpga import isa

_ENUMERATIONS: tuple[tuple[str, type[enum.IntEnum], int], ...] = (
    ("OP", isa.Op, 4),
    ("TARGET", isa.Target, 4),
    ("EXEC", isa.ExecMode, 4),
    ("DRAIN", isa.DrainMode, 2),
    ("COUNT", isa.Counter, 5),
)


def systemverilog_package() -> str:
    """Return the text of `rtl/isa_pkg.sv`: a packed structure for each kind of instruction."""
    lines = [
        "// Written by `python -m leptonbench.fpga.isa` and held to leptonbench/fpga/isa.py by a test; edit that file.",
        "package isa_pkg;",
    ]
    for prefix, members, width in _ENUMERATIONS:
        lines += _enumeration(prefix, members, width)
    for kind in isa.INSTRUCTIONS[1:]:
        lines += _structure(kind)
    lines.append(f"  localparam int COUNTERS = {len(isa.Counter)};")
    return "\n".join([*lines, "endpackage", ""])


def _enumeration(prefix: str, members: Iterable[enum.IntEnum], width: int) -> list[str]:
    return [f"  localparam bit [{width - 1}:0] {prefix}_{item.name} = {width}'d{item.value};" for item in members]


def _structure(kind: type[isa.Instruction]) -> list[str]:
    """Return a packed structure as wide as the fields need, in 32-bit steps; gaps get a name of their own."""
    members, at = [("op", 4, False)], 4
    for name, bits in isa.layout(kind):
        if bits.low > at:
            members.append((f"gap_{at}", bits.low - at, False))
        members.append((name, bits.width, bits.signed))
        at = bits.low + bits.width
    if at % 32:
        members.append((f"gap_{at}", -at % 32, False))
        at += -at % 32
    name = kind.__name__.lower()
    lines = [f"  localparam int {name.upper()}_BITS = {at};", "  typedef struct packed {"]
    for member, width, signed in reversed(members):
        lines.append(f"    bit {'signed ' if signed else ''}[{width - 1}:0] {member};")
    return [*lines, f"  }} {name}_t;"]


def markdown() -> str:
    """Return the instruction tables of `docs/fpga.md`."""
    parts = []
    for kind in isa.INSTRUCTIONS:
        summary = re.sub(r"\n    ", "\n", (kind.__doc__ or "").strip())
        parts.append(f"### {kind.OP.name} ({kind.OP.value})\n\n{summary}\n")
        parts.append("| bits | field | meaning |\n|---|---|---|")
        for name, bits in isa.layout(kind):
            span = f"{bits.low + bits.width - 1}:{bits.low}" if bits.width > 1 else f"{bits.low}"
            parts.append(f"| {span} | `{name}` | {bits.doc}{' (signed)' if bits.signed else ''} |")
        parts.append("")
    return "\n".join(parts)


def main() -> None:
    """Write the RTL's package and the tables of the documentation from the table in this file."""
    here = Path(__file__).resolve().parent
    (here / "rtl" / "isa_pkg.sv").write_text(systemverilog_package())
    page = here.parent.parent / "docs" / "fpga.md"
    page.write_text(with_tables(page.read_text()))


_BEGIN, _END = "<!-- instructions: begin -->", "<!-- instructions: end -->"


def with_tables(page: str) -> str:
    """Return a page with the instruction tables put between its two marks."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{markdown()}{_END}{after}"
