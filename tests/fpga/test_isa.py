"""The instruction words: what is encoded is decoded, fields do not overlap, and RTL and page say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leptonbench.errors import UsageError
from leptonbench.fpga import isa, isa_text

_ROOT = Path(isa.__file__).resolve().parents[2]


def _values(kind: type[isa.Instruction]) -> st.SearchStrategy[isa.Instruction]:
    ranges = {}
    for name, bits in isa.layout(kind):
        low, high = bits.range
        if name == "mode":
            ranges[name] = st.sampled_from(isa.ExecMode if kind is isa.Exec else isa.DrainMode)
        elif name == "target":
            ranges[name] = st.sampled_from(isa.Target)
        elif name in ("take", "give"):
            ranges[name] = st.integers(low, high).map(isa.Unit)
        else:
            ranges[name] = st.integers(low, high) | st.sampled_from([low, high])
    return st.builds(kind, **ranges)


@pytest.mark.parametrize("kind", isa.INSTRUCTIONS)
def test_fields_lie_apart_inside_the_word(kind: type[isa.Instruction]) -> None:
    taken = 0xF
    for name, bits in isa.layout(kind):
        mask = ((1 << bits.width) - 1) << bits.low
        assert not taken & mask, name
        taken |= mask
    assert taken < 1 << (8 * isa.INSTRUCTION_BYTES)


@given(st.one_of([_values(kind) for kind in isa.INSTRUCTIONS]))
def test_decoding_returns_what_was_encoded(instruction: isa.Instruction) -> None:
    data = isa.encode(instruction)
    assert len(data) == isa.INSTRUCTION_BYTES
    assert isa.decode(data) == instruction


def test_a_value_that_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(UsageError) as caught:
        isa.encode(isa.Load(granules=1 << 16))
    assert "granules" in caught.value.cause
    assert "65536" in caught.value.cause


@pytest.mark.parametrize("data", [b"", bytes(63), bytes([15]) + bytes(63)])
def test_what_is_no_instruction_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="not an instruction"):
        isa.decode(data)


def test_the_package_of_the_rtl_is_the_table() -> None:
    assert (_ROOT / "leptonbench/fpga/rtl/isa_pkg.sv").read_text() == isa_text.systemverilog_package()


def test_the_page_shows_the_table() -> None:
    page = (_ROOT / "docs/fpga.md").read_text()
    assert page == isa_text.with_tables(page)
    assert "| 31:16 | `granules` |" in page
