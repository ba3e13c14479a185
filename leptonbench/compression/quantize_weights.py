"""4-bit weights of matrix products in small blocks, each with its own scale (ONNX Runtime's MatMulNBits)."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from leptonbench.compression.base import Context, Options, check_options
from leptonbench.compression.facts import add_facts
from leptonbench.compression.fold import fold, name_nodes
from leptonbench.errors import NotApplicable

_LEAST_SHARE = 0.1  # of the weights: below, the file stays much the size it was and the label would promise too much
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


class QuantizeWeights:
    """Weight-only quantisation of matrix products: activations and everything else stay in floating point.

    Options:
        block: Weights along the input that share a scale (32).
        symmetric: Without a zero point for each block (no).
        accuracy_level: What the kernel may compute in: 1 is fp32, the default; 4 lets it round activations to 8 bits
            block by block and multiply integers.
    """

    stage: ClassVar[Literal["module", "graph"]] = "graph"
    order: ClassVar[int] = 60
    uses_calibration: ClassVar[bool] = False
    tunes: ClassVar[bool] = False

    def apply(self, model: Any, options: Options, context: Context) -> Path:
        """Return an ONNX file with MatMulNBits in place of products with a constant matrix.

        Raises:
            UsageError: If an option is unknown or out of range.
            NotApplicable: If hardly any of the weights are in matrix products.
        """
        import onnx
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        allowed = {"block": (16, 32, 64, 128), "symmetric": (True, False), "accuracy_level": (1, 4)}
        check_options("quantize-weights", options, allowed)
        folded = fold(Path(model), context.workdir / "folded.onnx")
        name_nodes(folded)
        weights = _weights(folded)
        share = weights.get("MatMul", 0) / max(sum(weights.values()), 1)
        if share < _LEAST_SHARE:
            raise _not_applicable(weights)
        block = int(options.get("block", 32))
        symmetric = bool(options.get("symmetric", False))
        level = int(options.get("accuracy_level", 1))
        quantizer = MatMulNBitsQuantizer(folded, bits=4, block_size=block, is_symmetric=symmetric, accuracy_level=level)
        with _quiet():
            quantizer.process()
        made = quantizer.model.model
        facts = {
            "products_quantised": sum(node.op_type == "MatMulNBits" for node in made.graph.node),
            "share_of_weights": share,
            "block": block,
            "symmetric": symmetric,
            "accuracy_level": level,
        }
        add_facts(made, "quantize-weights", facts)
        target = context.workdir / "int4-weight.onnx"
        onnx.save(made, str(target))
        return target


def _weights(model: Any) -> dict[str, int]:
    """Count the constant weights of a graph by the operator that multiplies with them."""
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    counts: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type in _WEIGHTED and len(node.input) > 1 and node.input[1] in sizes:
            counts[node.op_type] = counts.get(node.op_type, 0) + sizes[node.input[1]]
    return counts


def _not_applicable(weights: dict[str, int]) -> NotApplicable:
    total = sum(weights.values())
    if not total:
        return NotApplicable(
            "4-bit weights do not apply to this model",
            cause="it has no product with constant weights",
            hint="leave the variant out for this workload",
        )
    convolutions = (weights.get("Conv", 0) + weights.get("ConvTranspose", 0)) / total
    return NotApplicable(
        "4-bit weights do not apply to this model",
        cause=f"{_percent(convolutions)} of its weights are in convolutions; block quantisation is for matrix "
        f"products, which hold {_percent(weights.get('MatMul', 0) / total)}",
        hint="use `int8-static` on convolutional networks",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantizer's line for each node out of the user's terminal; failures still raise."""
    logger = logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
