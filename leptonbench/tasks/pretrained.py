"""What every task asks of a Hugging Face folder: all of its weights, and classes that are those of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leptonbench.errors import UsageError

# Inference reads neither: a count of training's batches, and what training puts over masked stretches of sound.
# Published Wav2Vec2 folders lack the second.
_TRAINING_ONLY = ("num_batches_tracked", "masked_spec_embed")


def check_whole(folder: Path, notes: Mapping[str, Any]) -> None:
    """Refuse a folder that lacks weights: transformers would draw them at random and only log it.

    Args:
        folder: Of the model.
        notes: What `from_pretrained(..., output_loading_info=True)` gives beside the model.

    Raises:
        UsageError: Naming the first that is missing.
    """
    missing = sorted(name for name in notes.get("missing_keys", ()) if not name.endswith(_TRAINING_ONLY))
    if missing:
        raise UsageError(
            f"the weights in `{folder}` are not those of the network in its config.json",
            cause=f"{len(missing)} tensors are missing, `{missing[0]}` first",
            hint="save the trained model, with its head, again with `save_pretrained`",
        )


def stated_labels(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the class names that a configuration states, in the order of the outputs; `None` if it names none.

    `LABEL_0` and so on are what transformers writes for classes without names.
    """
    names = config.get("id2label")
    if not names or all(str(name) == f"LABEL_{key}" for key, name in names.items()):
        return None
    return tuple(str(names[key]) for key in sorted(names, key=int))


def check_labels(labels: Sequence[str] | None, count: int, *, classes: Sequence[str], hint: str) -> None:
    """Refuse a model of other classes than the data's; one that names none has as many, in the data's order.

    Args:
        labels: The model's names, as `stated_labels` gives them.
        count: Of the model's classes.
        classes: The data's names.
        hint: What to do.

    Raises:
        UsageError: If names differ by more than case, or without names the counts differ.
    """
    if labels is None and count == len(classes):
        return
    if labels is not None and [label.casefold() for label in labels] == [name.casefold() for name in classes]:
        return
    stated = ", ".join(labels[:8]) if labels is not None else f"{count} without names"
    raise UsageError(
        "the model's classes are not those of the data",
        cause=f"model: {stated}; data: {len(classes)} ({', '.join(classes[:8])})",
        hint=hint,
    )
