"""Object detectors as networks: our CenterNet, and transformers' set predictors. Imports torch: import it lazily."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leptonbench.errors import UsageError
from leptonbench.tasks.centernet import CenterNetConfig, CenterNetModel, CenterNetwork
from leptonbench.tasks.network import Network
from leptonbench.tasks.pretrained import check_whole


class SetPredictor(Network):
    """Maps `pixel_values` to class logits [n, queries, classes] and boxes [n, queries, 4], as DETR and its kin do."""

    output_names = ("logits", "pred_boxes")

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        _let_batches_vary(model)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Return logits and boxes, out of the container that transformers puts them in."""
        found = self.model(pixel_values=pixel_values)
        return found.logits, found.pred_boxes


def _let_batches_vary(model: nn.Module) -> None:
    """Let `len(tensor)` in a model's code follow the batch when it is exported.

    RT-DETR and D-FINE ask for the batch that way. Python turns what `len` returns into a plain integer, so that an
    export would hold for the batch of its example only; `shape[0]` is the same number and stays free.
    """

    def length(thing: Any) -> Any:
        return thing.shape[0] if isinstance(thing, Tensor) else len(thing)

    for name in {type(part).__module__ for part in model.modules()}:
        if name.startswith("transformers.models."):
            vars(sys.modules[name]).setdefault("len", length)


def load_detector(folder: Path, *, centernet: bool, weights: bool = True) -> Network:
    """Load a detector from a Hugging Face folder as an fp32 network in evaluation mode.

    Args:
        folder: With config.json and, if `weights`, matching weights.
        centernet: Whether its model type is CenterNet's.
        weights: Read them; else the network is built untrained from the config alone.

    Raises:
        UsageError: If transformers cannot load the folder as an object detector, or weights are missing.
    """
    from transformers import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    load = _load_centernet if centernet else _load_set_predictor
    try:
        network = load(folder, weights)
    except UsageError:
        raise
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and safetensors' own
        raise UsageError(
            f"transformers cannot load `{folder}` as an object detector",
            cause=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            hint="the folder needs config.json and matching weights of an object-detection architecture",
        ) from error
    return network.eval().requires_grad_(False)


def _load_centernet(folder: Path, weights: bool) -> Network:
    if not weights:
        return CenterNetwork(CenterNetModel(CenterNetConfig.from_pretrained(folder)))
    loaded: Any = CenterNetModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    model, notes = loaded
    check_whole(folder, notes)
    return CenterNetwork(model)


def _load_set_predictor(folder: Path, weights: bool) -> Network:
    from transformers import AutoConfig, AutoModelForObjectDetection

    config = AutoConfig.from_pretrained(folder)
    if not weights:
        build: Callable[[Any], nn.Module] = AutoModelForObjectDetection.from_config
        return SetPredictor(build(config).to(torch.float32))
    model, notes = AutoModelForObjectDetection.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    check_whole(folder, notes)
    return SetPredictor(model)
