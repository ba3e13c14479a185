"""A run with an FPGA board of the user's own: simulated cells beside the measured ones, in records and report."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from leptonbench.paths import cache_dir, data_root
from leptonbench.schema import CellRecord, Provenance, Status
from leptonbench.store import RunStore
from tests.e2e.conftest import Bench
from tests.fpga.conftest import SHAPES

pytestmark = pytest.mark.slow


def _board(folder: Path, **changes: object) -> Path:
    """Write a board with the small core that other tests build, too."""
    text = (data_root() / "hardware_profiles" / "fpga" / "kv260.yaml").read_text(encoding="utf-8")
    profile = yaml.safe_load(text)
    profile["name"] = "own-board"
    profile["board"]["core"] = asdict(SHAPES["8x16"])
    profile["board"] |= {"cores": 2, **changes}
    path = folder / "own-board.yaml"
    path.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def cached(bench: Bench) -> Bench:
    """Let the command line find the simulators that other tests built."""
    (cache_dir() / "fpga").mkdir(parents=True, exist_ok=True)
    folder = Path(bench.environment["LEPTONBENCH_CACHE"])
    folder.mkdir(exist_ok=True)
    if not (folder / "fpga").exists():
        (folder / "fpga").symlink_to(cache_dir() / "fpga")
    return bench


def _records(folder: Path) -> dict[tuple[str, str], CellRecord]:
    return {(record.cell.variant, record.cell.backend): record for record in RunStore.open(folder).records()}


def test_a_board_stands_beside_the_cpu(cached: Bench, tmp_path: Path) -> None:
    suite = cached.suite(tmp_path, backends=("onnxruntime", "fpga"), variants=("fp32", "int8-static"))
    board, out = _board(tmp_path), tmp_path / "run"
    options = ["--device", f"host-cpu,{board}", *cached.own(), "--out", out]
    ended = cached.call("run", "--suite", suite, *options)
    assert ended.code == 0, ended.err
    records = _records(out)
    refused = records["fp32", "fpga"]
    assert refused.status is Status.SKIPPED and refused.reason is not None and "int8-static" in refused.reason.hint
    found = records["int8-static", "fpga"]
    beside = records["int8-static", "onnxruntime"]
    assert found.status is Status.OK and found.cell.device == "own-board" and found.rounds == ()
    assert found.artifact == beside.artifact
    assert found.metrics["quality"].value == beside.metrics["quality"].value
    assert found.meets_quality is beside.meets_quality
    assert found.metrics["latency_p90"].provenance in (Provenance.SIMULATED, Provenance.PROJECTED)
    assert found.metrics["energy_per_inference"].provenance is found.metrics["latency_p90"].provenance
    assert (found.metrics["owned_cost_per_million"].value or 0) > 0
    assert found.settings.effective["bound_by"]
    assumptions = RunStore.open(out).manifest.assumptions
    assert any(row.name.startswith("own-board: ") for row in assumptions)
    page = tmp_path / "report.html"
    told = cached.call("report", out, "--out", page)
    assert told.code == 0, told.err
    assert "own-board" in page.read_text(encoding="utf-8")


def test_a_model_is_simulated_by_itself(cached: Bench, tmp_path: Path) -> None:
    from tests.fpga_networks import attention

    model, board = attention(tmp_path), _board(tmp_path)
    refused = cached.call("fpga", "simulate", model, "--board", board)
    assert refused.code == 2
    assert "free dimensions" in refused.err and "--dimension 'length=SIZE'" in refused.err
    full = cached.call(
        "fpga", "simulate", model, "--board", board, "--dimension", "length=21", "--mode", "full", "--json"
    )
    assert full.code == 0, full.err
    document = json.loads(full.out)
    assert document["alone"]["mismatches"] == 0 and document["board"] == "own-board"
    composed = cached.call("fpga", "simulate", model, "--board", board, "--dimension", "length=21")
    assert composed.code == 0, composed.err
    assert "Softmax" in composed.out and "steady state" in composed.out
    (tmp_path / "bare").mkdir()
    bare = cached.call(
        "fpga", "simulate", model, "--board", _board(tmp_path / "bare", host=None), "--dimension", "length=21"
    )
    assert bare.code == 2
    assert "needs a host CPU for Softmax" in bare.err and "take a board with a host CPU" in bare.err


def test_a_model_that_is_not_in_codes_is_refused(cached: Bench, tmp_path: Path) -> None:
    ended = cached.call("fpga", "simulate", cached.model, "--board", _board(tmp_path))
    assert ended.code == 2
    assert "8-bit models only" in ended.err and "`int8-static`" in ended.err
