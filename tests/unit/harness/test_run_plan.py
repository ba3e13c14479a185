"""Which cells are run, which are skipped and why, and what a budget leaves of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from leptonbench.errors import PrerequisiteError, UsageError
from leptonbench.harness.budget import fit_budget, groups_by_importance, round_estimate_s
from leptonbench.harness.plan import RunPlan, plan_run
from leptonbench.harness.request import RunRequest
from leptonbench.schema import Fingerprint, Scenario, Status
from tests.harness_factory import cell, suite
from tests.report_factory import make_run
from tests.tiny import suite_text

ENGINES = ("torch", "torch-compile", "onnxruntime", "openvino")
VARIANTS = ("fp32", "bf16", "int8-dynamic", "int8-static")


def _machine(*flags: str) -> Fingerprint:
    found = make_run()[0].fingerprint
    return found.model_copy(update={"identity": found.identity.model_copy(update={"cpu_flags": flags})})


@pytest.fixture
def text() -> str:
    return suite_text(backends=ENGINES, variants=VARIANTS, scenarios=("single-stream", "server"))


def _plan(folder: Path, text: str, *flags: str, model: str | None = "some/model", **request: object) -> RunPlan:
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return plan_run(RunRequest(suite=str(path), model=model, **request), _machine(*flags))  # type: ignore[arg-type]


def _skipped(plan: RunPlan) -> dict[tuple[str, str], str]:
    """Return why cells are skipped, by variant and backend."""
    return {(r.cell.variant, r.cell.backend): r.reason.message for r in plan.skipped if r.reason is not None}


def test_every_cell_of_the_matrix_is_either_run_or_skipped(tmp_path: Path, text: str) -> None:
    plan = _plan(tmp_path, text)
    assert len(plan.cells) + len(plan.skipped) == len(ENGINES) * len(VARIANTS) * 2
    assert len({c.key for c in plan.cells} | {r.cell.key for r in plan.skipped}) == len(ENGINES) * len(VARIANTS) * 2
    assert all(record.status is Status.SKIPPED for record in plan.skipped)


def test_a_skipped_cell_says_why_and_what_would_help(tmp_path: Path, text: str) -> None:
    plan = _plan(tmp_path, text)
    assert all(r.reason and r.reason.code == "unsupported" and r.reason.hint for r in plan.skipped)
    why = _skipped(plan)
    assert "ONNX graph" in why["int8-static", "torch"]
    assert "dynamic quantisation" in why["int8-dynamic", "openvino"]
    assert "no bf16 kernels" in why["bf16", "onnxruntime"]


@pytest.mark.parametrize("engine", ["torch", "torch-compile", "openvino"])
def test_bf16_needs_a_cpu_that_has_it(tmp_path: Path, text: str, engine: str) -> None:
    """Without the instructions engines emulate it or run fp32: the label would lie."""
    assert "no bf16 instructions" in _skipped(_plan(tmp_path, text, "avx2"))["bf16", engine]
    assert ("bf16", engine) not in _skipped(_plan(tmp_path, text, "avx2", "avx512_bf16"))


def test_an_onnx_model_leaves_the_engines_and_the_steps_that_want_a_module(tmp_path: Path, text: str) -> None:
    """On a CPU with bf16 OpenVINO itself would run bf16; the cast before it is what an ONNX file cannot take."""
    plan = _plan(tmp_path, text, "avx512_bf16", model="own.onnx")
    assert {c.backend for c in plan.cells} == {"onnxruntime", "openvino"}
    assert {c.variant for c in plan.cells} == {"fp32", "int8-dynamic", "int8-static"}
    assert "does not load ONNX" in _skipped(plan)["fp32", "torch"]
    assert "`cast` changes a PyTorch module" in _skipped(plan)["bf16", "openvino"]


def test_a_suite_leaves_out_what_it_says_with_its_reason(tmp_path: Path, text: str) -> None:
    rule = "exclude:\n  - {backend: onnxruntime, scenario: server, reason: too slow}\n"
    plan = _plan(tmp_path, text + rule)
    left_out = [r for r in plan.skipped if r.reason is not None and r.reason.code == "excluded"]
    assert {(r.cell.backend, r.cell.scenario.value) for r in left_out} == {("onnxruntime", "server")}
    assert len(left_out) == 3, "the bf16 cell is unsupported, which is said first"
    assert all(r.reason is not None and "too slow" in r.reason.message for r in left_out)


def test_filters_keep_only_what_they_name(tmp_path: Path, text: str) -> None:
    filters = {"variant": ("fp32",), "backend": ("onnxruntime", "torch"), "scenario": ("server",)}
    plan = _plan(tmp_path, text, filters=filters)
    assert {(c.variant, c.backend, c.scenario.value) for c in plan.cells} == {
        ("fp32", "onnxruntime", "server"),
        ("fp32", "torch", "server"),
    }
    assert plan.skipped == ()


def test_a_filter_may_name_what_the_suite_leaves_out(tmp_path: Path, text: str) -> None:
    plan = _plan(tmp_path, text, filters={"scenario": ("offline",), "backend": ("onnxruntime",)})
    assert {c.scenario.value for c in plan.cells} == {"offline"}
    assert plan.scenario(plan.cells[0]).max_batch == 1


def test_a_scenario_that_the_suite_has_keeps_the_suites_settings(tmp_path: Path, text: str) -> None:
    plan = _plan(tmp_path, text, filters={"scenario": ("server",)})
    assert plan.scenario(plan.cells[0]).min_queries == 16
    assert {c.batch for c in plan.cells} == {2}


def test_rounds_duration_and_threads_can_be_overridden(tmp_path: Path, text: str) -> None:
    plan = _plan(tmp_path, text, rounds=5, duration_s=0.7, threads=7)
    assert (plan.suite.rounds, plan.suite.duration_s) == (5, 0.7)
    assert {c.threads for c in plan.cells} == {7}
    assert (plan.summary().rounds, plan.summary().duration_s) == (5, 0.7)


def test_two_rounds_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="--rounds 2 is too few"):
        _plan(tmp_path, text, rounds=2)


@pytest.mark.parametrize(
    ("axis", "name"),
    [("backend", "onnx-runtime"), ("variant", "int9-static"), ("scenario", "servers"), ("device", "host")],
)
def test_an_unknown_name_is_refused(tmp_path: Path, text: str, axis: str, name: str) -> None:
    with pytest.raises(UsageError, match=f"unknown {axis} `{name}`"):
        _plan(tmp_path, text, filters={axis: (name,)})


def test_an_unknown_executor_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="unknown executor `cloud`"):
        _plan(tmp_path, text, executor="cloud")


def test_a_workload_whose_own_model_is_missing_says_so(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leptonbench import catalog

    spec, _ = catalog.load_workload("inspection")
    monkeypatch.setattr(catalog, "load_workload", lambda name: (spec, tmp_path / "inspection"))
    with pytest.raises(PrerequisiteError, match="the model of workload `inspection` is missing"):
        _plan(tmp_path, text, model=None)


def test_the_quality_floor_is_the_workloads_own_models(tmp_path: Path, text: str) -> None:
    plan = _plan(tmp_path, text)
    (workload,) = plan.workloads
    assert workload.spec.quality.floor == 0.0
    assert workload.spec.quality.relative_floor == 0.99
    assert [notice.code for notice in plan.notices] == ["own-model"]


def test_more_work_is_estimated_to_take_longer(tmp_path: Path, text: str) -> None:
    few = _plan(tmp_path, text, filters={"variant": ("fp32",)}).estimate_s()
    assert 0 < few < _plan(tmp_path, text).estimate_s()
    assert round_estimate_s(cell(), suite()) < round_estimate_s(cell(scenario="server"), suite())


SCENARIOS = ("single-stream", "offline", "server")
FULL = suite(scenarios=tuple({"kind": kind} for kind in SCENARIOS), duration_s=2.0)
CELLS = tuple(cell(scenario=kind) for kind in SCENARIOS)


def _needed(duration_s: float, count: int = 3) -> float:
    shorter = FULL.model_copy(update={"duration_s": duration_s})
    return sum(round_estimate_s(c, shorter) for c in CELLS[:count])


@pytest.mark.parametrize(
    ("left_s", "kept", "duration_s"),
    [
        (_needed(2.0), 3, 2.0),
        (_needed(2.0) - 0.1, 3, 1.0),
        (_needed(1.0) - 0.1, 2, 2.0),
        (_needed(2.0, 2) - 0.1, 2, 1.0),
        (_needed(1.0, 2) - 0.1, 1, 2.0),
        (_needed(2.0, 1) - 0.1, 1, 1.0),
        (0.0, 1, 1.0),
    ],
)
def test_a_budget_shortens_windows_then_drops_scenarios_from_the_last(
    left_s: float, kept: int, duration_s: float
) -> None:
    cells, dropped, window_s = fit_budget(CELLS, FULL, left_s=left_s)
    assert cells == CELLS[:kept]
    assert sorted(c.key for c in (*cells, *dropped)) == sorted(c.key for c in CELLS)
    assert window_s == duration_s


@pytest.mark.parametrize(("given_s", "shortest_s"), [(2.0, 1.0), (0.8, 0.5), (0.3, 0.3)])
def test_a_budget_never_lengthens_a_window_nor_cuts_it_below_half_a_second(given_s: float, shortest_s: float) -> None:
    *_, window_s = fit_budget(CELLS, FULL.model_copy(update={"duration_s": given_s}), left_s=0.0)
    assert window_s == shortest_s


def test_groups_are_scored_in_the_suites_order_whatever_their_scenarios() -> None:
    """A group with a server cell beside its stream is no less important than one without."""
    given = suite(
        variants=("fp32", "int8-static", "share16"),
        backends=("onnxruntime", "openvino"),
        scenarios=({"kind": "single-stream"}, {"kind": "server"}),
    )
    both = [
        cell(variant, backend, kind)
        for kind in ("server", "single-stream")
        for variant in ("int8-static", "fp32")
        for backend in ("openvino", "onnxruntime")
    ]
    groups = groups_by_importance([cell("share16"), *both], given)
    assert [(c.variant, c.backend) for c in groups.values()] == [
        ("fp32", "onnxruntime"),
        ("fp32", "openvino"),
        ("int8-static", "onnxruntime"),
        ("int8-static", "openvino"),
        ("share16", "onnxruntime"),
    ]
    assert {c.scenario for c in groups.values()} == {Scenario.SINGLE_STREAM}


def test_boards_run_the_accelerator_and_this_machine_the_engines(tmp_path: Path, text: str) -> None:
    devices = "devices: [host-cpu, kv260, ulx3s-85f]\n"
    plan = _plan(tmp_path, text.replace("backends: [", "backends: [fpga, ") + devices)
    pairs = {(c.backend == "fpga", c.device) for c in plan.cells} | {
        (r.cell.backend == "fpga", r.cell.device) for r in plan.skipped
    }
    assert pairs == {(False, "host-cpu"), (True, "kv260"), (True, "ulx3s-85f")}
    simulated = [c for c in plan.cells if c.backend == "fpga"]
    assert {c.variant for c in simulated} == {"int8-static"}
    assert {c.batch for c in simulated} == {1}
    assert {plan.board(c).name for c in simulated} == {"kv260", "ulx3s-85f"}
    assert "fixed beforehand" in _skipped(plan)["fp32", "fpga"]


@pytest.mark.parametrize("device", [("host-cpu",), ()])
def test_the_accelerator_needs_a_board(tmp_path: Path, text: str, device: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="`fpga` does not run on `host-cpu`"):
        _plan(tmp_path, text, filters={"backend": ("fpga",), "device": device})


def test_an_engine_does_not_run_on_a_board(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="does not run on `kv260`"):
        _plan(tmp_path, text, filters={"backend": ("onnxruntime",), "device": ("kv260",)})
