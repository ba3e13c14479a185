"""Remove whole channels, then tune: fewer multiplications on every engine, without any special kernel.

Which tensors must lose a channel together (residual sums, normalisations, the next layer's inputs) is read off the
network itself by torch-pruning's dependency graph (Fang et al., "DepGraph", CVPR 2023). Within such a group the
channels of least norm go, counted over all layers of the group; every group loses the same share, in steps of eight
channels, since kernels work on vectors of eight or more.

Three kinds of structure are treated apart. The inputs and outputs of the network stay. Where a LayerNorm, an
embedding or a learned vector spans the channels (the residual stream of a transformer), they stay too. Attention loses
whole heads and a gated convolution module its inner channels (`leptonbench.compression.blocks`), which the graph does
not see through.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch_pruning
from torch import Tensor, nn

from leptonbench.compression import blocks
from leptonbench.compression.base import Context, Options, check_options
from leptonbench.compression.finetune import Course, restore_statistics, train
from leptonbench.errors import NotApplicable, UsageError
from leptonbench.tasks.network import Network

CHANNEL_STEP = 8  # what is left is a multiple of it
_STEPS = 160
_ROOTS = (nn.modules.conv._ConvNd, nn.Linear)


class PruneChannels:
    """Structured pruning by group norm, followed by tuning against the uncompressed network.

    Options: `ratio`, the share of channels that every group loses; `steps`, batches to tune on.
    """

    stage: ClassVar[Literal["module", "graph"]] = "module"
    order: ClassVar[int] = 20
    uses_calibration: ClassVar[bool] = False
    tunes: ClassVar[bool] = True

    def apply(self, model: Network, options: Options, context: Context) -> Network:
        """Return the network with fewer channels, tuned.

        Raises:
            UsageError: If an option is unknown or out of range.
            NotApplicable: If the network has no channels that can go.
        """
        check_options("prune-channels", options, {"ratio": (), "steps": ()})
        ratio, steps = fraction("prune-channels", options, "ratio", 0.5), count("prune-channels", options, _STEPS)
        tuning = context.tuning()
        example = {name: tensor[:2] for name, tensor in next(tuning.lesson.batches(tuning.seed)).inputs.items()}
        before = sum(parameter.numel() for parameter in model.parameters())
        removed = remove_channels(model, example, ratio=ratio)
        after = sum(parameter.numel() for parameter in model.parameters())
        context.say(f"prune-channels: {before:,} parameters become {after:,}")
        context.note("removed", removed)
        context.note("parameters_before", before)
        context.note("parameters_after", after)
        teacher = context.load_network(context.source, True)
        if tuning.score is not None:
            context.note("quality_uncompressed", tuning.score(teacher))
            restore_statistics(model, tuning)
            context.note("quality_before_tuning", tuning.score(model))
        name = f"prune-channels {ratio:g}"
        trained = train(model, tuning, Course(name, steps, teacher=teacher), say=context.say)
        context.note("tuning", trained.facts())
        if tuning.score is not None:
            context.note("quality_after_tuning", tuning.score(model))
        return model


class _Cut(NamedTuple):
    """Channels of one group that go."""

    root: nn.Module
    prune: Any
    channels: list[int]


def remove_channels(network: Network, example: dict[str, Tensor], *, ratio: float) -> dict[str, str]:
    """Remove the share `ratio` of the channels of every group of layers that can lose some, in place.

    Args:
        network: Any.
        example: Input tensors to trace it with.
        ratio: Between 0 and 1.

    Returns:
        What was removed, by the name of the first layer of each group: `128 -> 64 channels`.

    Raises:
        NotApplicable: If nothing can be removed.
    """
    network.requires_grad_(True).eval()
    with torch.no_grad():
        shapes = [output.shape for output in network(**example)]
    graph = torch_pruning.DependencyGraph().build_dependency(network, example_inputs=example, verbose=False)
    names = {module: name for name, module in network.named_modules()}
    protected = _output_layers(graph) | blocks.inner_layers(network)
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    cuts: list[_Cut] = []
    removed: dict[str, str] = {}
    for group in graph.get_all_groups(root_module_types=_ROOTS):
        if not _can_shrink(graph, group, protected):
            continue
        dependency, channels = group[0]
        keep = rounded(len(channels), ratio)
        if keep >= len(channels):
            continue
        norms = importance(group)
        weakest = torch.argsort(norms, stable=True)[: len(channels) - keep]
        cuts.append(_Cut(dependency.target.module, dependency.handler, sorted(weakest.tolist())))
        removed[names[dependency.target.module]] = f"{len(channels)} -> {keep} channels"
    for cut in cuts:
        graph.get_pruning_group(cut.root, cut.prune, cut.channels).prune()
    removed |= blocks.shrink(network, ratio=ratio)
    if not removed:
        raise NotApplicable(
            "no channels of this network can be removed",
            cause="its layers are all outputs, or joined to a normalisation or an embedding that keeps their width",
            hint="prune single weights instead: prune80-unstructured or sparse-2:4",
        )
    with torch.no_grad():
        pruned = [output.shape for output in network(**example)]
    if pruned != shapes:
        raise RuntimeError(f"pruning changed the network's outputs from {shapes} to {pruned}")
    network.requires_grad_(False)
    return removed


def rounded(channels: int, ratio: float) -> int:
    """Return how many of `channels` stay: a multiple of eight, at least eight, never more than there are."""
    keep = int(channels * (1 - ratio) / CHANNEL_STEP + 0.5) * CHANNEL_STEP
    return min(channels, max(CHANNEL_STEP, keep))


def _output_layers(graph: Any) -> set[nn.Module]:
    """Return the layers whose output channels are the network's outputs: no weights come after them."""
    found: set[nn.Module] = set()
    seen: set[Any] = set()
    waiting = [node for node in graph.module2node.values() if not node.outputs]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node.module, _ROOTS):
            found.add(node.module)
        else:
            waiting.extend(node.inputs)
    return found


def _can_shrink(graph: Any, group: Any, protected: set[nn.Module]) -> bool:
    """Say whether every tensor of a group may lose channels, and the graph saw all that depend on them."""
    for dependency, channels in group:
        module, out = dependency.target.module, graph.is_out_channel_pruning_fn(dependency.handler)
        if isinstance(module, nn.Parameter | nn.Embedding | nn.LayerNorm | nn.GroupNorm):
            return False
        if "Norm" in type(module).__name__ and not isinstance(module, nn.modules.batchnorm._BatchNorm):
            return False
        if isinstance(module, nn.modules.conv._ConvNd) and 1 < module.groups != module.out_channels:
            return False
        if out and isinstance(module, _ROOTS) and module in protected:
            return False
        # A gate, a view by heads or a flattened image, which the graph takes for element-wise, covers a part only;
        # a convolution's inputs may be covered in part, where tensors are joined.
        whole = graph.get_out_channels(module) if out else getattr(module, "in_features", None)
        if isinstance(module, _ROOTS) and whole is not None and set(channels) != set(range(whole)):
            return False
    return True


def fraction(technique: str, options: Options, name: str, default: float) -> float:
    """Return an option that is a share.

    Raises:
        UsageError: If it is not between 0 and 1, both excluded.
    """
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise UsageError(
            f"`{technique}` cannot take {name} = {value!r}", hint="it takes a share between 0 and 1, such as 0.5"
        )
    return float(value)


def count(technique: str, options: Options, default: int, *, name: str = "steps") -> int:
    """Return an option that is a positive whole number.

    Raises:
        UsageError: If it is not.
    """
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"`{technique}` cannot take {name} = {value!r}", hint="it takes a whole number from 1 on")
    return value
