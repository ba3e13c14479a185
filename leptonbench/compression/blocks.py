"""Transformer structures that lose width as a whole: attention by heads, gated convolution modules inside.

A dependency graph made from a trace sees neither: heads are a view of a tensor, and a gate multiplies the two halves
of one.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
_OTHER_PROJECTIONS = (("query", "key", "value"), ("q_lin", "k_lin", "v_lin"), ("linear_q", "linear_k", "linear_v"))
_CONVOLUTIONS = ("pointwise_conv1", "depthwise_conv", "pointwise_conv2")


def inner_layers(network: nn.Module) -> set[nn.Module]:
    """Return the layers whose widths follow heads or gates: nothing but `shrink` may change them."""
    layers: set[nn.Module] = set()
    for module in network.modules():
        children: dict[str, Any] = dict(module.named_children())
        for names in (_PROJECTIONS, *_OTHER_PROJECTIONS, _CONVOLUTIONS[:2]):
            if all(name in children for name in names):
                layers.update(children[name] for name in names)
                if "relative_k_proj" in children:
                    layers.add(children["relative_k_proj"])
    return layers


def shrink(network: nn.Module, *, ratio: float) -> dict[str, str]:
    """Remove a share of the heads and of the inner channels of gated convolutions, the weakest first, in place.

    Returns:
        What was removed, by module name. Attention of an unknown form is left as it is.
    """
    removed: dict[str, str] = {}
    for name, module in network.named_modules():
        if _is_attention(module):
            before, after = _shrink_attention(module, ratio)
            kind = "heads"
        elif _is_gated_convolution(module):
            before, after = _shrink_convolution(module, ratio)
            kind = "inner channels"
        else:
            continue
        if after < before:
            removed[name] = f"{before} -> {after} {kind}"
    return removed


def _is_attention(module: nn.Module) -> bool:
    """Say whether a module is attention whose forward takes the number of heads from tensors and its config."""
    children: dict[str, Any] = dict(module.named_children())
    if not all(isinstance(children.get(name), nn.Linear) for name in (*_PROJECTIONS, "o_proj")):
        return False
    if not isinstance(getattr(module, "head_dim", None), int) or not hasattr(module, "config"):
        return False
    return len({children[name].weight.shape[0] for name in _PROJECTIONS}) == 1  # not grouped queries


def _shrink_attention(module: Any, ratio: float) -> tuple[int, int]:
    size = module.head_dim
    heads = module.q_proj.weight.shape[0] // size
    keep = max(1, int(heads * (1 - ratio) + 0.5))
    # What a head can add to the sum is bounded by its values and by the output's columns that read them.
    values = module.v_proj.weight.detach().view(heads, -1).norm(dim=1)
    columns = module.o_proj.weight.detach().view(-1, heads, size).transpose(0, 1).reshape(heads, -1).norm(dim=1)
    kept = _strongest(values * columns, keep)
    rows = (kept[:, None] * size + torch.arange(size)).flatten()
    for name in (*_PROJECTIONS, "relative_k_proj"):
        if hasattr(module, name):
            keep_outputs(getattr(module, name), rows)
    keep_inputs(module.o_proj, rows)
    for name in ("bias_u", "bias_v"):
        if hasattr(module, name):
            setattr(module, name, _part(getattr(module, name), kept, 0))
    module.config = copy.copy(module.config)  # the other layers' stays as it is
    module.config.num_attention_heads = module.config.num_key_value_heads = keep
    return heads, keep


def _is_gated_convolution(module: nn.Module) -> bool:
    children: dict[str, Any] = dict(module.named_children())
    if not all(isinstance(children.get(name), nn.Conv1d) for name in _CONVOLUTIONS):
        return False
    first, middle, last = (children[name] for name in _CONVOLUTIONS)
    width = middle.weight.shape[0]
    joined = first.weight.shape[0] == 2 * width and last.weight.shape[1] == width and middle.weight.shape[1] == 1
    norms = [child for child in children.values() if "Norm" in type(child).__name__]
    return joined and all(
        isinstance(norm, nn.BatchNorm1d) and norm.num_features == width for norm in norms if _spans(norm, width)
    )


def _spans(norm: nn.Module, width: int) -> bool:
    return any(parameter.shape == (width,) for parameter in norm.parameters(recurse=False))


def _shrink_convolution(module: Any, ratio: float) -> tuple[int, int]:
    width = module.depthwise_conv.weight.shape[0]
    keep = min(width, max(8, int(width * (1 - ratio) / 8 + 0.5) * 8))
    first = module.pointwise_conv1.weight.detach().view(2, width, -1).norm(dim=2).prod(dim=0)
    last = module.pointwise_conv2.weight.detach().squeeze(-1).norm(dim=0)
    kept = _strongest(first * module.depthwise_conv.weight.detach().view(width, -1).norm(dim=1) * last, keep)
    keep_outputs(module.pointwise_conv1, torch.cat([kept, kept + width]))  # both halves of the gate
    keep_outputs(module.depthwise_conv, kept)
    module.depthwise_conv.groups = module.depthwise_conv.in_channels = keep
    for child in module.children():
        if isinstance(child, nn.BatchNorm1d) and child.num_features == width:
            _keep_features(child, kept)
    keep_inputs(module.pointwise_conv2, kept)
    return width, keep


def _strongest(strength: Tensor, keep: int) -> Tensor:
    return torch.argsort(strength, descending=True, stable=True)[:keep].sort().values


def _part(tensor: nn.Parameter, kept: Tensor, dim: int) -> nn.Parameter:
    return nn.Parameter(tensor.detach().index_select(dim, kept).clone(), requires_grad=tensor.requires_grad)


def keep_outputs(layer: Any, kept: Tensor) -> None:
    """Keep some output channels of a convolution or linear layer, in place."""
    layer.weight = _part(layer.weight, kept, 0)
    if layer.bias is not None:
        layer.bias = _part(layer.bias, kept, 0)
    setattr(layer, "out_features" if isinstance(layer, nn.Linear) else "out_channels", len(kept))


def keep_inputs(layer: Any, kept: Tensor) -> None:
    """Keep some input channels of a convolution or linear layer, in place."""
    layer.weight = _part(layer.weight, kept, 1)
    setattr(layer, "in_features" if isinstance(layer, nn.Linear) else "in_channels", len(kept))


def _keep_features(norm: nn.BatchNorm1d, kept: Tensor) -> None:
    norm.weight, norm.bias = _part(norm.weight, kept, 0), _part(norm.bias, kept, 0)
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean = norm.running_mean.index_select(0, kept).clone()
        norm.running_var = norm.running_var.index_select(0, kept).clone()
    norm.num_features = len(kept)
