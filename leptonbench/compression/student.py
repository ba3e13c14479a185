"""The student of a distillation: its configuration, its first weights, its teacher. Imports torch."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leptonbench.compression.base import Context, Options, Tuning
from leptonbench.compression.finetune import Course, restore_statistics, train
from leptonbench.compression.source import resolve_source
from leptonbench.compression.tuned import copy_settings
from leptonbench.errors import NotApplicable, UsageError
from leptonbench.tasks.base import Batch
from leptonbench.tasks.network import Network

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


def note_control(student: Network, tuning: Tuning, taught: Course, context: Context) -> None:
    """Note what the same student reaches without the teacher: same start, same batches, the task's loss alone."""
    if tuning.score is None or tuning.lesson.loss(_outputs(student, tuning), next(_batches(tuning))) is None:
        return
    control = copy.deepcopy(student)
    restore_statistics(control, tuning)
    context.note("quality_before_tuning", tuning.score(control))
    course = replace(taught, name=f"{taught.name} without teacher", teacher=None)
    train(control, tuning, course, say=context.say)
    context.note("quality_without_teacher", tuning.score(control))


def _batches(tuning: Tuning) -> Iterator[Batch]:
    return tuning.lesson.batches(tuning.seed)


def _outputs(network: Network, tuning: Tuning) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return network(**next(_batches(tuning)).inputs)


def load_teacher(model: Network, options: Options, context: Context, example: dict[str, Tensor]) -> Network:
    """Return the uncompressed network, or the teacher that the options name.

    Raises:
        UsageError: If its outputs are not the network's.
    """
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


def build_student(config: dict[str, Any], model: Network, context: Context, example: dict[str, Tensor]) -> Network:
    """Build the student from its configuration and give it every other channel of the network's weights."""
    with tempfile.TemporaryDirectory(dir=context.workdir) as scratch:
        folder = Path(scratch)
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
