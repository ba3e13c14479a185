"""Cells on a GPU: planned where there is one, listed with one reason where there is none, and held alone."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from leptonbench.backends import BACKENDS, cuda, device_kind
from leptonbench.cli import plan_view
from leptonbench.errors import MeasurementError, PrerequisiteError, UsageError
from leptonbench.harness import accelerator, plan
from leptonbench.harness.accelerator import HOST_GPU, claimed, gpu_features, gpu_profile, measure_idle, used_bytes
from leptonbench.harness.finish import theory
from leptonbench.harness.jobs import GpuRef, WorkerJob
from leptonbench.harness.manifest import new_manifest
from leptonbench.harness.plan import RunPlan, plan_run
from leptonbench.harness.pricing import price_cell, unpriced
from leptonbench.harness.request import RunRequest
from leptonbench.meters.gpu import Gpu, GpuFacts
from leptonbench.schema import Artifact, CellRecord, Fingerprint, Quantity, Status
from tests.fake_nvml import Card, FakeNvml
from tests.harness_factory import artifact, cell, suite
from tests.report_factory import make_run

FACTS = GpuFacts(0, "NVIDIA L4", "GPU-aaaa", "550.54", (8, 9), 24 * 1024**3, 72.0, False)
GPU = {name for name in BACKENDS.names() if device_kind(name) == "gpu"}


def _machine(*gpus: str) -> Fingerprint:
    found = make_run()[0].fingerprint
    return found.model_copy(update={"identity": found.identity.model_copy(update={"gpus": gpus})})


def _plan(*gpus: str, **filters: tuple[str, ...]) -> RunPlan:
    return plan_run(RunRequest(suite="manufacturing", filters=filters), _machine(*gpus))


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> GpuFacts:
    """Let the machine have a GPU and an engine for it."""
    monkeypatch.setattr(plan, "current_gpu", lambda identity: FACTS)
    monkeypatch.setattr(accelerator, "find_gpu", lambda: FACTS)
    monkeypatch.setattr(cuda, "installed", lambda name: "2.13.0+cu128")
    return FACTS


def test_without_a_gpu_its_cells_are_skipped_for_one_reason() -> None:
    found = _plan()
    absent = [record for record in found.skipped if record.cell.device == HOST_GPU]
    assert {record.reason.code for record in absent if record.reason} == {"no-device"}
    assert len({record.reason for record in absent}) == 1
    assert {record.cell.backend for record in absent} == {"torch-cuda", "torch-cuda-graph"}
    assert {record.cell.variant for record in absent} == {"fp32", "fp16", "bf16"}, "what the suite would have run"
    assert not any(device_kind(c.backend) == "gpu" for c in found.cells)


def test_a_plan_prints_them_as_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = _plan(backend=("onnxruntime", "torch-cuda"), variant=("fp32",))
    plan_view.show_plan(found.summary())
    told = capsys.readouterr().out
    assert told.count("no NVIDIA GPU") == 1
    assert "5 cells of torch-cuda on host-gpu (fp32)" in told
    document = plan_view.plan_document(found.summary())
    assert Counter(row["reason"]["code"] for row in document["skipped"])["no-device"] == 5


def test_with_a_gpu_the_suite_takes_it_up_by_itself(card: GpuFacts) -> None:
    found = _plan("NVIDIA L4")
    on_gpu = [c for c in found.cells if c.device == HOST_GPU]
    assert {(c.backend, c.variant) for c in on_gpu} == {
        (backend, variant) for backend in ("torch-cuda", "torch-cuda-graph") for variant in ("fp32", "fp16", "bf16")
    }
    assert {c.workload for c in on_gpu if c.backend == "torch-cuda"} == {"inspection", "detection", "speech"}
    assert {c.workload for c in on_gpu if c.backend == "torch-cuda-graph"} == {"inspection", "detection"}
    kinds = {"host-cpu": "cpu", HOST_GPU: "gpu"}
    assert all(device_kind(c.backend) == kinds.get(c.device, "fpga") for c in found.cells)


def test_a_backend_that_is_named_brings_its_device(card: GpuFacts) -> None:
    found = plan_run(
        RunRequest(suite="finance", filters={"backend": ("torch-cuda",), "variant": ("fp32",)}), _machine("NVIDIA L4")
    )
    assert {c.device for c in found.cells} == {HOST_GPU}
    alone = _plan("NVIDIA L4", device=(HOST_GPU,))
    assert {c.device for c in alone.cells} == {HOST_GPU}


def test_a_backend_is_not_asked_to_run_on_another_kind_of_device() -> None:
    with pytest.raises(UsageError, match="`torch` does not run on `host-gpu`") as caught:
        _plan(device=(HOST_GPU,), backend=("torch",))
    assert "`torch` on a CPU" in caught.value.cause


def test_a_cpu_has_no_tf32(card: GpuFacts) -> None:
    found = _plan("NVIDIA L4", variant=("tf32",), backend=("torch", "onnxruntime", "openvino", "torch-cuda"))
    assert {c.backend for c in found.cells} == {"torch-cuda"}
    refused = {r.cell.backend: r.reason.message for r in found.skipped if r.reason and r.reason.code == "unsupported"}
    assert set(refused) == {"torch", "onnxruntime", "openvino"}
    assert all("tensor cores" in message for message in refused.values())


def test_the_manifest_names_both_devices(card: GpuFacts) -> None:
    decided = _plan("NVIDIA L4", device=("host-cpu", HOST_GPU))
    manifest = new_manifest(RunRequest(), decided, _machine("NVIDIA L4"), "a-run")
    assert [device.name for device in manifest.devices] == ["host-cpu", HOST_GPU]
    assert manifest.devices[1].kind == "gpu"
    plain = new_manifest(RunRequest(), _plan(device=("host-cpu",)), _machine(), "a-run")
    assert [device.name for device in plain.devices] == ["host-cpu"]


def test_a_card_without_a_profile_keeps_its_own_name() -> None:
    found = gpu_profile(FACTS._replace(name="NVIDIA Nothing 9000"))
    assert (found.name, found.title["en"], found.cloud) == (HOST_GPU, "NVIDIA Nothing 9000", ())


@pytest.mark.parametrize(
    ("profile", "name", "same"),
    [
        ("nvidia-l4", "nvidia-l4", True),
        ("nvidia-l4", "nvidia-l40s", False),
        ("nvidia-a100-sxm4-80gb", "nvidia-a100-sxm4-80gb", True),
        ("nvidia-h100", "nvidia-h100-pcie", True),
    ],
)
def test_a_profile_is_of_a_card_by_whole_words(profile: str, name: str, same: bool) -> None:
    assert accelerator._same_card(profile, name) is same


def test_engines_decide_by_the_compute_capability() -> None:
    assert gpu_features(FACTS) == {"cuda-8.9"}
    assert gpu_features(None) == gpu_features(FACTS._replace(capability=None)) == frozenset()
    assert cuda.capability(gpu_features(FACTS)) == (8, 9)


def test_idle_is_the_lowest_of_a_second() -> None:
    watts = iter((40.0, 20.0, 16.0, *[17.0] * 40))
    fake = FakeNvml(Card())
    gpu = Gpu(library=fake)
    gpu.usage_w = lambda: next(watts)  # type: ignore[method-assign]
    found = measure_idle(gpu=gpu, sleep=lambda seconds: None)
    assert (found.idle_w, found.uuid, found.index) == (16.0, "GPU-aaaa", 0)
    assert fake.open == 0


def test_a_card_that_does_not_tell_its_power_has_no_idle_part(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(library=FakeNvml(Card()))

    def refuse() -> float:
        raise MeasurementError("no power")

    monkeypatch.setattr(gpu, "usage_w", refuse)
    assert measure_idle(gpu=gpu, sleep=lambda seconds: None).idle_w is None


def _job(gpu: GpuRef | None) -> WorkerJob:
    reference = {"name": "inspection", "model_dir": None, "data": {"seed": 1, "calibration": 1, "evaluation": 1}}
    fields = {
        "mode": "performance",
        "cell": cell(),
        "scenario": {"kind": "single-stream"},
        "artifact": None,
        "task": reference,
        "round_index": 0,
        "duration_s": 1.0,
        "seed": 0,
        "latency_target_s": 0.1,
        "out": ".",
        "cache": ".",
        "features": (),
        "device": make_run()[0].devices[0],
        "device_matched": True,
        "gpu": gpu,
    }
    return WorkerJob.model_validate(fields)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml(Card(), Card(uuid="GPU-bbbb", used_bytes=7))
    monkeypatch.setattr("leptonbench.meters.gpu._library", lambda: fake)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.setenv(name, "before")
    return fake


REF = GpuRef(index=1, uuid="GPU-bbbb", name="NVIDIA L4", driver="550.54")


def test_the_engine_sees_the_claimed_card_alone(fake: FakeNvml) -> None:
    with claimed(_job(REF)):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-bbbb"
        fake.cards[1].pids = [os.getpid()]
        assert used_bytes(1) == 7
    assert fake.open == 0


def test_a_cell_on_the_cpu_claims_nothing(fake: FakeNvml) -> None:
    fake.cards[0].pids = [1, 2, 3]
    with claimed(_job(None)):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "before"
    assert fake.open == 0


@pytest.mark.parametrize(("before", "during"), [([4711], [4711]), ([], [1, 4711])])
def test_a_card_that_is_shared_fails_the_round(fake: FakeNvml, before: list[int], during: list[int]) -> None:
    fake.cards[1].pids = before
    with pytest.raises(MeasurementError, match="another process computes on GPU 1"), claimed(_job(REF)):
        fake.cards[1].pids = during
    assert fake.open == 0


def test_a_gpu_that_is_gone_is_a_missing_prerequisite(fake: FakeNvml) -> None:
    fake.loaded = False
    with pytest.raises(PrerequisiteError), claimed(_job(REF)):
        pytest.fail("the engine must not be opened")


def test_a_gpu_has_no_price_of_its_own_and_no_peak_ratio_of_a_cpu() -> None:
    record = CellRecord(
        cell=cell(backend="torch-cuda", device=HOST_GPU),
        status=Status.OK,
        metrics={"throughput": Quantity(value=10.0, unit="1/s", provenance="measured")},
        artifact=Artifact.model_validate(artifact()),
    )
    prices = price_cell(record, unpriced(HOST_GPU), suite())
    assert all(quantity.value is None and "host-gpu" in str(quantity.why_null) for quantity in prices.values())
    found = theory(record, record, flags=("avx2",), table=None)  # type: ignore[arg-type]
    assert found is not None
    assert "GPU" in str(found.why_null)


def test_no_driver_is_asked_where_the_machine_shows_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "find_gpu", lambda: pytest.fail("the driver was asked"))
    assert accelerator.current_gpu(_machine().identity) is None
