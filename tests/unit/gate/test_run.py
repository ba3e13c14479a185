"""The gate put together, over sides and workers whose figures the tests give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leptonbench.errors import MeasurementError, StorageError, UsageError
from leptonbench.gate import run as gate_run
from leptonbench.gate.annotate import annotation_lines, summary
from leptonbench.gate.config import GateConfig
from leptonbench.gate.duet import ORDERS, Duet, DuetFailure, figures
from leptonbench.gate.match import match, unfit
from leptonbench.gate.model import (
    GATE_FILE,
    GATE_SCHEMA_VERSION,
    Candidate,
    GateResult,
    Rules,
    SideCell,
    SideReport,
    Verdict,
)
from leptonbench.gate.run import Gate, GateRequest, run_gate
from leptonbench.gate.sides import Side
from leptonbench.schema import Notice, Reason, TensorSpec
from tests.gate_factory import SECONDS, report, side_cell, worker_result, write
from tests.harness_factory import cell

RULES = Rules(pairs=(20, 30))


class Told:
    """Progress that is kept."""

    def __init__(self) -> None:
        self.pairs: list[str] = []

    def phase(self, text: str) -> None:
        """Forget it."""

    def pair(self, cell: str, done: int, total: int) -> None:
        """Keep it."""
        self.pairs.append(f"{cell} {done}/{total}")


class Stage:
    """Stands in for both sides: what they prepared, and what each of their processes measures."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.reports = {"base": report(), "head": report()}
        self.slower = {"base": 1.0, "head": 1.0}
        self.noise = 0.005
        self.order: list[str] = []
        self.progress = Told()
        self.control_moves = False
        self._random = np.random.default_rng(11)
        write(folder / "base.onnx", "")
        write(folder / "head.onnx", "")
        monkeypatch.chdir(folder)
        monkeypatch.setattr(Gate, "prepare", lambda gate, side, scratch: self.reports[side.label])
        monkeypatch.setattr(Duet, "_process", self._process)

    def _process(self, side: Side, one: SideCell, index: int, folder: Path) -> dict[str, Any]:
        self.order.append(side.label)
        factor = self.slower[side.label] * np.exp(self._random.normal(0, self.noise / np.sqrt(2)))
        return worker_result(float(SECONDS * factor))

    def gate(self, **changes: Any) -> GateResult:
        """Run a gate."""
        rest = {name: changes.pop(name) for name in ("confirm", "defer", "out") if name in changes}
        config = GateConfig(rules=RULES, accepted_changes=str(self.folder / "accepted.toml"), **changes)
        return run_gate(GateRequest("base.onnx", "head.onnx", config, **rest), self.progress)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    yield Stage(tmp_path, monkeypatch)


def _layers(result: GateResult) -> dict[str, Verdict]:
    (one,) = result.cells
    return {f"{item.layer.value} {item.metric}": item.verdict for item in one.findings}


def test_equal_sides_pass_after_one_pass(stage: Stage) -> None:
    result = stage.gate()
    assert result.verdict is Verdict.PASS and result.exit_code == 0
    assert _layers(result)["duet latency_p50"] is Verdict.PASS
    assert len(stage.order) == 3 * 20
    assert [len(one.base_s) for one in result.cells[0].passes] == [20]
    assert {item.metric for item in result.cells[0].shown} >= {"latency_p50", "throughput", "cost_per_million"}


def test_a_slow_head_is_red_after_a_second_pass(stage: Stage) -> None:
    stage.slower["head"] = 1.1
    result = stage.gate()
    assert result.verdict is Verdict.REGRESSED and result.exit_code == 1
    assert len(result.cells[0].passes) == 2 and len(stage.order) == 2 * 3 * 20
    assert any(line.startswith("confirm ") for line in stage.progress.pairs)


def test_an_advisory_gate_tells_and_exits_with_0(stage: Stage) -> None:
    stage.slower["head"] = 1.1
    result = stage.gate(advisory=True)
    assert result.verdict is Verdict.REGRESSED and result.exit_code == 0
    assert all(line.startswith("::warning") for line in annotation_lines(result))


