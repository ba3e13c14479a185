"""From a network to what an engine loads: a `torch.export` program or an ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leptonbench.schema import TensorSpec
from leptonbench.tasks.base import Arrays

if TYPE_CHECKING:
    from torch import Tensor

    from leptonbench.tasks.network import Network

_MAX_BATCH = 4096  # upper bound stated to torch.export for the free batch dimension
_OPSET = 18  # the oldest opset with everything these models need: widest choice of engines


def export_program(network: Network, sample: Arrays, *, path: Path) -> tuple[tuple[TensorSpec, ...], ...]:
    """Save a network as a `torch.export` program with a free batch dimension.

    Args:
        network: In the type that it is to compute in.
        sample: A batch of one typical sample.
        path: Of the file to write.

    Returns:
        The inputs' and the outputs' names, shapes and types.
    """
    import torch

    program = _trace(network, sample)
    with _quiet():
        torch.export.save(program, path)
    tensors = example_tensors(network, sample)
    with torch.no_grad():
        outputs = network(**tensors)
    free = network.free_dims
    taken = tuple(_spec(name, tensor, free.get(name, {})) for name, tensor in tensors.items())
    # An output's length follows the inputs' free dimensions in ways that only the program knows.
    given = tuple(
        TensorSpec(
            name=name,
            shape=(None,) * tensor.ndim if free else (None, *tensor.shape[1:]),
            dtype=str(tensor.dtype).removeprefix("torch."),
        )
        for name, tensor in zip(network.output_names, outputs, strict=True)
    )
    return taken, given


def export_onnx(network: Network, sample: Arrays, *, path: Path) -> None:
    """Save a network as one ONNX file with a free batch dimension; inputs and outputs are fp32.

    A bf16 network is exported with its rounded weights in fp32 containers: the engine computes in bf16 by its own
    setting, since ONNX engines for CPUs take bf16 that way. An fp16 network becomes a graph of fp16 operators between
    casts, as engines expect it.
    """
    import torch

    half = next(network.parameters()).dtype is torch.float16
    program = _trace(network.to(torch.float32), sample)
    with _quiet():
        exported = torch.onnx.export(
            program,
            input_names=list(sample),
            output_names=list(network.output_names),
            opset_version=_OPSET,
            dynamo=True,
        )
        if exported is None:
            raise RuntimeError("torch.onnx.export returned nothing")
        exported.save(str(path), external_data=False)
    if half:
        _halve(path)


def _halve(path: Path) -> None:
    """Turn an fp32 graph into one of fp16 operators, with fp32 inputs and outputs."""
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _quiet():
        halved = ONNXModel(convert_float_to_float16(onnx.load(str(path)), keep_io_types=True))
        halved.topological_sort()  # the converter appends its casts at the end; the format asks for them in order
        onnx.save(halved.model, str(path))


def example_tensors(network: Network, sample: Arrays, *, rows: int = 1) -> dict[str, Tensor]:
    """Return a sample, repeated to a batch, as tensors in the types that the network takes."""
    import numpy as np
    import torch

    dtype = next(network.parameters()).dtype
    tensors = {name: torch.from_numpy(np.repeat(array, rows, axis=0)) for name, array in sample.items()}
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}


def _trace(network: Network, sample: Arrays) -> Any:
    import torch

    batch = torch.export.Dim("batch", min=1, max=_MAX_BATCH)
    # A free length's own bounds (a network may need some frames at least) are for torch.export to find.
    shapes = {
        name: {0: batch, **{dim: torch.export.Dim.DYNAMIC for dim in network.free_dims.get(name, {})}}
        for name in sample
    }
    # A batch of two: torch.export takes a dimension of one for a constant.
    with _quiet(), torch.no_grad():
        return torch.export.export(network, (), kwargs=example_tensors(network, sample, rows=2), dynamic_shapes=shapes)


def count_network(network: Network, sample: Arrays) -> tuple[int, int]:
    """Count the multiply-accumulates of one sample and the parameters of a network."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(**example_tensors(network, sample))
    # PyTorch counts a multiply and an add as two operations.
    return int(counter.get_total_flops()) // 2, sum(p.numel() for p in network.parameters())


def _spec(name: str, tensor: Tensor, free: dict[int, str]) -> TensorSpec:
    shape = tuple(None if dim == 0 or dim in free else size for dim, size in enumerate(tensor.shape))
    return TensorSpec(name=name, shape=shape, dtype=str(tensor.dtype).removeprefix("torch."))


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
