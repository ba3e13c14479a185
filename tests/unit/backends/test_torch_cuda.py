"""PyTorch on a GPU, by a counterfeit CUDA: what is copied, waited for, captured, and refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from leptonbench.backends import BACKENDS, Recipe, RuntimeOptions, cuda, torch_cuda
from leptonbench.backends.base import check_honoured
from leptonbench.backends.torch_cuda import set_fp32_precision
from leptonbench.errors import MeasurementError
from leptonbench.schema import Artifact, EngineOptions
from tests.harness_factory import artifact

ADA, TURING, PASCAL = (frozenset({f"cuda-{number}"}) for number in ("8.9", "7.5", "5.2"))
TORCH = ("torch-cuda", "torch-cuda-graph", "torch-cuda-compile")


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cuda, torch_cuda):
        monkeypatch.setattr(module, "installed", lambda name: "2.13.0+cu128")


def recipe(precision: str = "fp32", *techniques: str, **options: Any) -> Recipe:
    return Recipe("huggingface", precision, techniques, EngineOptions(**options))


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize(
    ("asked", "features", "words"),
    [
        (recipe("fp32"), ADA, ""),
        (recipe("bf16", "cast"), ADA, ""),
        (recipe("tf32"), ADA, ""),
        (recipe("fp16", "cast"), TURING, ""),
        (recipe("bf16", "cast"), TURING, "capability 7.5 has no bf16"),
        (recipe("tf32"), TURING, "has no tf32"),
        (recipe("fp16", "cast"), PASCAL, "has no fp16"),
        (recipe("fp32"), frozenset({"avx2"}), "no NVIDIA GPU"),
        (recipe("int8", "quantize-static"), ADA, "ONNX graph"),
        (recipe("int8", "quantize-dynamic"), ADA, ""),
        (recipe("fp32", "quantize-weights"), ADA, ""),
        (recipe("fp32")._replace(source="onnx"), ADA, "does not load ONNX"),
        (recipe("fp32", io_binding=True), ADA, "binds no buffers"),
        (recipe("fp32", arena=False), ADA, "arena"),
        (recipe("fp32", graph_optimisation="off"), ADA, "graph"),
    ],
)
def test_what_runs_on_which_card(built: None, name: str, asked: Recipe, features: frozenset[str], words: str) -> None:
    found = BACKENDS.get(name)().supports(asked, features)
    assert found.ok is (words == "")
    assert words in found.reason
    assert found.ok or found.hint


def test_a_cpu_build_of_torch_says_how_to_get_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("2.13.0+cpu", None):
        monkeypatch.setattr(cuda, "installed", lambda name, found=version: found)
        support = BACKENDS.get("torch-cuda")().supports(recipe(), ADA)
        assert not support.ok
        assert "built without CUDA" in support.reason
        assert "pip install torch" in support.hint


def test_narrow_weights_need_torchao(built: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_cuda, "installed", lambda name: None)
    backend = BACKENDS.get("torch-cuda")()
    assert "`pip install torchao`" in backend.supports(recipe("int8", "quantize-dynamic"), ADA).hint
    assert backend.supports(recipe(), ADA).ok


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Let backends open a small network on the counterfeit device."""
    torch = pytest.importorskip("torch")
    from tests import fake_cuda

    fake_cuda.install(monkeypatch)
    torch.manual_seed(3)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5), torch.nn.ReLU()).eval()
    before = [(part, part.fp32_precision) for part in _precisions(torch)]
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    asked: list[str] = []

    def load(made: Artifact, options: RuntimeOptions, *, device: str) -> tuple[Any, dict[str, Any]]:
        asked.append(device)
        module = lambda pixel_values: network(pixel_values)  # noqa: E731 - called by name, as a program is
        return module, {"options": EngineOptions().model_dump(mode="json"), "precision": made.precision}

    monkeypatch.setattr(torch_cuda, "load_program", load)
    monkeypatch.setattr(torch_cuda, "apply_steps", lambda module, made: (module, {"applied": len(made.recipe)}))
    monkeypatch.setattr(torch_cuda.TorchCudaBackend, "torch_device", "cpu")
    yield SimpleNamespace(network=network, asked=asked, cuda=fake_cuda, torch=torch)
    for part, precision in before:
        part.fp32_precision = precision


def _precisions(torch: Any) -> tuple[Any, ...]:
    return torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn


def made(precision: str = "fp32", *, free: bool = False) -> Artifact:
    inputs = ({"name": "pixel_values", "shape": (None, 3, None if free else 4), "dtype": "float32"},)
    return artifact(precision, inputs=inputs, format="torch-export")


def options(tmp_path: Path, *batches: int) -> RuntimeOptions:
    return RuntimeOptions(threads=1, features=ADA, batches=batches or (1, 3), cache=tmp_path)


