"""What a worker says of an engine that works and is too slow: not that the engine declined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leptonbench.harness import worker
from leptonbench.harness.jobs import JOB_FILE, RESULT_FILE, WorkerJob, WorkerResult, write_message
from tests.harness_factory import artifact, cell, scenario, task
from tests.report_factory import make_run


def _job(out: Path) -> WorkerJob:
    return WorkerJob.model_validate(
        {
            "mode": "performance",
            "cell": cell(scenario="server"),
            "scenario": scenario("server"),
            "artifact": artifact(),
            "task": task(None, None),
            "round_index": 0,
            "duration_s": 1.0,
            "seed": 0,
            "latency_target_s": 0.1,
            "out": str(out),
            "cache": str(out),
            "features": (),
            "device": make_run()[0].devices[0],
            "device_matched": False,
        }
    )


def test_an_engine_slower_than_the_target_has_a_reason_and_a_hint_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker, "time_together", lambda benches, size, **_: [0.5] * 3)

    def calibrate(job: WorkerJob, result: dict[str, Any]) -> None:
        worker.calibrate(job, [], result)

    write_message(tmp_path / JOB_FILE, _job(tmp_path))
    worker.work(tmp_path, {"performance": calibrate})
    found = WorkerResult.model_validate_json((tmp_path / RESULT_FILE).read_text(encoding="utf-8"))
    assert found.error_code == "target-unreachable"
    assert found.error is not None
    assert "a batch of 1 takes 0.5 s, the target is 0.1 s" in found.error.cause
    assert "--slo" in found.error.hint
