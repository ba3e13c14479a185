"""LoadGen over a system that computes nothing: `python -m tests.null_system` with settings as JSON on stdin.

LoadGen allows one run a process, so each test of it runs this in a process of its own.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leptonbench.harness.loadgen import BatchSystem, Failures, LoadSettings, StreamSystem, System, run_loadgen
from leptonbench.schema import Scenario


def main(wanted: dict[str, Any]) -> dict[str, Any]:
    """Run LoadGen once; return what came of it and the batches that the system was given."""
    take_s, fail_at = wanted.pop("take_s", 0.0), wanted.pop("fail_at", None)
    max_batch, instances = wanted.pop("max_batch", 4), wanted.pop("instances", 1)
    settings = LoadSettings(
        **{**wanted, "scenario": Scenario(wanted["scenario"]), "folder": Path(wanted["folder"]), "seed": 3}
    )
    batches: list[list[int]] = []
    lock = threading.Lock()

    def run(positions: Sequence[int]) -> None:
        with lock:
            batches.append(list(positions))
            count = len(batches)
        if count == fail_at:
            raise ValueError("the system broke")
        if take_s:
            time.sleep(take_s)

    failures = Failures()
    system: System
    if settings.scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM):
        system = StreamSystem(run, failures)
    else:
        system = BatchSystem([run] * instances, failures, max_batch=max_batch, max_wait_s=0.0)
    try:
        loaded = run_loadgen(system, settings, sample_count=16, failures=failures)
    except ValueError as error:
        return {"raised": str(error), "batches": batches}
    return {
        "valid": loaded.valid,
        "reasons": loaded.reasons,
        "values": loaded.values,
        "latencies_s": loaded.latencies_s.tolist(),
        "log": loaded.log,
        "batches": batches,
    }


if __name__ == "__main__":
    json.dump(main(json.load(sys.stdin)), sys.stdout)