def test_the_order_takes_no_side(stage: Stage) -> None:
    """Base and head alternate; over six pairs each of the three is in each place twice."""
    assert [order.index("A") < order.index("B") for order in ORDERS] == [True, False] * 3
    assert [sum(order.index(letter) for order in ORDERS) for letter in "ABC"] == [6, 6, 6]
    assert sum(order.index("A") < order.index("C") for order in ORDERS) == 3
    stage.gate()
    assert stage.order[:6] == ["base", "head", "base", "base", "head", "base"]


def test_noise_asks_for_thirty_pairs(stage: Stage) -> None:
    stage.noise = 0.08
    result = stage.gate()
    assert len(result.cells[0].passes[0].base_s) == 30


def test_a_deferred_suspicion_is_confirmed_by_another_runner(stage: Stage, tmp_path: Path) -> None:
    stage.slower["head"] = 1.1
    first = stage.gate(defer=True, out=tmp_path / "first")
    assert first.verdict is Verdict.INCONCLUSIVE and first.exit_code == 3
    assert len(stage.order) == 60
    again = stage.gate(confirm=tmp_path / "first")
    assert again.verdict is Verdict.REGRESSED and len(stage.order) == 120
    assert again.cells[0].passes[0] == first.cells[0].passes[0]
    stage.slower["head"] = 1.0
    assert stage.gate(confirm=tmp_path / "first" / GATE_FILE).verdict is Verdict.PASS


def test_a_suspect_that_the_second_runner_does_not_have_does_not_pass(stage: Stage, tmp_path: Path) -> None:
    """Cells are named by their threads, and another runner may have other cores."""
    stage.slower["head"] = 1.1
    stage.gate(defer=True, out=tmp_path / "first")
    more = side_cell(cell(threads=4))
    stage.reports = {"base": report(more), "head": report(more)}
    before = len(stage.order)
    result = stage.gate(confirm=tmp_path / "first")
    assert result.verdict is Verdict.INCOMPARABLE and result.exit_code == 3
    assert "of other cells" in result.notices[0].message and "--t4-" not in result.notices[0].hint
    assert len(stage.order) == before


def test_a_budget_on_what_is_not_measured_again_is_held_against_the_first_pass(stage: Stage, tmp_path: Path) -> None:
    stage.gate(out=tmp_path / "first")
    assert stage.gate(confirm=tmp_path / "first", budgets={"p50": "50ms"}).verdict is Verdict.PASS
    assert stage.gate(confirm=tmp_path / "first", budgets={"p50": "1ms"}).verdict is Verdict.REGRESSED


def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(stage: Stage, tmp_path: Path) -> None:
    write(tmp_path / "file", "")
    with pytest.raises(StorageError):
        stage.gate(out=tmp_path / "file" / "out")
    assert stage.order == []


def test_sides_in_other_packages_are_told(stage: Stage) -> None:
    plain = report()
    other = plain.identity.model_copy(update={"packages": {**plain.identity.packages, "onnxruntime": "1.0"}})
    stage.reports["base"] = report(identity=other)
    (notice,) = [one for one in stage.gate().notices if one.code == "environments-differ"]
    assert "packages.onnxruntime: 1.0 |" in notice.message


def test_what_was_not_flagged_is_not_measured_again(stage: Stage, tmp_path: Path) -> None:
    stage.gate(out=tmp_path / "first")
    before = len(stage.order)
    assert stage.gate(confirm=tmp_path / "first").verdict is Verdict.PASS
    assert len(stage.order) == before


def test_a_first_pass_of_something_else_is_refused(stage: Stage, tmp_path: Path) -> None:
    stage.gate(out=tmp_path / "first")
    path = tmp_path / "first" / GATE_FILE
    document = json.loads(path.read_text(encoding="utf-8"))
    write(path, json.dumps({**document, "head": {**document["head"], "given": "other.onnx"}}))
    with pytest.raises(UsageError, match="not the one of the first pass"):
        stage.gate(confirm=path)
    write(path, json.dumps({**document, "schema_version": GATE_SCHEMA_VERSION + 1}))
    with pytest.raises(StorageError, match="newer leptonbench"):
        stage.gate(confirm=path)
    write(path, json.dumps({**document, "verdict": "fine"}))
    with pytest.raises(StorageError, match="damaged"):
        stage.gate(confirm=path)


