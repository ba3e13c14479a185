"""Boards are files: each that ships is whole, and one that cannot be is refused with its line and key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from leptonbench import catalog
from leptonbench.errors import UsageError
from leptonbench.fpga import boards
from leptonbench.paths import data_root
from leptonbench.schema import Board, DeviceProfile, Fact

NAMES = catalog.board_names()


def _board(name: str) -> Board:
    board = catalog.load_board(name).board
    assert board is not None
    return board


def _facts(model: BaseModel) -> Iterator[Fact]:
    for value in dict(model).values():
        for item in value if isinstance(value, tuple) else value.values() if isinstance(value, dict) else (value,):
            if isinstance(item, Fact):
                yield item
            elif isinstance(item, BaseModel):
                yield from _facts(item)


def test_the_boards_of_the_issue_are_there():
    assert set(NAMES) >= {"kv260", "u250", "ulx3s-85f", "zcu104", "zedboard"}


@pytest.mark.parametrize("name", NAMES)
def test_a_board_that_ships_is_whole(name: str):
    profile = catalog.load_board(name)
    assert set(profile.title) == {"en", "zh"}
    assert profile.power is not None
    assert profile.power.idle_w.value < profile.power.full_w.value
    assert profile.owned is not None
    boards.core_shape(_board(name))
    boards.memory(_board(name))


@pytest.mark.parametrize("name", NAMES)
def test_each_figure_has_a_source_and_one_that_is_only_remembered_is_an_assumption(name: str):
    facts = list(_facts(catalog.load_board(name)))
    assert len(facts) >= 15
    for fact in facts:
        assert fact.source
        assert fact.assumed or "from memory" not in fact.source
        assert fact.low is None or fact.low <= fact.value
        assert fact.high is None or fact.value <= fact.high


def test_the_memory_is_in_cycles_of_the_cores_clock():
    board = _board("zcu104")
    alone, shared = boards.dram(board, active_cores=1), boards.dram(board)
    assert board.clock_hz.value == 200e6
    assert alone.latency_cycles == 40  # 200 ns
    assert alone.bytes_per_cycle == pytest.approx(19.2e9 * 0.75 / 200e6)
    assert board.cores == 2
    assert shared.bytes_per_cycle == pytest.approx(alone.bytes_per_cycle / 2)


@pytest.mark.parametrize("name", NAMES)
def test_cores_never_get_more_than_the_memory_has(name: str):
    board = _board(name)
    sustained_bytes_per_s = board.dram.peak_bytes_per_s.value * board.dram.efficiency.value
    for active in range(1, board.cores + 1):
        each = boards.dram(board, active_cores=active).bytes_per_cycle * board.clock_hz.value
        assert each * active <= sustained_bytes_per_s * 1.000001


def test_a_core_with_a_channel_of_its_own_does_not_feel_the_others():
    board = _board("u250")
    assert board.dram.channels == 4
    assert boards.dram(board, active_cores=1) == boards.dram(board, active_cores=4)
    assert boards.dram(board, active_cores=5).bytes_per_cycle < boards.dram(board, active_cores=4).bytes_per_cycle


def test_the_compiler_expects_no_more_than_the_bus_carries():
    board = _board("zedboard")
    assert boards.dram(board).bytes_per_cycle > board.core.bus_bytes
    assert boards.memory(board).bytes_per_cycle == board.core.bus_bytes


@pytest.mark.parametrize("active", [0, 3])
def test_cores_that_the_board_has_not_cannot_be_active(active: int):
    with pytest.raises(UsageError, match=f"{active} cores cannot be active"):
        boards.dram(_board("zcu104"), active_cores=active)


def test_a_user_adds_a_board_by_writing_a_file(tmp_path: Path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(_kv260().replace("name: kv260", "name: mine").replace("  cores: 1\n", "  cores: 2\n"))
    profile = catalog.load_board(str(mine))
    assert isinstance(profile, DeviceProfile)
    assert profile.board is not None
    assert (profile.name, profile.board.cores) == ("mine", 2)


@pytest.mark.parametrize(
    ("was", "becomes", "key", "says"),
    [
        ("value: 2e8", "value: -2e8", "board.clock_hz", "0 < low <= value <= high"),
        ("value: 2e8", "value: .inf", "board.clock_hz", "0 < low <= value <= high"),
        ("low: 1e8", "low: 2.5e8", "board.clock_hz", "0 < low <= value <= high"),
        ("high: 3e8", "high: 9e9", "board.clock_hz", "at most 2e+09"),
        ("unit: Hz", "unit: MHz", "board.clock_hz", "the unit is `Hz`, not `MHz`"),
        ("value: 0.75", "value: 1.25", "board.dram.efficiency", "0 < low <= value <= high"),
        ("    rows: 16", "    rows: 12", "board.core.rows", "`rows` is 12"),
        ("    cols: 16", "    cols: 24", "board.core.cols", "`cols` is 24"),
        ("    bus_bytes: 32", "    bus_bytes: 8", "board.core.bus_bytes", "`bus_bytes` is 8"),
        ("    acc_words: 1024", "    acc_words: 1000", "board.core.acc_words", "`acc_words` is 1000"),
        ("  cores: 1", "  cores: 0", "board.cores", "greater than or equal to 1"),
        ("    kind: ddr4", "    kind: hbm9", "board.dram.kind", "hbm9"),
        ("    kind: ddr4", "    kind: ddr4\n    channels: 3\n    channels_per_core: 2", "board.dram", "spread evenly"),
        ("    family: xcup", "    family: xcvu", "board.part.family", "xcvu"),
        ("  cores: 1", "  cores: 1\n  colour: red", "board.colour", "unknown key"),
        ("kind: fpga", "kind: gpu", "", "of kind `fpga`"),
    ],
)
def test_impossible_boards_are_refused_with_line_and_key(was: str, becomes: str, key: str, says: str, tmp_path: Path):
    path = tmp_path / "kv260.yaml"
    text = _kv260()
    assert was in text
    path.write_text(text.replace(was, becomes, 1))
    with pytest.raises(UsageError) as caught:
        catalog.load_board(str(path))
    assert str(path) in caught.value.message
    assert says in caught.value.cause
    assert caught.value.exit_code == 2
    if key:
        assert f"`{key}`" in caught.value.cause
        leaf = key.rpartition(".")[2]
        line = int(caught.value.cause.partition("line ")[2].partition(",")[0])
        assert leaf in path.read_text().splitlines()[line - 1]


def test_a_board_that_does_not_exist_gets_a_suggestion():
    with pytest.raises(UsageError, match="unknown board `kv26`") as caught:
        catalog.load_board("kv26")
    assert "kv260" in caught.value.hint


def _kv260() -> str:
    return (data_root() / "hardware_profiles" / "fpga" / "kv260.yaml").read_text(encoding="utf-8")


def _row(name: str) -> str:
    """Write a board's row of the table in docs/fpga.md."""
    profile = catalog.load_board(name)
    board = _board(name)
    clock, chips = board.clock_hz, board.dram
    per_s = f"{chips.peak_bytes_per_s.value / 1e9:.3g} GB/s"
    whence = "assumed" if clock.assumed else "placed and routed, by module"
    host = f"{board.host.cores} x {board.host.title}" if board.host else "none"
    cells = (
        f"{profile.title['en'].partition(' (')[0]} (`{name}`)",
        board.part.name,
        f"{board.cores} of {board.core.rows} x {board.core.cols}",
        f"{clock.value / 1e6:g} MHz ({(clock.low or 0) / 1e6:g} to {(clock.high or 0) / 1e6:g})",
        whence,
        f"{chips.title}, {per_s}",
        host,
    )
    return "| " + " | ".join(cells) + " |"


@pytest.mark.parametrize("name", NAMES)
def test_the_docs_say_what_the_file_says(name: str):
    assert _row(name) in (data_root() / "docs" / "fpga.md").read_text(encoding="utf-8").splitlines()
