"""LoadGen as the harness drives it: all four scenarios over a system that computes nothing, and its log read back."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mlperf_loadgen as lg
import pytest

from leptonbench.errors import MeasurementError
from leptonbench.harness.loadgen import BatchSystem, Failures, StreamSystem, read_detail

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 120.0
PERCENTILES = {"latency_p50", "latency_p90", "latency_p99", "latency_p999", "latency_mean"}


def _load(folder: Path, scenario: str, *, cwd: Path = ROOT, **settings: Any) -> dict[str, Any]:
    """Run LoadGen in a process of its own."""
    wanted = {
        "scenario": scenario,
        "duration_s": 0.2,
        "min_queries": 100,
        "percentile": 0.9,
        "folder": str(folder / "loadgen"),
        **settings,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.null_system"],
        input=json.dumps(wanted),
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_single_stream_asks_for_one_sample_after_the_other(tmp_path: Path) -> None:
    found = _load(tmp_path, "single-stream", take_s=0.0005, expected_latency_s=0.0005)
    assert found["valid"] and found["reasons"] == []
    assert {len(batch) for batch in found["batches"]} == {1}
    assert len(found["latencies_s"]) == len(found["batches"]) == found["log"]["result_query_count"]
    assert min(found["latencies_s"]) >= 0.0005
    assert set(found["values"]) == PERCENTILES | {"throughput"}
    assert found["values"]["latency_p50"] == pytest.approx(statistics.median(found["latencies_s"]), rel=0.2)
    assert found["log"]["result"] == "VALID"
    assert found["log"]["effective_min_query_count"] == 100
    assert found["log"]["effective_min_duration_ms"] == 200


def test_multi_stream_asks_for_several_samples_at_once(tmp_path: Path) -> None:
    found = _load(tmp_path, "multi-stream", samples_per_query=3, take_s=0.001, expected_latency_s=0.001)
    assert found["valid"], found["reasons"]
    assert {len(batch) for batch in found["batches"]} == {3}
    assert len(found["latencies_s"]) == len(found["batches"])
    assert set(found["values"]) == PERCENTILES | {"throughput"}
    assert found["values"]["throughput"] == pytest.approx(3 / found["values"]["latency_mean"])


def test_server_counts_latency_from_the_scheduled_arrival(tmp_path: Path) -> None:
    wanted = {"target_qps": 2000.0, "min_queries": 800, "percentile": 0.99, "latency_target_s": 2.0}
    found = _load(tmp_path, "server", **wanted, max_batch=4)
    assert found["valid"], found["reasons"]
    assert max(len(batch) for batch in found["batches"]) <= 4
    samples = sum(len(batch) for batch in found["batches"])
    assert len(found["latencies_s"]) == samples == found["log"]["result_query_count"]
    assert found["values"]["latency_p50"] == pytest.approx(statistics.median(found["latencies_s"]), rel=0.01)
    assert set(found["values"]) == PERCENTILES | {"throughput", "completed_rate"}
    assert found["values"]["throughput"] == 2000.0, "the rate that was met, not what the arrivals came to"


def test_a_server_that_is_too_slow_is_invalid_in_loadgens_words(tmp_path: Path) -> None:
    found = _load(tmp_path, "server", target_qps=200.0, latency_target_s=0.002, percentile=0.99, take_s=0.004)
    assert not found["valid"]
    assert found["reasons"]
    assert found["log"]["result"] == "INVALID"
    assert len(found["latencies_s"]) > 0, "what was measured is kept with the verdict"


def test_offline_gives_all_samples_at_once_and_batches_them(tmp_path: Path) -> None:
    found = _load(tmp_path, "offline", expected_qps=1000.0, take_s=0.001, max_batch=4, instances=2)
    assert set(found["values"]) == {"throughput"}
    assert found["latencies_s"] == []
    sizes = [len(batch) for batch in found["batches"]]
    assert max(sizes) == 4
    assert sum(sizes) == found["log"]["effective_samples_per_query"]
    assert found["values"]["throughput"] > 0


def test_too_few_queries_for_the_percentile_are_invalid(tmp_path: Path) -> None:
    found = _load(tmp_path, "single-stream", min_queries=8, duration_s=0.02, take_s=0.005, expected_latency_s=0.005)
    assert not found["valid"]
    assert found["reasons"] and "\n" not in found["reasons"][0]


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream", "server", "offline"])
def test_a_failed_inference_is_raised_once_loadgen_has_ended(tmp_path: Path, scenario: str) -> None:
    found = _load(tmp_path, scenario, fail_at=3, target_qps=500.0, expected_qps=1000.0, take_s=0.001)
    assert found["raised"] == "the system broke"
    assert len(found["batches"]) == 3, "after the first failure nothing more is run"


def test_an_audit_file_in_the_current_folder_is_not_obeyed(tmp_path: Path) -> None:
    """LoadGen looks for one by default, and it can change every setting."""
    (tmp_path / "audit.config").write_text("*.*.min_query_count = 7\n*.*.min_duration = 1\n", encoding="utf-8")
    found = _load(tmp_path, "single-stream", cwd=tmp_path, expected_latency_s=0.0001)
    assert found["log"]["effective_min_query_count"] == 100
    assert len(found["latencies_s"]) >= 100


def _line(key: str, value: Any, *, is_error: bool = False) -> str:
    return ":::MLLOG " + json.dumps({"key": key, "value": value, "metadata": {"is_error": is_error}})


def test_a_log_without_a_verdict_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_log_detail.txt"
    with pytest.raises(MeasurementError, match="wrote no verdict"):
        read_detail(path)
    path.write_text(_line("result_qps_with_loadgen_overhead", 12.0), encoding="utf-8")
    with pytest.raises(MeasurementError, match="wrote no verdict"):
        read_detail(path)


def test_a_log_is_read_to_its_first_values_and_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_log_detail.txt"
    lines = [
        _line("result_validity", "VALID"),
        _line("result_validity", "INVALID"),
        "no log line at all",
        ":::MLLOG {cut off",
        _line("error_runtime", "Ran out of generated queries", is_error=True),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    found, errors = read_detail(path)
    assert found["result_validity"] == "VALID"
    assert errors == ["error_runtime: Ran out of generated queries"]


class Sample(NamedTuple):
    """What LoadGen hands to a system."""

    id: int
    index: int


@pytest.fixture
def completed(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Return the ids that are completed, call by call, instead of telling LoadGen."""
    calls: list[list[int]] = []
    monkeypatch.setattr(lg, "QuerySamplesComplete", lambda responses: calls.append([r.id for r in responses]))
    return calls


