"""Answer the evaluation samples, untimed: the quality of a group of cells."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from leptonbench.harness.bench import check_finite, open_session, timed_indices
from leptonbench.harness.feed import build_task, named_for
from leptonbench.harness.jobs import SCORE_FLOOR, WorkerJob
from leptonbench.tasks import Split


def score(job: WorkerJob, result: dict[str, Any]) -> None:
    """Answer the evaluation samples once each, in the engine and with the settings that are timed."""
    session, _ = open_session(job)
    result["effective"] = session.effective()
    task = build_task(job.task)
    samples = task.samples(Split.EVALUATION)
    if job.artifact is None:
        raise ValueError("a cell that is scored has an artifact")
    answers: list[Any] = []
    indices = timed_indices(job, len(samples))
    limit_s = float("inf") if job.score_limit_s is None else job.score_limit_s
    times: list[float] = []
    started = time.perf_counter()
    for index in indices:
        if len(answers) >= SCORE_FLOOR and time.perf_counter() - started > limit_s:
            break
        sample = named_for(task.encode(samples.raw(index)), job.artifact.inputs)
        begun = time.perf_counter()
        outputs = session.run(sample)
        times.append(time.perf_counter() - begun)
        check_finite(outputs)
        answers.extend(task.decode(outputs))
    result["cut_short"] = len(answers) < len(indices)
    result["values"]["sample_s"] = float(np.mean(times))
    indices = indices[: len(answers)]
    targets = [samples.target(index) for index in indices]
    result["quality"] = task.metric.quality(answers, targets)
    result["answers"] = dict(zip(indices, answers, strict=True))
    result["targets"] = dict(zip(indices, targets, strict=True))
    result["inferences"] = len(answers)
    session.close()