def test_a_loss_of_accuracy_is_red_at_any_speed(stage: Stage) -> None:
    stage.reports["head"] = report(side_cell(wrong=30))
    stage.slower["head"] = 0.8
    result = stage.gate()
    assert result.verdict is Verdict.REGRESSED
    assert _layers(result)["quality quality"] is Verdict.REGRESSED
    assert _layers(result)["duet latency_p50"] is Verdict.IMPROVED


def test_an_accepted_change_passes(stage: Stage) -> None:
    changed = side_cell(exact={**side_cell().exact, "macs": 2_000_000})
    stage.reports["head"] = report(changed)
    assert stage.gate().verdict is Verdict.CHANGED
    entry = '[[accept]]\nmetric = "macs"\nbase = 1000000\nhead = 2000000\nreason = "a wider stem"\n'
    write(stage.folder / "accepted.toml", entry)
    assert stage.gate().verdict is Verdict.PASS


def test_budgets_are_held_against_the_head(stage: Stage) -> None:
    assert stage.gate(budgets={"p50": "50ms", "quality": ">= 0.98 x base"}).verdict is Verdict.PASS
    result = stage.gate(budgets={"p50": "1ms"})
    assert result.verdict is Verdict.REGRESSED
    assert _layers(result)["budget latency_p50"] is Verdict.REGRESSED
    with pytest.raises(UsageError, match="no budget can be set"):
        stage.gate(budgets={"p51": "1ms"})


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"outputs": (TensorSpec(name="o", shape=(None, 4), dtype="float32"),)}, "incomparable", "the outputs differ"),
        (
            {"inputs": (TensorSpec(name="i", shape=(None, 3, 16, 16), dtype="uint8"),)},
            "incomparable",
            "the inputs differ",
        ),
        ({"data_sha256": "e" * 64}, "incomparable", "evaluation data"),
        ({"reason": Reason(code="prepare", message="no such operator"), "job": None}, "invalid", "no such operator"),
    ],
)
def test_sides_that_are_not_the_same_question(stage: Stage, changes: dict[str, Any], verdict: str, words: str) -> None:
    stage.reports["head"] = report(side_cell(**changes))
    result = stage.gate()
    assert result.verdict.value == verdict and result.exit_code == 3
    assert words in result.cells[0].findings[0].reason
    assert stage.order == []


def test_a_free_dimension_fits_any_size() -> None:
    fixed = TensorSpec(name="i", shape=(1, 3, 16, 16), dtype="float32")
    assert unfit(Candidate("c", side_cell(), side_cell(inputs=(fixed,)))) is None


def test_cells_are_paired_by_key_and_the_rest_is_told() -> None:
    fp32, int8, fp16 = (side_cell(cell(variant)) for variant in ("fp32", "int8-static", "fp16"))
    candidates, alone = match(report(fp32, int8), report(fp32, fp16))
    assert [one.key for one in candidates] == [fp32.cell.key]
    assert [notice.message.split("`")[1] for notice in alone] == [fp16.cell.key, int8.cell.key]
    (only,), none = match(report(fp32), report(int8))
    assert only.key == int8.cell.key and only.base.cell.variant == "fp32" and none == []
    assert match(report(fp32), report(side_cell(cell(scenario="offline"))))[0] == []


def test_nothing_in_common_is_incomparable(stage: Stage) -> None:
    stage.reports["head"] = report(side_cell(cell(scenario="offline")))
    result = stage.gate()
    assert result.verdict is Verdict.INCOMPARABLE and result.cells == () and result.exit_code == 3
    assert "no cell in common" in result.notices[-1].message
    assert annotation_lines(result)[0].startswith("::warning title=leptonbench%3A incomparable::")


