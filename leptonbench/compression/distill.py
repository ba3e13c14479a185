"""Train a student of half the width to answer as the uncompressed network does.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015: the loss is the divergence from the
teacher's answers at a temperature, plus the task's own loss where the task knows one.

A student from random weights would need as long as the network took to train. It starts instead from every other
channel of the network's own weights (Xu et al., "Initializing Models with Larger Ones", ICLR 2024), which the facts
say, for it makes this a cousin of pruning.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from leptonbench.compression.base import Context, Options, Tuning, check_options
from leptonbench.compression.finetune import Course, restore_statistics, train
from leptonbench.compression.prune_channels import count
from leptonbench.compression.source import resolve_source
from leptonbench.errors import NotApplicable, UsageError
from leptonbench.tasks.network import Network

_STEPS = 320
_RATE_FACTOR = 2.0  # half the channels are gone: the student has further to go than a network that is only tuned
# What transformers' configurations (and CenterNet's) call widths and numbers of heads.
_WIDTHS = frozenset(
    {
        *(
            "embedding_size",
            "hidden_size",
            "hidden_sizes",
            "hidden_channels",
            "intermediate_size",
            "channels",
            "widths",
        ),
        *("neck_sizes", "head_size", "d_model", "embed_dim", "dim", "conv_dim", "subsampling_conv_channels"),
        *("encoder_ffn_dim", "decoder_ffn_dim", "encoder_hidden_dim", "depth_multiplier", "width_coefficient"),
        *("num_attention_heads", "num_key_value_heads", "num_heads"),
        *("encoder_attention_heads", "decoder_attention_heads"),
    }
)


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
        tuning = context.tuning()
        example = {name: tensor[:2] for name, tensor in next(tuning.lesson.batches(tuning.seed)).inputs.items()}
        teacher = _teacher(model, options, context, example)
        config = halved(json.loads((context.source / "config.json").read_text(encoding="utf-8")))
        student = _build(config, model, context, example)
        before, after = (sum(p.numel() for p in network.parameters()) for network in (model, student))
        context.say(f"distill: a student of {after:,} parameters of a network of {before:,}")
        context.note("config", config)
        context.note("start", "every other channel of the network's own weights")
        context.note("teacher", str(options.get("teacher", "the uncompressed network")))
        context.note("parameters_before", before)
        context.note("parameters_after", after)
        if tuning.score is not None:
            context.note("quality_uncompressed", tuning.score(teacher))
            _note_control(student, tuning, steps, context)
        course = Course("distill", steps, rate_factor=_RATE_FACTOR, teacher=teacher)
        trained = train(student, tuning, course, say=context.say)
        context.note("tuning", trained.facts())
        if tuning.score is not None:
            context.note("quality_after_tuning", tuning.score(student))
        return student


def _note_control(student: Network, tuning: Tuning, steps: int, context: Context) -> None:
    """Note what the same student reaches without the teacher: same start, same batches, the task's loss alone."""
    if tuning.score is None or tuning.lesson.loss(_outputs(student, tuning), next(_batches(tuning))) is None:
        return
    control = copy.deepcopy(student)
    restore_statistics(control, tuning)
    context.note("quality_before_tuning", tuning.score(control))
    course = Course("distill without teacher", steps, rate_factor=_RATE_FACTOR)
    train(control, tuning, course, say=context.say)
    context.note("quality_without_teacher", tuning.score(control))


def _batches(tuning: Tuning) -> Any:
    return tuning.lesson.batches(tuning.seed)


def _outputs(network: Network, tuning: Tuning) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return network(**next(_batches(tuning)).inputs)


def _teacher(model: Network, options: Options, context: Context, example: dict[str, Tensor]) -> Network:
    name = options.get("teacher")
    if name is None:
        return context.load_network(context.source, True)
    teacher = context.load_network(resolve_source(str(name)).path, True)
    try:
        _check_outputs(teacher, model, example)
    except (RuntimeError, ValueError, TypeError) as error:
        raise UsageError(
            f"`{name}` cannot teach this network",
            cause=str(error).strip().splitlines()[0],
            hint="give a teacher of the same task, classes and input size",
        ) from error
    return teacher


def _check_outputs(network: Network, model: Network, example: dict[str, Tensor]) -> None:
    """Raise a ValueError if two networks' outputs differ in shape."""
    with torch.no_grad():
        found = [tuple(output.shape) for output in network(**example)]
        wanted = [tuple(output.shape) for output in model(**example)]
    if found != wanted:
        raise ValueError(f"its outputs for the same inputs are {found}, the network's {wanted}")


def halved(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with every width and number of heads halved, in nested ones too.

    Raises:
        NotApplicable: If none is stated.
    """
    student = _halved(config)
    if student == config:
        raise NotApplicable(
            f"a `{config.get('model_type', 'nameless')}` network cannot be built at half its width",
            cause="its configuration states no width that is known here",
            hint="give a smaller model with --model, or prune channels: prune50-channel",
        )
    return student


def _halved(config: Mapping[str, Any]) -> dict[str, Any]:
    student: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and key not in ("id2label", "label2id"):
            student[key] = _halved(value)
        elif key in _WIDTHS:
            student[key] = [_half(each) for each in value] if isinstance(value, list | tuple) else _half(value)
        else:
            student[key] = value
    return student


def _half(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return value / 2 if isinstance(value, float) else max(1, value // 2)


def _build(config: dict[str, Any], model: Network, context: Context, example: dict[str, Tensor]) -> Network:
    """Build the student from its configuration and give it every other channel of the network's weights."""
    folder = context.workdir / "student"
    copy_settings(context.source, folder)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    try:
        student = context.load_network(folder, False)
        _check_outputs(student, model, example)
    except Exception as error:  # configurations refuse odd widths with errors of many kinds
        raise NotApplicable(
            "this network cannot be built at half its width",
            cause=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            hint="prune channels instead: prune50-channel",
        ) from error
    select_weights(student, model)
    return student


def copy_settings(source: Path, target: Path) -> None:
    """Copy what a Hugging Face folder says beside its configuration and weights: pre-processing, tokens."""
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.suffix in (".json", ".txt", ".model") and not file.name.endswith(".index.json"):
            shutil.copyfile(file, target / file.name)


def select_weights(student: nn.Module, teacher: nn.Module) -> None:
    """Give a narrower network evenly spaced channels of a wider one's tensors, in place.

    The same places are taken wherever a dimension has the same two sizes, so that channels still meet their own.
    """
    wide = teacher.state_dict()
    state = student.state_dict()
    for name, tensor in state.items():
        if name not in wide or wide[name].ndim != tensor.ndim:
            continue
        chosen = wide[name]
        for dim, size in enumerate(tensor.shape):
            if chosen.shape[dim] > size:
                places = torch.arange(size) * chosen.shape[dim] // size
                chosen = chosen.index_select(dim, places)
        if chosen.shape == tensor.shape:
            tensor.copy_(chosen)
    student.load_state_dict(state)