def batch(size: int, seed: int = 0) -> dict[str, Any]:
    return {"pixel_values": np.random.default_rng(seed).normal(size=(size, 3, 4)).astype(np.float32)}


def truth(opened: Any, inputs: dict[str, Any]) -> Any:
    with opened.torch.inference_mode():
        return opened.network(opened.torch.from_numpy(inputs["pixel_values"])).numpy()


@pytest.mark.parametrize("name", ["torch-cuda", "torch-cuda-graph"])
def test_answers_are_the_networks_own_in_arrays_of_their_own(opened: Any, tmp_path: Path, name: str) -> None:
    session = BACKENDS.get(name)().open(made(), options(tmp_path))
    kept = []
    for seed, size in enumerate((1, 3, 1, 2)):  # 2 was not captured: it runs eagerly
        inputs = batch(size, seed)
        (output,) = session.run(inputs)
        np.testing.assert_allclose(output, truth(opened, inputs), rtol=1e-6)
        kept.append((output, truth(opened, inputs)))
    for output, expected in kept:
        np.testing.assert_allclose(output, expected, rtol=1e-6)


def test_a_run_ends_by_waiting_for_its_own_stream(opened: Any, tmp_path: Path) -> None:
    backend = BACKENDS.get("torch-cuda")()
    one, other = backend.open(made(), options(tmp_path)), backend.open(made(), options(tmp_path))
    one.run(batch(1))
    one.run(batch(1))
    other.run(batch(1))
    assert [stream.waited for stream in opened.cuda.Stream.made] == [2, 1]


def test_a_graph_is_captured_at_opening_and_replayed_in_a_run(opened: Any, tmp_path: Path) -> None:
    session = BACKENDS.get("torch-cuda-graph")().open(made(), options(tmp_path, 1, 3))
    assert opened.cuda.CUDAGraph.replays == 0
    session.run(batch(3))
    session.run(batch(1))
    session.run(batch(2))
    assert opened.cuda.CUDAGraph.replays == 2
    assert session.effective()["captured_batches"] == [1, 3]
    session.close()


def test_a_model_with_samples_of_any_length_cannot_be_captured(opened: Any, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="fixed shapes") as caught:
        BACKENDS.get("torch-cuda-graph")().open(made(free=True), options(tmp_path))
    assert "torch-cuda" in caught.value.hint


def test_a_program_that_cannot_be_captured_is_refused_in_three_parts(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(opened.torch.cuda, "graph", refuse)
    with pytest.raises(MeasurementError, match="cannot be captured") as caught:
        BACKENDS.get("torch-cuda-graph")().open(made(), options(tmp_path))
    assert caught.value.cause == "operation not permitted when stream is capturing"


@pytest.mark.parametrize(("precision", "products"), [("fp32", "ieee"), ("bf16", "ieee"), ("tf32", "tf32")])
def test_fp32_is_fp32_unless_tf32_is_asked_for(opened: Any, tmp_path: Path, precision: str, products: str) -> None:
    """Torch's convolutions round to TF32 if nothing is said: the cell would be mislabelled."""
    session = BACKENDS.get("torch-cuda")().open(made(precision), options(tmp_path))
    assert session.effective()["fp32_products"] == products
    assert {part.fp32_precision for part in _precisions(opened.torch)} == {products}


def test_torch_that_does_not_do_as_asked_is_refused() -> None:
    class Deaf:
        @property
        def fp32_precision(self) -> str:
            return "tf32"

        @fp32_precision.setter
        def fp32_precision(self, value: str) -> None:
            return

    deaf = SimpleNamespace(matmul=Deaf(), conv=Deaf(), rnn=Deaf())
    with pytest.raises(MeasurementError, match="does not compute fp32 products as ieee"):
        set_fp32_precision(SimpleNamespace(backends=SimpleNamespace(cuda=deaf, cudnn=deaf)), "fp32")


def test_it_says_on_what_it_ran_and_how_much_memory_it_held(opened: Any, tmp_path: Path) -> None:
    session = BACKENDS.get("torch-cuda")().open(made(), options(tmp_path))
    told = session.effective()
    assert (told["gpu"], told["capability"], told["launch"]) == ("NVIDIA L4", "8.9", "eager")
    assert told["allocator_peak_bytes"] == 4096
    assert opened.asked == ["cpu"]
    check_honoured("torch-cuda", EngineOptions(), told)


def test_without_a_gpu_torch_is_not_left_to_run_on_the_cpu(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened.torch.cuda, "is_available", lambda: False)
    for name in TORCH:
        with pytest.raises(MeasurementError, match="torch finds no GPU"):
            BACKENDS.get(name)().open(made(), options(tmp_path))
