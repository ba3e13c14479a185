"""Semi-structured sparsity: two of every four neighbouring weights are zero, as sparse tensor cores want them.

The pattern runs along the inputs of each output channel, the reduction dimension of the product: NVIDIA's kernels
(cuSPARSELt) take a weight of outputs x inputs, a convolution's as outputs x (height x width x inputs) with the inputs
innermost, as channels-last lays them out. Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from leptonbench.compression.base import Context, Options, check_options
from leptonbench.compression.options import count

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network

_STEPS = 50


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
        steps = count("sparse-2:4", options, _STEPS)
        from leptonbench.compression.masks import pattern_mask, tune_masked

        mask, dense = pattern_mask(model)
        context.note("left_dense", dense)
        return tune_masked(model, mask, steps, "sparse-2:4", context)
