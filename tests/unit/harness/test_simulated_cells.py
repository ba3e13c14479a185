"""Cells that are simulated: whose answers they give, what becomes of one estimate, and why there is none."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest

from leptonbench.backends import Estimate
from leptonbench.catalog import load_board
from leptonbench.errors import UsageError
from leptonbench.fpga.isa import Counter
from leptonbench.harness import simulated, simulating
from leptonbench.harness.jobs import Failure, WorkerJob, WorkerResult
from leptonbench.harness.process import Ended
from leptonbench.harness.simulated import Refused, answering, estimate, is_simulated, simulated_record, typical
from leptonbench.schema import CellRecord, CellSpec, DeviceProfile, Notice, Provenance, Quantity, Status
from tests.harness_factory import artifact, cell, scenario, score

BOARD = load_board("kv260")


def _quantity(value: float, unit: str) -> Quantity:
    return Quantity(
        value=value, unit=unit, low=0.8 * value, high=1.25 * value, provenance=Provenance.SIMULATED, method="a test"
    )


def _estimate(latency_s: float = 0.02, *, servers: int = 2) -> Estimate:
    return Estimate(
        latency=_quantity(latency_s, "s"),
        busy_latency=_quantity(1.5 * latency_s, "s"),
        throughput=_quantity(servers / (1.5 * latency_s), "1/s"),
        servers=servers,
        counters={counter.name: 1000 for counter in Counter},
        facts={"engine": "fpga", "sample_duration_s": 2.0},
        notices=(Notice(code="codes-in-and-out", message="codes", hint=""),),
    )


def _record(kind: str, found: Estimate | None = None, *, target_s: float = 0.1, **settings: Any) -> CellRecord:
    return simulated_record(
        cell("int8-static", "fpga", kind, device="kv260"),
        scenario(kind, **settings),
        estimate=found or _estimate(),
        artifact=artifact("int8"),
        score=score([0] * 9 + [1], [0] * 10),
        device=BOARD,
        floor=0.85,
        latency_target_s=target_s,
        requested={},
        seed=0,
    )


def test_the_answers_are_the_engines_whose_bytes_are_equal() -> None:
    one = cell("int8-static", "fpga", device="kv260")
    assert is_simulated(one)
    assert (answering(one).backend, answering(one).device) == ("onnxruntime", "host-cpu")
    other = cell("int8-static", "openvino")
    assert not is_simulated(other)
    assert answering(other) == other


def test_every_frame_of_a_stream_takes_as_long() -> None:
    record = _record("single-stream")
    found = record.metrics
    assert record.status is Status.OK and record.rounds == ()
    assert {found[tag].value for tag in ("latency_p50", "latency_p90", "latency_p99", "latency_mean")} == {0.02}
    rate = found["throughput"]
    assert (rate.value, rate.low, rate.high) == pytest.approx((50, 40, 62.5))
    assert found["real_time_factor"].value == pytest.approx(0.01)
    assert found["quality"].value == 0.9
    assert "onnxruntime" in (found["quality"].method or "")
    assert record.meets_target is True and record.meets_quality is True
    assert {found[tag].provenance for tag in ("latency_p50", "throughput", "energy_per_inference")} == {"simulated"}


@pytest.mark.parametrize(("target_s", "meets"), [(0.03, True), (0.022, None), (0.01, False)])
def test_a_target_inside_the_range_is_left_open(target_s: float, meets: bool | None) -> None:
    assert _record("single-stream", target_s=target_s).meets_target is meets


def test_energy_grows_with_the_time_that_the_board_is_on() -> None:
    fast, slow = (
        _record("single-stream", _estimate(latency)).metrics["energy_per_inference"] for latency in (0.02, 0.2)
    )
    assert fast.value is not None and slow.value is not None and BOARD.power is not None
    assert slow.value - fast.value == pytest.approx(0.18 * BOARD.power.idle_w.value)


def test_energy_is_told_with_idle_without_and_at_the_wall() -> None:
    found = _record("single-stream").metrics
    total, dynamic, wall = (found[f"{kind}energy_per_inference"] for kind in ("", "dynamic_", "wall_"))
    assert total.value is not None and dynamic.value is not None and wall.value is not None
    assert BOARD.power is not None
    assert total.value - dynamic.value == pytest.approx(0.02 * BOARD.power.idle_w.value)
    assert wall.value > total.value
    assert (total.boundary, wall.boundary, wall.provenance) == ("board", "wall", "projected")
    assert "host" not in (total.method or "")
    with_host = _estimate()
    served = _record("single-stream", with_host.model_copy(update={"facts": with_host.facts | {"host_s": 0.001}}))
    assert "host's operators" in (served.metrics["energy_per_inference"].method or "")


def test_a_server_is_loaded_until_the_target_is_missed() -> None:
    record = _record("server", percentile=0.9, max_batch=1)
    rate = record.metrics["throughput"]
    assert rate.value is not None and rate.low is not None and rate.high is not None
    assert rate.low < rate.value < rate.high
    assert rate.value < 2 / 0.03  # two servers of 30 ms
    assert 0.03 <= (record.metrics["latency_p90"].value or 0) <= 0.1
    assert record.meets_target is True


def test_a_server_too_slow_for_one_query_has_no_rate_and_says_why() -> None:
    record = _record("server", target_s=0.01, percentile=0.9, max_batch=1)
    assert record.metrics["throughput"].value is None
    assert "no rate meets" in (record.metrics["throughput"].why_null or "")
    for kind in ("", "dynamic_", "wall_"):
        assert "no rate meets" in (record.metrics[f"{kind}energy_per_inference"].why_null or "")
    assert record.meets_target is False


@pytest.mark.parametrize(("samples", "query_s"), [(1, 0.02), (2, 0.03), (5, 0.09)])
def test_a_query_of_several_samples_takes_as_many_turns_as_the_cores_need(samples: int, query_s: float) -> None:
    found = _record("multi-stream", samples_per_query=samples, percentile=0.9).metrics
    assert found["latency_p90"].value == pytest.approx(query_s)
    assert found["throughput"].value == pytest.approx(samples / query_s)
    assert BOARD.power is not None
    idle_j = (found["energy_per_inference"].value or 0) - (found["dynamic_energy_per_inference"].value or 0)
    assert idle_j == pytest.approx(BOARD.power.idle_w.value * query_s / samples)


def test_offline_keeps_all_cores_at_work_and_has_no_latency() -> None:
    found = _record("offline").metrics
    assert found["throughput"].value == pytest.approx(2 / 0.03)
    assert found["latency_p50"].value is None


def _job(folder: Path) -> WorkerJob:
    fields = {
        "mode": "simulate",
        "cell": cell("int8-static", "fpga", device="kv260"),
        "scenario": scenario(),
        "artifact": artifact("int8"),
        "task": {"name": "inspection", "model_dir": None, "data": {"seed": 1, "calibration": 1, "evaluation": 1}},
        "round_index": 0,
        "duration_s": 1.0,
        "seed": 0,
        "latency_target_s": 0.1,
        "out": str(folder),
        "cache": str(folder),
        "features": (),
        "device": BOARD,
        "device_matched": True,
    }
    return WorkerJob.model_validate(fields)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("UsageError", Status.SKIPPED, "unsupported"),
        ("PrerequisiteError", Status.SKIPPED, "prerequisite"),
        ("MeasurementError", Status.FAILED, "refused"),
    ],
)
def test_why_there_is_no_estimate_decides_how_the_cell_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, status: Status, code: str
) -> None:
    failure = Failure(kind=kind, message="operator Softmax has no lowering", cause="no host", hint="take kv260")
    result = WorkerResult(error=failure, error_code="refused")
    ended = Ended("ok", "", (), 1.0)
    monkeypatch.setattr(simulated, "run_worker", lambda job, timeout_s: (result, ended))
    found = estimate(_job(tmp_path), 1.0)
    assert isinstance(found, Refused)
    assert (found.status, found.reason.code) == (status, code)
    assert "no host" in found.reason.message and found.reason.hint == "take kv260"


class _Run:
    """As much of a run as building needs."""

    def __init__(self, folder: Path, *, left_s: float | None = None) -> None:
        self._folder = folder
        self.plan = self.budget = self.progress = self
        self.until_s = lambda share: left_s
        self.phase = lambda words: None

    def job(self, cell: CellSpec, *, mode: str, out: Path) -> WorkerJob:
        return _job(self._folder).model_copy(update={"mode": mode, "cell": cell, "out": str(out)})

    def board(self, cell: CellSpec) -> DeviceProfile:
        return load_board(cell.device)


def test_the_simulators_of_several_boards_are_made_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, str]] = []

    def run_workers(jobs: Iterable[tuple[WorkerJob, float]], *, at_once: int) -> Generator[object, None, None]:
        asked.extend((job.mode, job.device.name, job.out) for job, _ in jobs)
        yield from ()

    monkeypatch.setattr(simulating, "run_workers", run_workers)
    cells = [cell("int8-static", "fpga", device=name) for name in ("kv260", "ulx3s-85f", "kv260")]
    simulating._build(_Run(tmp_path), cells)  # type: ignore[arg-type]
    assert sorted(asked)[0][:2] == ("build", "kv260") and sorted(asked)[1][:2] == ("build", "ulx3s-85f")
    assert len({out for *_, out in asked}) == len(asked) == 2
    asked.clear()
    simulating._build(_Run(tmp_path), cells[:1])  # type: ignore[arg-type]
    simulating._build(_Run(tmp_path, left_s=0.0), cells)  # type: ignore[arg-type]
    assert asked == []


def test_building_makes_the_core_of_the_jobs_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from leptonbench.fpga.sim import build

    made: list[int] = []
    monkeypatch.setattr(build, "simulator", lambda shape: made.append(shape.rows))
    simulated.build(_job(tmp_path).model_copy(update={"device": load_board("ulx3s-85f")}), {})
    assert made == [8]
    with pytest.raises(UsageError, match="is no board"):
        simulated.build(_job(tmp_path).model_copy(update={"device": BOARD.model_copy(update={"board": None})}), {})


class _Samples:
    """Samples of given lengths."""

    def __init__(self, *lengths: float | None) -> None:
        self._lengths = lengths

    def __len__(self) -> int:
        return len(self._lengths)

    def duration_s(self, index: int) -> float | None:
        return self._lengths[index]


@pytest.mark.parametrize(
    ("lengths", "found"), [((3.0, 1.0, 2.0), (2, 2.0)), ((1.0, 4.0), (0, 1.0)), ((None, None), (0, None))]
)
def test_a_sample_of_median_length_stands_for_all(lengths: tuple[float | None, ...], found: tuple[int, Any]) -> None:
    assert typical(_Samples(*lengths)) == found  # type: ignore[arg-type]
