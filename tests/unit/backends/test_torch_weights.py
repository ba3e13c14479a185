"""What torch does to weights itself: calls become layers, torchao narrows them, wrong labels are refused."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from leptonbench.backends import torch_weights
from leptonbench.backends.torch_weights import apply_steps, with_linear_layers
from leptonbench.errors import MeasurementError
from tests.harness_factory import artifact


class _Mixer(torch.nn.Module):
    """Two products with constant weights, one of two activations, a convolution in front."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.front = torch.nn.Conv1d(64, channels, 3, padding=1)
        self.first = torch.nn.Linear(64, 96)
        self.second = torch.nn.Linear(96, 32, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = x + self.front(x.transpose(1, 2)).mean(1)[..., None]
        scores = torch.softmax(mixed @ mixed.transpose(1, 2), -1) @ mixed
        return self.second(torch.relu(self.first(scores)))


@pytest.fixture(scope="module")
def sample() -> torch.Tensor:
    return torch.randn(2, 8, 64, generator=torch.Generator().manual_seed(1))


def _program(sample: torch.Tensor, *, channels: int = 1) -> tuple[torch.nn.Module, Any]:
    torch.manual_seed(5)
    network = _Mixer(channels).eval()
    return network, torch.export.export(network, (sample,)).module(check_guards=False)


def _halved(layer: torch.nn.Linear) -> None:
    """Leave the last two of every four values in a row."""
    layer.weight.data.unflatten(1, (-1, 4))[..., :2] = 0.0


def _answer(module: Any, sample: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(module(sample).numpy())


def _of(technique: str, precision: str = "fp32", **options: Any) -> Any:
    return artifact(precision, recipe=({"technique": technique, "options": options},), format="torch-export")


def test_calls_become_layers_and_answers_stay(sample: torch.Tensor) -> None:
    network, module = _program(sample)
    before = _answer(module, sample)
    found = with_linear_layers(module)
    layers = [layer for layer in found.modules() if isinstance(layer, torch.nn.Linear)]
    assert [(one.in_features, one.out_features, one.bias is not None) for one in layers] == [
        (64, 96, True),
        (96, 32, False),
    ]
    np.testing.assert_array_equal(_answer(found, sample), before)
    np.testing.assert_allclose(before, _answer(network, sample), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("technique", "precision", "executed", "least", "most"),
    [("quantize-dynamic", "int8", "int8", 1e-5, 0.05), ("quantize-weights", "fp32", "fp32", 1e-3, 0.3)],
)
def test_narrowed_weights_answer_nearly_the_same_and_not_exactly(
    sample: torch.Tensor, technique: str, precision: str, executed: str, least: float, most: float
) -> None:
    _, module = _program(sample)
    before = _answer(module, sample)
    found, facts = apply_steps(module, _of(technique, precision))
    off = np.abs(_answer(found, sample) - before).max() / np.abs(before).max()
    assert least < off < most
    assert facts["narrowed_layers"] == 2
    assert facts["narrowed_share"] > 0.9
    assert facts["executed_precision"] == executed
    assert facts["weights_by"].startswith("torchao ")


def test_a_network_of_convolutions_is_refused(sample: torch.Tensor) -> None:
    _, module = _program(sample, channels=256)
    with pytest.raises(MeasurementError, match="leave most of this network") as caught:
        apply_steps(module, _of("quantize-dynamic", "int8"))
    assert "% of the weights" in caught.value.cause
    assert caught.value.hint


def test_a_recipe_without_such_steps_is_left_alone(sample: torch.Tensor) -> None:
    _, module = _program(sample)
    assert apply_steps(module, _of("prune-channels")) == (module, {})
    assert apply_steps(module, _of("sparse-2:4", "fp32")) == (module, {}), "fp32 would be rounded to TF32"


def test_sparse_layers_are_packed_and_those_that_do_not_fit_are_counted(
    sample: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels themselves need a GPU; here what is asked of torch is held."""
    network, _ = _program(sample)
    _halved(network.first)
    _halved(network.second)

    def module() -> Any:
        return torch.export.export(network, (sample,)).module(check_guards=False)

    before = _answer(module(), sample)

    def pack(weight: torch.Tensor, *, least: int) -> torch.Tensor:
        if weight.shape[0] < least:
            raise RuntimeError("sizes that the kernels lack")
        return weight.clone()

    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", functools.partial(pack, least=1000))
    with pytest.raises(MeasurementError, match="no layer of this network"):
        apply_steps(module(), _of("sparse-2:4", "fp16"))
    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", functools.partial(pack, least=64))
    found, facts = apply_steps(module(), _of("sparse-2:4", "bf16"))
    assert facts == {"sparse_layers": 1, "dense_layers": 1}
    np.testing.assert_array_equal(_answer(found, sample), before)


def test_a_layer_with_three_values_in_four_is_never_packed(
    sample: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels' format holds two of any four, and torch's packing drops the others without an error."""
    network, _ = _program(sample)
    _halved(network.first)
    network.first.weight.data[5, 9] = 1.0
    network.first.weight.data[5, 8] = 1.0
    _halved(network.second)
    packed = []
    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", lambda weight: packed.append(weight) or weight)
    _, facts = apply_steps(
        torch.export.export(network, (sample,)).module(check_guards=False), _of("sparse-2:4", "fp16")
    )
    assert facts == {"sparse_layers": 1, "dense_layers": 1}
    assert [tuple(weight.shape) for weight in packed] == [(32, 96)]


def test_what_torch_applies_itself_is_what_the_backend_says() -> None:
    from leptonbench.backends.torch_cuda import TorchCudaBackend

    assert TorchCudaBackend.applies == torch_weights.APPLIED
