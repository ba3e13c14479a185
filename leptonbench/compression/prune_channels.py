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

from typing import TYPE_CHECKING, ClassVar, Literal

from leptonbench.compression.base import Context, Options, check_options
from leptonbench.compression.options import count, fraction

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network

_STEPS = 160
_RATE_FACTOR = 2.0  # whole channels are gone: there is further to go than after single weights


class PruneChannels:
    """Structured pruning by group norm, followed by tuning against the uncompressed network.

    Options: `ratio`, the share of channels that every group loses; `steps`, batches to tune on, times the lesson's
    factor.
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
        from leptonbench.compression.channels import remove_channels
        from leptonbench.compression.finetune import Course, restore_statistics, train

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
        trained = train(model, tuning, Course(name, steps, rate_factor=_RATE_FACTOR, teacher=teacher), say=context.say)
        context.note("tuning", trained.facts())
        if tuning.score is not None:
            context.note("quality_after_tuning", tuning.score(model))
        return model
