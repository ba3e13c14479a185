"""What LoadGen and Python add to a query: a system under test that answers at once, in fresh worker processes."""

from __future__ import annotations

from benchmarks.common import of_interval, one_cell, options, tell
from leptonbench.harness.children import run_worker, scratch_folder

GOAL_US = 5.0


def main() -> None:
    """Measure and tell."""
    chosen = options(main.__doc__ or "", processes=10)
    overheads_us, queries = [], 0
    with one_cell("fp32", "onnxruntime", model=chosen.model) as (run, cell):
        for _ in range(chosen.processes):
            with scratch_folder() as folder:
                result, ended = run_worker(run.job(cell, mode="null", out=folder), timeout_s=60)
            if result is None or result.error is not None:
                raise SystemExit(f"the worker ended with {ended.code}: {ended.message} {ended.stderr}")
            overheads_us.append(result.values["latency_mean"] * 1e6)
            queries += result.queries
    tell(
        "null_system",
        [of_interval("overhead per query", overheads_us, "us", goal=GOAL_US)],
        per_process_us=overheads_us,
        queries=queries,
    )


if __name__ == "__main__":
    main()