def test_a_side_that_does_not_know_the_gate_is_incomparable(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(gate: Gate, side: Side, scratch: Path) -> SideReport:
        raise gate_run.Incomparable("the leptonbench of the base cannot be asked", cause="No module named side")

    monkeypatch.setattr(Gate, "prepare", cannot)
    result = stage.gate()
    assert result.verdict is Verdict.INCOMPARABLE and "No module named side" in result.notices[0].message


def test_a_process_that_fails_makes_the_cell_invalid(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = {"message": "the engine raised an error", "cause": "RuntimeError: no"}
    monkeypatch.setattr(Duet, "_process", lambda *_: worker_result(1.0, error=failure))
    result = stage.gate()
    assert result.verdict is Verdict.INVALID and result.exit_code == 3
    assert "RuntimeError: no" in result.cells[0].findings[-1].reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"valid": False, "invalid_reasons": ["too short"]}, "too short"),
        ({"values": {}}, "no median"),
        ({"error": {"message": "it broke", "cause": ""}}, "it broke"),
    ],
)
def test_a_result_without_a_median_is_none(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DuetFailure) as caught:
        figures(worker_result(0.1, **changes), side="head")
    assert words in f"{caught.value.message} {caught.value.cause}"


def test_offline_is_judged_by_the_time_of_one_sample_and_joules_by_the_inference() -> None:
    assert figures({"values": {"throughput": 50.0}}, side="base")["latency_p50"] == 0.02
    energy = {"energy_j": 10.0, "low_j": 8.0, "high_j": 12.0}
    assert figures(worker_result(0.1, energy=energy, inferences=5), side="base")["energy_j"] == 2.0


def test_energy_is_told_with_its_band_and_provenance(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    energy = {"energy_j": 10.0, "low_j": 5.0, "high_j": 20.0, "boundary": "package", "method": "modelled"}
    result = worker_result(SECONDS, energy={**energy, "provenance": "assumed"}, inferences=10)
    monkeypatch.setattr(Duet, "_process", lambda *_: result)
    (told,) = [item for item in stage.gate().cells[0].shown if item.metric == "energy_per_inference"]
    assert (told.head.value, told.head.low, told.head.high) == (1.0, 0.5, 2.0)
    assert told.head.provenance == told.change.provenance == "assumed"
    assert told.change.value == 1.0


def test_a_tail_is_told_where_all_queries_together_are_enough_for_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def process(side: Side, one: SideCell, index: int, folder: Path) -> dict[str, Any]:
        queries = np.full(16, SECONDS * (2.0 if side.label == "head" else 1.0))
        result = worker_result(SECONDS, latencies_s=queries)
        return {**result, "values": {**result["values"], "latency_p90": queries[0], "latency_p99": queries[0]}}

    monkeypatch.setattr(Duet, "_process", staticmethod(process))
    result = stage.gate(budgets={"p90": "30ms", "p99": "1s"})
    told = {item.metric: item for item in result.cells[0].shown}
    assert told["latency_p90"].base.n == 20 * 16 and told["latency_p90"].change.value == 2.0
    assert told["latency_p99"].base.value is None and "p99 needs 662" in str(told["latency_p99"].base.why_null)
    assert _layers(result)["budget latency_p90"] is Verdict.REGRESSED
    assert _layers(result)["budget latency_p99"] is Verdict.INCOMPARABLE


def test_the_result_is_kept_whole(stage: Stage, tmp_path: Path) -> None:
    result = stage.gate(out=tmp_path / "out")
    assert GateResult.model_validate_json((tmp_path / "out" / GATE_FILE).read_text(encoding="utf-8")) == result


def test_the_summary_and_the_annotations_name_every_finding(stage: Stage) -> None:
    stage.reports["head"] = report(side_cell(wrong=30), notices=(Notice(code="data", message="few"),))
    result = stage.gate()
    text = summary(result)
    assert text.startswith("## leptonbench gate: regressed\n")
    assert "| quality | quality | regressed |" in text and "- data: few" in text
    (line,) = annotation_lines(result)
    assert line.startswith("::error title=leptonbench%3A quality regressed::inspection--fp32")
    assert "\n" not in line


def test_a_side_that_cannot_be_asked_names_its_leptonbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the real child: a folder that hides leptonbench from it stands for a commit without the gate."""
    write(tmp_path / "tree" / "leptonbench" / "__init__.py", "")
    config = GateConfig()
    side = Side("base", "v0", "ref", config, environment={"PYTHONPATH": str(tmp_path / "tree")}, cwd=tmp_path / "tree")
    gate = Gate(GateRequest("v0", "HEAD", config), side, side, None, Told())
    with pytest.raises(MeasurementError, match="cannot be asked for a gate") as caught:
        gate.prepare(side, tmp_path / "scratch")
    assert "No module named" in caught.value.cause
