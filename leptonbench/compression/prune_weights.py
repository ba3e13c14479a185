"""Set single weights to zero, then tune the others: smaller to store; faster only where a kernel skips zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from leptonbench.compression.base import Context, Options, check_options
from leptonbench.compression.options import count, fraction

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network

_STEPS = 50


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
        steps = count("prune-weights", options, _STEPS)
        from leptonbench.compression.masks import magnitude_mask, tune_masked

        return tune_masked(model, magnitude_mask(model, sparsity), steps, f"prune-weights {sparsity:g}", context)
