"""Which channels of a network can go, which of them matter least, and their removal. Imports torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch_pruning
from torch import Tensor, nn

from leptonbench.compression import blocks
from leptonbench.errors import NotApplicable
from leptonbench.tasks.network import Network

CHANNEL_STEP = 8  # what is left is a multiple of it
_ROOTS = (nn.modules.conv._ConvNd, nn.Linear)


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
