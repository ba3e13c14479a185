"""Scores are kept by everything that they depend on, and failures are not kept at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leptonbench.errors import MeasurementError, UsageError
from leptonbench.harness import scoring
from leptonbench.harness.jobs import Failure, Score, WorkerJob, WorkerResult
from leptonbench.harness.process import Ended
from leptonbench.schema import Provenance, Quantity, Reason
from tests.harness_factory import artifact, cell, scenario, task
from tests.report_factory import make_run

QUALITY = Quantity(value=0.75, unit="1", provenance=Provenance.MEASURED, name="top-1", method="3 of 4")
ANSWERED = WorkerResult(
    quality=QUALITY, answers={0: 1, 7: 2}, targets={0: 1, 7: 1}, effective={"engine": "one"}, inferences=2
)
ENDED = Ended("ok", "", ("a last line",), 1.0)


class Engine:
    """Stands for the worker process: counts what it is asked, and answers as told."""

    def __init__(self) -> None:
        self.jobs: list[WorkerJob] = []
        self.result: WorkerResult | None = ANSWERED
        self.ended = ENDED

    def __call__(
        self, jobs: Iterable[tuple[WorkerJob, float]], *, at_once: int
    ) -> Iterator[tuple[int, WorkerResult | None, Ended]]:
        for number, (job, _) in enumerate(jobs):
            self.jobs.append(job)
            yield number, self.result, self.ended


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(scoring, "run_workers", made)
    return made


def _job(cache: Path, **changes: Any) -> WorkerJob:
    fields: dict[str, Any] = {
        "mode": "score",
        "cell": cell(),
        "scenario": scenario(),
        "artifact": artifact(),
        "task": task(None, None),
        "round_index": 0,
        "duration_s": 1.0,
        "seed": 0,
        "latency_target_s": 0.1,
        "samples": 4,
        "out": "",
        "cache": str(cache),
        "features": ("avx2",),
        "device": make_run()[0].devices[0],
        "device_matched": False,
    }
    return WorkerJob.model_validate({**fields, **changes})


def _score(job: WorkerJob, data: str = "data") -> Score | Reason | None:
    return scoring.score_group(scoring.Ask(job, data, 1.0))


def test_the_same_is_scored_once(engine: Engine, tmp_path: Path) -> None:
    first, second = _score(_job(tmp_path)), _score(_job(tmp_path))
    assert isinstance(first, Score) and isinstance(second, Score)
    assert len(engine.jobs) == 1
    assert not first.reused
    assert second == first.model_copy(update={"reused": True})
    assert second.answers == {0: 1, 7: 2}, "indices are numbers again"
    assert second.quality == QUALITY


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job.model_copy(update={"artifact": artifact(sha256="1" * 64)}),
        lambda job: job.model_copy(update={"cell": cell(threads=2)}),
        lambda job: job.model_copy(update={"cell": cell(backend="openvino")}),
        lambda job: job.model_copy(update={"features": ("avx2", "avx512_vnni")}),
        lambda job: job.model_copy(update={"samples": 8}),
        lambda job: job.model_copy(update={"seed": 1}),
    ],
    ids=["artifact", "threads", "backend", "features", "samples", "seed"],
)
def test_what_a_score_depends_on_scores_anew(
    engine: Engine, tmp_path: Path, change: Callable[[WorkerJob], WorkerJob]
) -> None:
    _score(_job(tmp_path))
    found = _score(change(_job(tmp_path)))
    assert len(engine.jobs) == 2
    assert isinstance(found, Score) and not found.reused


def test_other_data_score_anew(engine: Engine, tmp_path: Path) -> None:
    _score(_job(tmp_path))
    _score(_job(tmp_path), data="other data")
    assert len(engine.jobs) == 2


def test_another_version_of_the_engine_scores_anew(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _score(_job(tmp_path))
    monkeypatch.setattr(scoring, "package_version", lambda name: "99.0")
    _score(_job(tmp_path))
    assert len(engine.jobs) == 2


def test_another_preprocessing_scores_anew(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{}", encoding="utf-8")
    _score(_job(tmp_path, task=task(tmp_path, None)))
    (tmp_path / "preprocessor_config.json").write_text('{"size": 99}', encoding="utf-8")
    _score(_job(tmp_path, task=task(tmp_path, None)))
    assert len(engine.jobs) == 2


def test_what_a_score_does_not_depend_on_is_not_asked_again(engine: Engine, tmp_path: Path) -> None:
    _score(_job(tmp_path))
    _score(_job(tmp_path, cell=cell(scenario="offline"), scenario=scenario("offline"), duration_s=9.0))
    assert len(engine.jobs) == 1


def test_a_variant_with_the_same_artifact_has_the_score_under_its_own_name(engine: Engine, tmp_path: Path) -> None:
    _score(_job(tmp_path))
    other = cell(variant="a-copy-of-fp32")
    found = _score(_job(tmp_path, cell=other))
    assert len(engine.jobs) == 1
    assert isinstance(found, Score) and found.group == other.group


def test_a_damaged_score_is_made_again(engine: Engine, tmp_path: Path) -> None:
    _score(_job(tmp_path))
    (path,) = (tmp_path / "scores").iterdir()
    path.write_text(path.read_text(encoding="utf-8")[:40], encoding="utf-8")
    found = _score(_job(tmp_path))
    assert len(engine.jobs) == 2
    assert isinstance(found, Score) and not found.reused


def test_a_failure_is_told_and_not_kept(engine: Engine, tmp_path: Path) -> None:
    engine.result, engine.ended = None, Ended("crash", "the process died of SIGSEGV", ("its last line",), 1.0)
    reason = _score(_job(tmp_path))
    assert isinstance(reason, Reason)
    assert (reason.code, reason.message, reason.stderr) == ("crash", "the process died of SIGSEGV", ("its last line",))
    assert reason.hint
    engine.result, engine.ended = ANSWERED, ENDED
    assert isinstance(_score(_job(tmp_path)), Score)


def test_what_the_worker_says_goes_before_how_it_ended(engine: Engine, tmp_path: Path) -> None:
    error = MeasurementError("it cannot be opened", cause="an operator", hint="another engine")
    engine.result = WorkerResult(error=Failure.of(error), error_code="refused")
    assert _score(_job(tmp_path)) == Reason(
        code="refused", message="it cannot be opened: an operator", hint="another engine", stderr=("a last line",)
    )


def test_a_worker_that_leaves_nothing_has_crashed(engine: Engine, tmp_path: Path) -> None:
    engine.result = None
    reason = _score(_job(tmp_path))
    assert isinstance(reason, Reason)
    assert (reason.code, reason.message) == ("crash", "the process left no result")


def test_data_that_cannot_be_read_stop_the_run(engine: Engine, tmp_path: Path) -> None:
    """The user's mistake, which no other cell can avoid either."""
    engine.result = WorkerResult(error=Failure.of(UsageError("a broken image", hint="remove it")), error_code="refused")
    with pytest.raises(UsageError, match="a broken image") as caught:
        _score(_job(tmp_path))
    assert caught.value.hint == "remove it"
