"""Set single weights to zero, then tune the others: smaller to store; faster only where a kernel skips zeros."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from leptonbench.compression.base import Context, Options, check_options
from leptonbench.compression.finetune import Course, apply_mask, restore_statistics, train
from leptonbench.compression.prune_channels import count, fraction
from leptonbench.errors import NotApplicable
from leptonbench.tasks.network import Network

_STEPS = 120


class PruneWeights:
    """Unstructured pruning by magnitude over the whole network, followed by tuning of what is left.

    Options: `sparsity`, the share of weights that become zero; `steps`, batches to tune on.
    """

    stage: ClassVar[Literal["module", "graph"]] = "module"
    order: ClassVar[int] = 30
    uses_calibration: ClassVar[bool] = False
    tunes: ClassVar[bool] = True

    def apply(self, model: Network, options: Options, context: Context) -> Network:
        """Return the network with zeros, the rest tuned.

        Raises:
            UsageError: If an option is unknown or out of range.
            NotApplicable: If the network has no convolution or linear layer.
        """
        check_options("prune-weights", options, {"sparsity": (), "steps": ()})
        sparsity = fraction("prune-weights", options, "sparsity", 0.8)
        mask = magnitude_mask(model, sparsity)
        return tune_masked(model, mask, count("prune-weights", options, _STEPS), f"prune-weights {sparsity:g}", context)


def weight_names(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of convolutions and linear layers by parameter name."""
    return {
        f"{name}.weight" if name else "weight": module.weight
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
    }


def magnitude_mask(network: nn.Module, sparsity: float) -> dict[str, Tensor]:
    """Return where the largest weights are: all but the share `sparsity` over the network as a whole.

    Layers compete for what is kept, so that those with many small weights give most; each keeps one at least.

    Raises:
        NotApplicable: If there are no weights.
    """
    weights = weight_names(network)
    if not weights:
        raise NotApplicable("this network has no convolution or linear layer", hint="leave the variant out")
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
    # The threshold is a value of the sorted weights, for torch.quantile takes no more than 2**24 of them.
    threshold = magnitudes.sort().values[min(len(magnitudes) - 1, int(sparsity * len(magnitudes)))]
    mask = {}
    for name, weight in weights.items():
        magnitude = weight.detach().abs()
        kept = magnitude >= threshold
        mask[name] = kept if bool(kept.any()) else magnitude >= magnitude.max()
    return mask


def tune_masked(model: Network, mask: dict[str, Tensor], steps: int, name: str, context: Context) -> Network:
    """Apply a mask, tune the network under it and note how it went."""
    tuning = context.tuning()
    teacher = context.load_network(context.source, True)
    if tuning.score is not None:
        context.note("quality_uncompressed", tuning.score(teacher))
    apply_mask(model, mask)
    if tuning.score is not None:
        restore_statistics(model, tuning)
        context.note("quality_before_tuning", tuning.score(model))
    trained = train(model, tuning, Course(name, steps, teacher=teacher, mask=mask), say=context.say)
    context.note("tuning", trained.facts())
    context.note("zeros", zeros_by_layer(model))
    if tuning.score is not None:
        context.note("quality_after_tuning", tuning.score(model))
    return model


def zeros_by_layer(network: nn.Module) -> dict[str, float]:
    """Return the share of zeros among each layer's weights."""
    return {name: round(float((weight == 0).float().mean()), 4) for name, weight in weight_names(network).items()}
