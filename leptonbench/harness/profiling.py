"""Where the engine of a timed cell spends its time, in the process that was timed and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leptonbench.backends.profile import Profiled
from leptonbench.harness.bench import open_session
from leptonbench.harness.jobs import WorkerJob
from leptonbench.schema import Notice, Scenario
from leptonbench.tasks import Arrays

_SAMPLES = 10  # inferences behind a profile


def wants_profile(job: WorkerJob) -> bool:
    """Say whether this round is profiled: a cell's first, and one sample at a time, which is what a profile runs."""
    return job.round_index == 0 and job.cell.scenario is Scenario.SINGLE_STREAM


def profile(job: WorkerJob, samples: Sequence[Arrays], result: dict[str, Any]) -> None:
    """Ask an engine that can tell where its time goes, in a session of its own that is never timed.

    Every cell of a run is profiled in its first round, so that two profiles are as close in time as two timings.

    Args:
        job: Of the worker.
        samples: Encoded, as the engine names them.
        result: Gets `profile`, or a notice where there is none.
    """
    try:
        session, _ = open_session(job, profile=True)
        if isinstance(session, Profiled):
            result["profile"] = session.profile(samples[:_SAMPLES]).as_json()
            return
        words = f"{job.cell.backend} does not tell where the time of this model goes"
    except Exception as error:  # the timings are sound without it, and only the causes will know less
        words = f"the engine could not be profiled: {type(error).__name__}: {error}".splitlines()[0]
    notice = Notice(code="no-profile", message=words, hint="causes that need a profile are not looked for")
    result["notices"].append(notice)
