"""A search looks only where the answers are good enough: backends are held against their floors before any probe."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from leptonbench.errors import MeasurementError
from leptonbench.harness import floors as module
from leptonbench.harness.floors import Floors, judge, of_variant
from leptonbench.harness.jobs import Score, WorkerJob
from leptonbench.harness.plan import plan_run
from leptonbench.harness.request import LatencyTarget, Overrides, RunRequest, Silent
from leptonbench.harness.tune import Tuner
from leptonbench.harness.tuning import TuneRequest
from leptonbench.schema import Reason
from leptonbench.tasks.top1 import Top1
from tests.harness_factory import QUALITY, score
from tests.report_factory import make_run
from tests.tiny import suite_text

TRUTH = [i % 3 for i in range(1000)]
VARIANT = "int8-static"


def _answers(wrong: int) -> list[int]:
    return [(label + 1) % 3 if number < wrong else label for number, label in enumerate(TRUTH)]


def _scored(wrong: int, group: str = "variant") -> Score:
    return score(_answers(wrong), TRUTH, group=group)


@pytest.mark.parametrize(
    ("wrong", "base", "meets", "words"),
    [
        (20, _scored(15, "fp32"), True, "by -0.0050 and may by -0.0099"),
        (40, _scored(15, "fp32"), False, "by -0.0250 and may by -0.0099"),
        (150, _scored(145, "fp32"), False, "top-1 is 0.85 and must be 0.9"),
        (20, "fp32 crashed", None, "how much of fp32's top-1 it keeps is unknown: fp32 crashed"),
        (150, "fp32 crashed", False, "top-1 is 0.85 and must be 0.9"),
    ],
)
def test_answers_are_held_against_both_floors(wrong: int, base: Score | str, meets: bool | None, words: str) -> None:
    found = judge(_scored(wrong), base, metric=Top1(), quality=QUALITY, relative_floor=0.99)
    assert found.meets is meets
    assert words in found.words


def test_fp32_itself_has_the_workloads_floor_only() -> None:
    fp32 = _scored(20, "fp32")
    assert judge(fp32, fp32, metric=Top1(), quality=QUALITY, relative_floor=0.99).meets is True


class Scored:
    """Stand in for the scores: wrong answers by variant and backend; what is no number is no score."""

    def __init__(self, wrong: dict[tuple[str, str], int | Reason | None]) -> None:
        self.wrong = wrong
        self.jobs: list[WorkerJob] = []

    def __call__(self, ask: Any) -> Score | Reason | None:
        job = ask.job
        self.jobs.append(job)
        found = self.wrong[job.cell.variant, job.cell.backend]
        return _scored(found, job.cell.group) if isinstance(found, int) else found


class Job(SimpleNamespace):
    """A worker's job, as far as it is looked at."""

    def model_copy(self, *, update: dict[str, Any]) -> Job:
        return Job(**vars(self) | update)


def _tuner(folder: Path, *, left_s: float = 100.0) -> Tuner:
    path = folder / "suite.yaml"
    backends = ("onnxruntime", "openvino")
    text = suite_text(backends=backends, variants=(VARIANT,), scenarios=("server",))
    path.write_text(text, encoding="utf-8")
    slo = LatencyTarget(percentile=0.9, seconds=0.1)
    asked = RunRequest(
        suite=str(path), model="some/model", filters={"variant": (VARIANT, "fp32")}, overrides=Overrides(slo=slo)
    )
    plan = plan_run(asked, make_run()[0].fingerprint)
    run: Any = SimpleNamespace(
        plan=plan,
        progress=Silent(),
        scores={},
        budget=SimpleNamespace(until_s=lambda share: left_s),
        job=lambda cell, **fields: Job(cell=cell, score_limit_s=math.inf, **fields),
        score_timeout_s=lambda cell, samples: 1.0,
        pantry=SimpleNamespace(
            prepared={"inspection": SimpleNamespace(data_sha256="0")},
            refusal=lambda cell: None,
            task=lambda name: SimpleNamespace(metric=Top1()),
        ),
    )
    return Tuner(TuneRequest(workload="inspection", variant=VARIANT, slo=slo), run)


