"""A multilayer perceptron on a row of features, as a Hugging Face model. Imports torch: import it lazily.

What is deployed on tables where trees are not: linear layers and ReLU. Categories arrive as ones among zeros, so the
first layer's columns are their embeddings, summed. There is no normalisation inside, so nothing has to be folded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from leptonbench.errors import UsageError
from leptonbench.tasks.network import Network

MODEL_TYPE = "leptonbench-mlp"


@strict
class MlpConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """What a perceptron is built from; halved `hidden_sizes` give a half-width student.

    Attributes:
        input_size: Features of a row, categories as ones and zeros.
        hidden_sizes: Width of each hidden layer.
        dropout: Share of a hidden layer's outputs that training silences.
    """

    model_type = MODEL_TYPE

    input_size: int = 1
    hidden_sizes: list[int] | tuple[int, ...] = (512, 512, 512)
    dropout: float = 0.1


class MlpForScoring(PreTrainedModel):  # type: ignore[no-untyped-call]
    """Maps features (batch x input_size) to the logit of the positive class (batch x 1)."""

    config_class = MlpConfig
    base_model_prefix = "mlp"
    main_input_name = "features"

    def __init__(self, config: MlpConfig) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        width = config.input_size
        for size in config.hidden_sizes:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(config.dropout)]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))
        self.post_init()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise for ReLU (He et al., 2015)."""
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits, batch x 1."""
        logits: Tensor = self.layers(features)
        return logits


class Scorer(Network):
    """Maps `features` (batch x features, float) to logits (batch x 1)."""

    output_names = ("logits",)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Return the logit of the positive class."""
        return (self.model(features),)


def load_scorer(folder: Path, *, weights: bool = True) -> Scorer:
    """Load a perceptron from a Hugging Face folder as an fp32 network in evaluation mode.

    Args:
        folder: With config.json and, if `weights`, matching weights.
        weights: Read them; else the network is built untrained from the config alone.

    Raises:
        UsageError: If the folder holds another kind of model, or weights that do not fit its config.
    """
    from transformers import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    found = _model_type(folder)
    if found != MODEL_TYPE:
        raise UsageError(
            f"`{folder}` is no model that scores rows",
            cause=f"its config.json says model_type `{found}`",
            hint=f"give a folder of model_type `{MODEL_TYPE}`, or an ONNX file that takes float32 rows",
        )
    try:
        config = MlpConfig.from_pretrained(folder)
        model = MlpForScoring.from_pretrained(folder, dtype=torch.float32) if weights else MlpForScoring(config)
    except Exception as error:  # transformers raises OSError, ValueError, RuntimeError and safetensors' own
        raise _unreadable(folder, str(error).strip() or type(error).__name__) from error
    if weights:
        _check_weights(folder, model)
    module: nn.Module = model
    return Scorer(module.to(torch.float32)).eval().requires_grad_(False)


def _model_type(folder: Path) -> Any:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise _unreadable(folder, str(error)) from error


def _check_weights(folder: Path, model: nn.Module) -> None:
    """Refuse weights that transformers would have filled up at random."""
    from safetensors import SafetensorError, safe_open

    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    try:
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise _unreadable(folder, str(error)) from error
    wrong = sorted(name for name in wanted.keys() | stored.keys() if wanted.get(name) != stored.get(name))
    if wrong:
        name = wrong[0]
        raise _unreadable(folder, f"weight `{name}`: {stored.get(name)} stored, {wanted.get(name)} by the config")


def _unreadable(folder: Path, cause: str) -> UsageError:
    return UsageError(
        f"cannot load the model in `{folder}`",
        cause=cause.splitlines()[0],
        hint="the folder needs config.json and the matching model.safetensors that train.py writes",
    )