def _samples(*indices: int) -> list[Sample]:
    return [Sample(100 + index, index) for index in indices]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("what was waited for did not come")
        time.sleep(0.001)


def test_a_stream_runs_a_query_as_one_batch_in_loadgens_thread(completed: list[list[int]]) -> None:
    seen: list[tuple[list[int], int]] = []
    system = StreamSystem(lambda positions: seen.append((list(positions), threading.get_ident())), Failures())
    system.issue(_samples(3, 1, 2))
    assert seen == [([3, 1, 2], threading.get_ident())]
    assert completed == [[103, 101, 102]]
    assert len(system.latencies_ns) == 1 and system.latencies_ns[0] > 0


class Gate:
    """A batch runner that stands still in its first batch until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.inside = threading.Event()
        self.open = threading.Event()

    def run(self, positions: Sequence[int]) -> None:
        self.batches.append(list(positions))
        self.inside.set()
        assert self.open.wait(LIMIT_S)


def test_a_batch_takes_what_has_arrived_up_to_its_size(completed: list[list[int]]) -> None:
    gate = Gate()
    system = BatchSystem([gate.run], Failures(), max_batch=3, max_wait_s=0.0)
    system.issue(_samples(0))
    assert gate.inside.wait(LIMIT_S)
    system.issue(_samples(1, 2, 3, 4))
    system.issue(_samples(5))
    gate.open.set()
    system.stop()
    assert gate.batches == [[0], [1, 2, 3], [4, 5]], "no batch waits for company, and none is larger than allowed"
    assert completed == [[100], [101, 102, 103], [104, 105]]


def test_a_batch_waits_for_company_and_goes_as_soon_as_it_is_full(completed: list[list[int]]) -> None:
    batches: list[list[int]] = []
    system = BatchSystem([lambda p: batches.append(list(p))], Failures(), max_batch=2, max_wait_s=3600.0)
    system.issue(_samples(0))
    system.issue(_samples(1))
    _wait_until(lambda: completed == [[100, 101]])
    system.stop()
    assert batches == [[0, 1]]


def test_a_batch_that_waited_long_enough_goes_alone(completed: list[list[int]]) -> None:
    system = BatchSystem([lambda p: None], Failures(), max_batch=2, max_wait_s=0.01)
    system.issue(_samples(0))
    _wait_until(lambda: completed == [[100]])
    system.stop()


def test_stopping_answers_what_waits_for_company(completed: list[list[int]]) -> None:
    system = BatchSystem([lambda p: None], Failures(), max_batch=2, max_wait_s=3600.0)
    system.issue(_samples(0))
    system.stop()
    assert completed == [[100]]


def test_instances_share_the_queue(completed: list[list[int]]) -> None:
    """Both are inside a batch at the same time, and every sample is answered once."""
    gates = [Gate(), Gate()]
    system = BatchSystem([gate.run for gate in gates], Failures(), max_batch=1, max_wait_s=0.0)
    system.issue(_samples(*range(6)))
    assert all(gate.inside.wait(LIMIT_S) for gate in gates)
    for gate in gates:
        gate.open.set()
    system.stop()
    assert sorted(id for call in completed for id in call) == [100, 101, 102, 103, 104, 105]


def test_a_failure_is_kept_and_what_follows_is_answered_unmeasured(completed: list[list[int]]) -> None:
    failures, calls = Failures(), []

    def run(positions: Sequence[int]) -> None:
        calls.append(list(positions))
        raise RuntimeError(f"broke at {positions[0]}")

    system = StreamSystem(run, failures)
    for index in range(3):
        system.issue(_samples(index))
    assert calls == [[0]]
    assert completed == [[100], [101], [102]]
    assert str(failures.first) == "broke at 0"
