"""What the user sets of queue, engine and target: in the cells, in their keys, or a reason why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leptonbench.harness.plan import RunPlan, plan_run
from leptonbench.harness.request import LatencyTarget, Overrides, RunRequest
from leptonbench.harness.system import cores_available
from leptonbench.report.naming import Namer, repeat_command
from leptonbench.schema import CellSpec, EngineOptions, Scenario, SuiteSpec
from leptonbench.stats.early_stopping import minimum_queries
from tests.harness_factory import cell, suite
from tests.report_factory import make_run
from tests.tiny import suite_text


def _plan(
    folder: Path,
    *,
    scenarios: tuple[str, ...] = ("server",),
    backends: tuple[str, ...] = ("onnxruntime",),
    **asked: Any,
) -> RunPlan:
    path = folder / "suite.yaml"
    path.write_text(suite_text(backends=backends, variants=("fp32",), scenarios=scenarios), encoding="utf-8")
    threads = asked.pop("threads", None)
    request = RunRequest(suite=str(path), model="some/model", threads=threads, overrides=Overrides(**asked))
    return plan_run(request, make_run()[0].fingerprint)


def test_without_overrides_a_cell_keeps_its_key(tmp_path: Path) -> None:
    (planned,) = _plan(tmp_path, threads=2).cells
    assert planned.key == "inspection--fp32--onnxruntime--host-cpu--server--b2-t2-i1"
    assert planned.group == "inspection--fp32--onnxruntime--host-cpu--t2"


def test_what_is_set_is_in_the_cell_its_key_and_its_scenario(tmp_path: Path) -> None:
    engine = EngineOptions(graph_optimisation="basic", arena=False, io_binding=True)
    plan = _plan(tmp_path, threads=1, instances=2, max_batch=8, max_wait_s=0.004, engine=engine)
    (planned,) = plan.cells
    assert planned.key.endswith("--b8-t1-i2--wait-4ms--graph-basic--no-arena--io-binding")
    assert planned.group.endswith("--t1--graph-basic--no-arena--io-binding")
    assert planned.options == engine
    spec = plan.scenario(planned)
    assert (spec.max_batch, spec.max_wait_s) == (8, 0.004)


def test_a_wait_that_is_the_suites_own_makes_no_other_cell(tmp_path: Path) -> None:
    (usual,) = _plan(tmp_path).cells
    (asked,) = _plan(tmp_path, max_wait_s=_plan(tmp_path).suite.scenarios[0].max_wait_s).cells
    assert asked == usual


def test_instances_share_the_cores_unless_threads_are_given(tmp_path: Path) -> None:
    (shared,) = _plan(tmp_path, instances=2).cells
    assert shared.threads == max(1, cores_available() // 2)
    (given,) = _plan(tmp_path, instances=2, threads=3).cells
    assert given.threads == 3


def test_more_threads_than_cores_are_told(tmp_path: Path) -> None:
    plan = _plan(tmp_path, instances=2, threads=cores_available())
    assert "oversubscribed" in {notice.code for notice in plan.notices}
    assert "oversubscribed" not in {notice.code for notice in _plan(tmp_path, instances=1).notices}


@pytest.mark.parametrize(
    ("kind", "asked", "words"),
    [
        ("single-stream", {"instances": 2}, "--instances would change nothing"),
        ("single-stream", {"max_batch": 4, "max_wait_s": 0.01}, "--max-batch and --max-wait would change nothing"),
        ("multi-stream", {"max_batch": 4}, "--max-batch would change nothing"),
        ("offline", {"max_wait_s": 0.01}, "--max-wait would change nothing"),
    ],
)
def test_a_scenario_without_a_queue_refuses_its_settings(
    tmp_path: Path, kind: str, asked: dict[str, Any], words: str
) -> None:
    plan = _plan(tmp_path, scenarios=(kind,), **asked)
    assert plan.cells == ()
    (skipped,) = plan.skipped
    assert skipped.reason is not None
    assert words in skipped.reason.message
    assert skipped.reason.hint


def test_offline_takes_batches_and_instances(tmp_path: Path) -> None:
    plan = _plan(tmp_path, scenarios=("offline",), max_batch=16, instances=2)
    (planned,) = plan.cells
    assert plan.scenario(planned).max_batch == 16
    assert planned.instances == 2


def test_an_engine_that_lacks_an_option_skips_its_cells_with_the_reason(tmp_path: Path) -> None:
    plan = _plan(tmp_path, backends=("onnxruntime", "openvino", "torch"), engine=EngineOptions(arena=False))
    assert {c.backend for c in plan.cells} == {"onnxruntime"}
    reasons = {r.cell.backend: r.reason.message for r in plan.skipped if r.reason}
    assert "arena" in reasons["openvino"]
    assert "arena" in reasons["torch"]


@pytest.mark.parametrize("percentile", [0.5, 0.95, 0.99, 0.999])
def test_a_latency_target_replaces_the_suites_and_asks_for_queries_enough(tmp_path: Path, percentile: float) -> None:
    plan = _plan(
        tmp_path, scenarios=("single-stream", "server"), slo=LatencyTarget(percentile=percentile, seconds=0.02)
    )
    assert (plan.suite.latency_target_s, plan.suite.latency_percentile) == (0.02, percentile)
    assert plan.suite.target_s("inspection") == 0.02
    by_kind = {spec.kind: spec for spec in plan.suite.scenarios}
    server = by_kind[Scenario.SERVER]
    assert server.percentile == percentile
    assert server.min_queries >= minimum_queries(percentile, 1)
    assert by_kind[Scenario.SINGLE_STREAM].percentile == 0.9
    assert SuiteSpec.model_validate(plan.suite.model_dump()) == plan.suite, "a stored suite can be read again"


def test_labels_and_the_command_that_repeats_a_cell_say_what_was_set() -> None:
    manifest, _ = make_run()
    plain = cell(scenario="server", threads=2, batch=4)
    changed = plain.model_copy(
        update={"threads": 1, "instances": 2, "max_wait_s": 0.005, "options": EngineOptions(io_binding=True)}
    )
    alone = Namer([changed])
    assert alone.short(changed) == "fp32 · onnxruntime · wait-5ms io-binding"
    server = suite(scenarios=({"kind": "server", "max_batch": 4},), name="manufacturing")
    overrides = Overrides(slo=LatencyTarget(percentile=0.99, seconds=0.02)).model_dump(mode="json")
    effective = manifest.settings.effective | {"overrides": overrides}
    manifest = manifest.model_copy(
        update={"suite": server, "settings": manifest.settings.model_copy(update={"effective": effective})}
    )
    words = repeat_command(manifest, changed)
    assert words.endswith("--scenario server --threads 1 --instances 2 --max-wait 5ms --io-binding --slo p99=20ms")
    assert repeat_command(manifest, plain).endswith("--scenario server --slo p99=20ms")


def test_a_cell_of_an_older_record_has_the_defaults() -> None:
    stored = cell().model_dump(mode="json")
    del stored["options"], stored["max_wait_s"]
    assert CellSpec.model_validate(stored) == cell()
