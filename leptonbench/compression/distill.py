"""Train a student of half the width to answer as the uncompressed network does.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015: the loss is the divergence from the
teacher's answers at a temperature, plus the task's own loss where the task knows one.

A student from random weights would need as long as the network took to train. It starts instead from every other
channel of the network's own weights (Xu et al., "Initializing Models with Larger Ones", ICLR 2024), which the facts
say, for it makes this a cousin of pruning.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar, Literal

from leptonbench.compression.base import Context, Options, check_options
from leptonbench.compression.options import count

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network

_STEPS = 320
_RATE_FACTOR = 2.0  # half the channels are gone: the student has further to go than after single weights


class Distill:
    """Distillation into a student of half the width.

    Options: `teacher`, a hub id or folder of a larger teacher in place of the network itself; `steps`, batches to
    learn from.
    """

    stage: ClassVar[Literal["module", "graph"]] = "module"
    order: ClassVar[int] = 10
    uses_calibration: ClassVar[bool] = False
    tunes: ClassVar[bool] = True

    def apply(self, model: Network, options: Options, context: Context) -> Network:
        """Return the trained student.

        Raises:
            UsageError: If an option is unknown or out of range, or the teacher's outputs are not the network's.
            NotApplicable: If the configuration states no width, or does not build at half of it.
        """
        check_options("distill", options, {"teacher": (), "steps": ()})
        steps = count("distill", options, _STEPS)
        from leptonbench.compression.finetune import Course, train
        from leptonbench.compression.student import build_student, halved, load_teacher, note_control

        tuning = context.tuning()
        example = {name: tensor[:2] for name, tensor in next(tuning.lesson.batches(tuning.seed)).inputs.items()}
        teacher = load_teacher(model, options, context, example)
        config = halved(json.loads((context.source / "config.json").read_text(encoding="utf-8")))
        student = build_student(config, model, context, example)
        before, after = (sum(p.numel() for p in network.parameters()) for network in (model, student))
        context.say(f"distill: a student of {after:,} parameters of a network of {before:,}")
        context.note("config", config)
        context.note("start", "every other channel of the network's own weights")
        context.note("teacher", str(options.get("teacher", "the uncompressed network")))
        context.note("parameters_before", before)
        context.note("parameters_after", after)
        course = Course("distill", steps, rate_factor=_RATE_FACTOR, teacher=teacher)
        if tuning.score is not None:
            context.note("quality_uncompressed", tuning.score(teacher))
            note_control(student, tuning, course, context)
        trained = train(student, tuning, course, say=context.say)
        context.note("tuning", trained.facts())
        if tuning.score is not None:
            context.note("quality_after_tuning", tuning.score(student))
        return student
