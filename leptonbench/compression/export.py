"""From a source model to what an engine loads: a `torch.export` program or an ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leptonbench.compression.source import ModelSource
from leptonbench.errors import UsageError
from leptonbench.schema import TensorSpec

_MAX_BATCH = 4096  # upper bound stated to torch.export for the free batch dimension
_OPSET = 18  # the oldest opset with everything these models need: widest choice of engines


def load_classifier(source: ModelSource) -> Any:
    """Load an image classifier from a Hugging Face folder as an fp32 module that maps `pixel_values` to logits.

    Raises:
        UsageError: If transformers cannot load the folder as an image classifier.
    """
    from torch import nn
    from transformers import AutoModelForImageClassification
    from transformers import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        import torch

        model = AutoModelForImageClassification.from_pretrained(source.path, dtype=torch.float32)
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and safetensors' own
        raise UsageError(
            f"transformers cannot load `{source.name}` as an image classifier",
            cause=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            hint="the folder needs config.json and matching weights of an image-classification architecture",
        ) from error

    class Classifier(nn.Module):
        """The network from pixels to logits, without the container transformers wraps outputs in."""

        def __init__(self) -> None:
            super().__init__()
            self.network = model

        def forward(self, pixel_values: Any) -> Any:
            return self.network(pixel_values=pixel_values).logits

    return Classifier().eval().requires_grad_(False)


def export_program(module: Any, sample_shape: tuple[int, ...], *, path: Path) -> tuple[TensorSpec, TensorSpec]:
    """Save a module as a `torch.export` program with a free batch dimension.

    Returns:
        The input's and the output's names, shapes and types.
    """
    import torch

    program, dtype = _trace(module, sample_shape)
    with _quiet():
        torch.export.save(program, path)
    with torch.no_grad():
        logits = module(torch.zeros((1, *sample_shape), dtype=dtype))
    name = str(dtype).removeprefix("torch.")
    return (
        TensorSpec(name="pixel_values", shape=(None, *sample_shape), dtype=name),
        TensorSpec(name="logits", shape=(None, *logits.shape[1:]), dtype=name),
    )


def export_onnx(module: Any, sample_shape: tuple[int, ...], *, path: Path) -> None:
    """Save a module as one ONNX file with a free batch dimension, in fp32.

    A bf16 module is exported with its rounded weights in fp32 containers: the engine computes in bf16 by its own
    setting, since ONNX engines for CPUs take bf16 that way.
    """
    import torch

    program, _ = _trace(module.to(torch.float32), sample_shape)
    with _quiet():
        exported = torch.onnx.export(
            program, input_names=["pixel_values"], output_names=["logits"], opset_version=_OPSET, dynamo=True
        )
        if exported is None:
            raise RuntimeError("torch.onnx.export returned nothing")
        exported.save(str(path), external_data=False)


def _trace(module: Any, sample_shape: tuple[int, ...]) -> tuple[Any, Any]:
    import torch

    dtype = next(module.parameters()).dtype
    example = torch.zeros((2, *sample_shape), dtype=dtype)
    batch = torch.export.Dim("batch", min=1, max=_MAX_BATCH)
    with _quiet(), torch.no_grad():
        program = torch.export.export(
            module, (), kwargs={"pixel_values": example}, dynamic_shapes={"pixel_values": {0: batch}}
        )
    return program, dtype


def count_module(module: Any, sample_shape: tuple[int, ...]) -> tuple[int, int]:
    """Count the multiply-accumulates of one sample and the parameters of a module."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    dtype = next(module.parameters()).dtype
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(torch.zeros((1, *sample_shape), dtype=dtype))
    # PyTorch counts a multiply and an add as two operations.
    return int(counter.get_total_flops()) // 2, sum(p.numel() for p in module.parameters())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' chatter out of the user's terminal; failures still raise."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
