"""Weights that torch's engine narrows or packs itself when it loads a program: int8 and int4 by torchao, 2:4 by torch.

An exported program calls `aten.linear` on tensors; torchao and torch's sparse kernels want `nn.Linear`. So the calls
are turned into such layers first. Convolutions stay as they are, and a network whose weights are mostly theirs is
refused: it would be measured under a label that hardly any of its products has.
"""

from __future__ import annotations

import warnings
from typing import Any

from leptonbench.errors import MeasurementError
from leptonbench.schema import Artifact

APPLIED = frozenset({"quantize-dynamic", "quantize-weights"})
"""Techniques that this engine applies to the program itself; elsewhere they write an ONNX graph."""
SPARSE = "sparse-2:4"
_HALF_TYPES = ("fp16", "bf16")  # that torch's sparse kernels multiply; fp32 would be rounded to TF32
_LEAST_SHARE = 0.5


def apply_steps(module: Any, artifact: Artifact) -> tuple[Any, dict[str, Any]]:
    """Apply those of a recipe's steps that are left to the engine.

    Args:
        module: Of a program, on its device.
        artifact: Its recipe and precision.

    Returns:
        The module, and what was done.

    Raises:
        MeasurementError: If most of the weights would be left as they are.
    """
    step = next((step for step in artifact.recipe if step.technique in APPLIED), None)
    if step is not None:
        found = with_linear_layers(module)
        return _quantised(found, step.technique, int(step.options.get("block", 32)))
    if any(step.technique == SPARSE for step in artifact.recipe) and artifact.precision in _HALF_TYPES:
        return _packed(with_linear_layers(module))
    return module, {}


def with_linear_layers(module: Any) -> Any:
    """Turn a program's calls of `aten.linear` with a constant weight into layers; what it computes stays the same."""
    import torch

    names = {}
    for number, node in enumerate(module.graph.nodes):
        if node.op != "call_function" or node.target is not torch.ops.aten.linear.default:
            continue
        weight = _constant(module, node.args[1])
        bias = _constant(module, node.args[2]) if len(node.args) > 2 and node.args[2] is not None else None
        if weight is None or (bias is None and len(node.args) > 2 and node.args[2] is not None):
            continue
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        layer.weight = torch.nn.Parameter(weight.detach(), requires_grad=False)
        if bias is not None:
            layer.bias = torch.nn.Parameter(bias.detach(), requires_grad=False)
        names[node] = f"linear_{number}"
        module.add_submodule(names[node], layer)
    for node, name in names.items():
        with module.graph.inserting_before(node):
            call = module.graph.call_module(name, (node.args[0],))
        node.replace_all_uses_with(call)
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _constant(module: Any, node: Any) -> Any:
    """Return the tensor that a node stands for; `None` where it is computed."""
    if node.op != "get_attr":
        return None
    found = module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found


def _layers(module: Any) -> list[Any]:
    import torch

    return [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]


def _share(module: Any, layers: list[Any]) -> float:
    """Return the share of the network's weights that lies in these layers; vectors count as none's."""
    total = {p.data_ptr(): p.numel() for p in (*module.parameters(), *module.buffers()) if p.dim() > 1}
    held = {layer.weight.data_ptr(): layer.weight.numel() for layer in layers}
    return float(sum(held.values()) / max(1, sum({**total, **held}.values())))


def _quantised(module: Any, technique: str, block: int) -> tuple[Any, dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchao tells at import which optional kernels it did not find
        import torch
        import torchao
        from torchao import quantization
        from torchao.quantization.granularity import PerGroup
    layers = [one for one in _layers(module) if technique == "quantize-dynamic" or one.in_features % block == 0]
    share = _share(module, layers)
    if share < _LEAST_SHARE:
        raise MeasurementError(
            "torchao would leave most of this network as it is",
            cause=f"it narrows matrix products, and they hold {share:.0%} of the weights",
            hint="use the `onnxruntime-tensorrt` backend with a variant of `quantize-static`",
        )
    config = (
        quantization.Int8DynamicActivationInt8WeightConfig()
        if technique == "quantize-dynamic"
        else quantization.IntxWeightOnlyConfig(
            weight_dtype=getattr(torch, "int4"),  # noqa: B009 - not among its stubs
            granularity=PerGroup(block),
        )
    )
    chosen = set(map(id, layers))
    quantization.quantize_(module, config, filter_fn=lambda layer, name: id(layer) in chosen)
    return module, {
        "weights_by": f"torchao {torchao.__version__}",
        "narrowed_layers": len(layers),
        "narrowed_share": round(share, 3),
        "executed_precision": "int8" if technique == "quantize-dynamic" else "fp32",
    }


def _two_in_four(weight: Any) -> bool:
    """Say whether each four neighbours in a row hold two zeros: packing keeps two values of any four without a word."""
    if weight.shape[1] % 4:
        return False
    return bool(((weight != 0).unflatten(1, (-1, 4)).sum(-1) <= 2).all())


def _packed(module: Any) -> tuple[Any, dict[str, Any]]:
    """Pack the weights of layers with two zeros in every four; others, and sizes that the kernels lack, stay dense."""
    import torch
    from torch.sparse import to_sparse_semi_structured

    packed, dense = 0, 0
    for layer in _layers(module):
        if not _two_in_four(layer.weight):
            dense += 1
            continue
        try:
            layer.weight = torch.nn.Parameter(to_sparse_semi_structured(layer.weight), requires_grad=False)
            packed += 1
        except (RuntimeError, ValueError):
            dense += 1
    if not packed:
        raise MeasurementError(
            "no layer of this network can run on sparse kernels",
            cause=f"{dense} matrix products, none with two zeros in every four and sizes that the kernels have",
            hint="use the variant without `sparse-2:4`: the dense kernels multiply the zeros",
        )
    return module, {"sparse_layers": packed, "dense_layers": dense}
