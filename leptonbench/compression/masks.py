"""Which single weights of a network may differ from zero, and tuning under such a mask. Imports torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from leptonbench.compression.base import Context
from leptonbench.compression.finetune import Course, apply_mask, restore_statistics, train
from leptonbench.errors import NotApplicable
from leptonbench.tasks.base import Batch
from leptonbench.tasks.network import Network

_NEAR = 0.25  # squared error of the outputs over their variance: up to there what is left is nearly right
_RATE_FACTOR = 0.2  # of the learning rate then: at the full rate short tuning loses more than it wins back
_OF = 4
_KEPT = 2


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
    restore_statistics(model, tuning)
    if tuning.score is not None:
        context.note("quality_before_tuning", tuning.score(model))
    changed = outputs_changed(model, teacher, next(tuning.lesson.batches(tuning.seed)))
    context.note("outputs_changed", round(changed, 4))
    near = changed <= _NEAR
    course = Course(name, steps, _RATE_FACTOR if near else 1.0, teacher=teacher, mask=mask, steady=near)
    trained = train(model, tuning, course, say=context.say)
    context.note("tuning", trained.facts())
    context.note("zeros", zeros_by_layer(model))
    if tuning.score is not None:
        context.note("quality_after_tuning", tuning.score(model))
    return model


def outputs_changed(network: Network, teacher: Network, batch: Batch) -> float:
    """Return the mean squared difference of two networks' outputs over the teacher's variance, of the worst output."""
    with torch.inference_mode():
        pairs = zip(network(**batch.inputs), teacher(**batch.inputs), strict=True)
        return max(float((found - wanted).square().mean() / wanted.var().clamp_min(1e-12)) for found, wanted in pairs)


def zeros_by_layer(network: nn.Module) -> dict[str, float]:
    """Return the share of zeros among each layer's weights."""
    return {name: round(float((weight == 0).float().mean()), 4) for name, weight in weight_names(network).items()}


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