def _replace(monkeypatch: pytest.MonkeyPatch, **wrong: int | Reason | None) -> Scored:
    names = {"variant": VARIANT, "fp32": "fp32"}
    keys = {name: tuple(name.split("_")) for name in wrong}
    found = Scored({(names[what], backend): wrong[name] for name, (what, backend) in keys.items()})
    monkeypatch.setattr(module, "score_group", found)
    return found


def test_a_backend_below_the_floor_is_not_searched_and_the_reason_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _replace(monkeypatch, variant_onnxruntime=40, fp32_onnxruntime=15, variant_openvino=16, fp32_openvino=15)
    tuner = _tuner(tmp_path)
    assert tuner.good_enough(["onnxruntime", "openvino"]) == ["openvino"]
    assert "its quality is below the floor: " in tuner.scout.not_tried["onnxruntime"]
    assert "-0.0250" in tuner.scout.not_tried["onnxruntime"]


def test_each_backend_is_held_against_fp32_on_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _replace(monkeypatch, variant_onnxruntime=30, fp32_onnxruntime=25, variant_openvino=30, fp32_openvino=5)
    assert _tuner(tmp_path).good_enough(["onnxruntime", "openvino"]) == ["onnxruntime"]


def test_a_backend_that_cannot_be_scored_is_not_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    crash = Reason(code="crash", message="signal 11", hint="")
    _replace(monkeypatch, variant_onnxruntime=crash, fp32_onnxruntime=5, variant_openvino=5, fp32_openvino=5)
    tuner = _tuner(tmp_path)
    assert tuner.good_enough(["onnxruntime", "openvino"]) == ["openvino"]
    assert tuner.scout.not_tried == {"onnxruntime": "it could not be scored: signal 11"}


def test_where_every_backend_is_below_its_floor_nothing_is_searched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _replace(monkeypatch, variant_onnxruntime=40, fp32_onnxruntime=5, variant_openvino=40, fp32_openvino=5)
    with pytest.raises(MeasurementError) as caught:
        _tuner(tmp_path).good_enough(["onnxruntime", "openvino"])
    assert "no backend keeps the quality" in caught.value.message
    assert "openvino: its quality is below the floor" in caught.value.cause
    assert caught.value.hint


def test_what_the_budget_did_not_score_is_searched_and_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _replace(monkeypatch, variant_onnxruntime=None, fp32_onnxruntime=None)
    tuner = _tuner(tmp_path, left_s=0.0)
    assert tuner.good_enough(["onnxruntime"]) == ["onnxruntime"]
    found = tuner.floors.judgements["onnxruntime"]
    assert (found.meets, found.words) == (None, "the budget left no time to score it")


def test_the_time_for_scoring_is_shared_by_what_is_left_to_score(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = _replace(monkeypatch, variant_onnxruntime=5, fp32_onnxruntime=5, variant_openvino=5, fp32_openvino=5)
    _tuner(tmp_path, left_s=60.0).good_enough(["onnxruntime", "openvino"])
    assert [job.score_limit_s for job in found.jobs] == [15.0, 20.0, 30.0, 60.0]


def test_a_winner_with_settings_of_its_own_is_held_against_its_backends_fp32(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _replace(monkeypatch, variant_onnxruntime=16, fp32_onnxruntime=15)
    tuner = _tuner(tmp_path)
    tuner.good_enough(["onnxruntime"])
    usual = tuner.usual("onnxruntime")
    cell = tuner.scout.cell(usual._replace(engine=usual.engine._replace(threads=1, instances=2)))
    tuner.floors.lend([cell])
    base = cell.model_copy(update={"variant": "fp32"}).group
    assert tuner.run.scores[base].quality.value == pytest.approx(0.985)
    assert tuner.floors.judged(cell, _scored(40, cell.group)).meets is False


def test_fp32_is_prepared_and_scored_but_no_part_of_the_search(tmp_path: Path) -> None:
    tuner = _tuner(tmp_path)
    assert {cell.variant for cell in tuner.plan.cells} == {VARIANT}
    assert tuner.plan.suite.variants == (VARIANT,)
    assert isinstance(tuner.floors, Floors)
    assert sorted(tuner.floors.baselines) == ["onnxruntime", "openvino"]
    assert of_variant(tuner.plan, VARIANT) == tuner.plan
