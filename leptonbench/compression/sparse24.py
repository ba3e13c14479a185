"""Semi-structured sparsity: two of every four neighbouring weights are zero, as sparse tensor cores want them.

The pattern runs along the inputs of each output channel, the reduction dimension of the product: NVIDIA's kernels
(cuSPARSELt) take a weight of outputs x inputs, a convolution's as outputs x (height x width x inputs) with the inputs
innermost, as channels-last lays them out. Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from leptonbench.compression.base import Context, Options, check_options
from leptonbench.compression.prune_channels import count
from leptonbench.compression.prune_weights import tune_masked, weight_names
from leptonbench.errors import NotApplicable
from leptonbench.tasks.network import Network

_STEPS = 120
_OF = 4
_KEPT = 2


class Sparse24:
    """2:4 sparsity by magnitude, followed by tuning of what is left.

    Options: `steps`, batches to tune on.
    """

    stage: ClassVar[Literal["module", "graph"]] = "module"
    order: ClassVar[int] = 30
    uses_calibration: ClassVar[bool] = False
    tunes: ClassVar[bool] = True

    def apply(self, model: Network, options: Options, context: Context) -> Network:
        """Return the network with half of its weights zero, the rest tuned.

        Raises:
            UsageError: If an option is unknown or out of range.
            NotApplicable: If no layer has a multiple of four inputs.
        """
        check_options("sparse-2:4", options, {"steps": ()})
        mask, dense = pattern_mask(model)
        context.note("left_dense", dense)
        return tune_masked(model, mask, count("sparse-2:4", options, _STEPS), "sparse-2:4", context)


def pattern_mask(network: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Return where the two larger of every four neighbouring weights are, and which layers the pattern does not fit.

    Raises:
        NotApplicable: If it fits none.
    """
    mask: dict[str, Tensor] = {}
    dense: list[str] = []
    for name, weight in weight_names(network).items():
        if weight.shape[1] % _OF:  # inputs, of a group where there are groups
            dense.append(name)
        else:
            mask[name] = two_of_four(weight)
    if not mask:
        raise NotApplicable(
            "no layer of this network has a multiple of four inputs",
            cause=", ".join(dense[:8]) or "it has no convolution or linear layer",
            hint="prune single weights instead: prune80-unstructured",
        )
    return mask, dense


def two_of_four(weight: Tensor) -> Tensor:
    """Return which weights stay: along the inputs (dimension 1), the two of largest magnitude of every four.

    Args:
        weight: outputs x inputs, or outputs x inputs x a kernel's sides; inputs a multiple of four.

    Returns:
        Booleans of the weight's shape, two in every four true, also where magnitudes are equal.
    """
    last = weight.detach().abs().movedim(1, -1)
    groups = last.reshape(-1, _OF)
    kept = torch.zeros_like(groups, dtype=torch.bool)
    kept.scatter_(1, groups.topk(_KEPT, dim=1).indices, torch.ones_like(groups, dtype=torch.bool))
    return kept.reshape(last.shape).movedim(-1, 1).contiguous()
