"""CTC networks as engines see them: time of any length, and padding that cannot be mistaken for speech."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leptonbench.errors import UsageError
from leptonbench.tasks.ctc import FORCED, CtcForm
from leptonbench.tasks.network import Network
from leptonbench.tasks.pretrained import check_whole


class CtcNetwork(Network):
    """What log-mel and raw-wave networks share.

    Args:
        model: A `transformers` model with a CTC head.
        form: Blank and subsampling.
    """

    output_names = ("logits",)
    silence: Tensor

    def __init__(self, model: nn.Module, form: CtcForm) -> None:
        super().__init__(model)
        self._frames = form.frames
        row = torch.full((form.size,), FORCED)
        row[form.blank] = 0.0
        # Not persistent: state dicts hold the model's weights and nothing else.
        self.register_buffer("silence", row, persistent=False)

    def _hush(self, logits: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits with certain blanks on the frames behind each utterance's end."""
        lengths = self._frames(attention_mask.sum(-1))
        frames = torch.arange(logits.shape[1], device=logits.device)
        return torch.where((frames[None, :] < lengths[:, None])[..., None], logits, self.silence.to(logits.dtype))


class LogMelCtc(CtcNetwork):
    """Log-mel features to logits: Parakeet."""

    free_dims = {"input_features": {1: "frames"}, "attention_mask": {1: "frames"}}  # noqa: RUF012

    def forward(self, input_features: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Return logits [batch, frames after subsampling, tokens].

        Args:
            input_features: [batch, frames, bands].
            attention_mask: [batch, frames]; 1 on frames of the utterance, 0 behind its end.
        """
        logits = self.model(input_features=input_features, attention_mask=attention_mask.bool()).logits
        return (self._hush(logits, attention_mask),)


class RawWaveCtc(CtcNetwork):
    """A wave to logits: Wav2Vec2, HuBERT and their relatives.

    Models that normalise over time in their first layer (`feat_extract_norm="group"`) are trained without a mask and
    hear the zeros behind a shorter utterance of a batch; their masks only silence the frames there.
    """

    free_dims = {"input_values": {1: "samples"}, "attention_mask": {1: "samples"}}  # noqa: RUF012

    def __init__(self, model: nn.Module, form: CtcForm) -> None:
        super().__init__(model, form)
        self._masked = getattr(model.config, "feat_extract_norm", "group") == "layer"

    def forward(self, input_values: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Return logits [batch, frames, tokens].

        Args:
            input_values: [batch, samples].
            attention_mask: [batch, samples]; 1 on samples of the utterance, 0 behind its end.
        """
        if self._masked:
            logits = self.model(input_values=input_values, attention_mask=attention_mask).logits
        else:
            logits = self.model(input_values=input_values).logits
        return (self._hush(logits, attention_mask),)


def load_ctc(folder: Path, form: CtcForm, *, weights: bool = True) -> CtcNetwork:
    """Load a CTC folder as an fp32 network in evaluation mode; without weights, build it untrained.

    Raises:
        UsageError: If transformers cannot load it with a CTC head, or weights are missing.
    """
    from transformers import AutoConfig, AutoModelForCTC
    from transformers import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # Eager attention: the fused kernel takes no relative positions, and has no ONNX form with them.
        if weights:
            model, notes = AutoModelForCTC.from_pretrained(
                folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
            )
            check_whole(folder, notes)
        else:
            build: Any = AutoModelForCTC.from_config
            model = build(AutoConfig.from_pretrained(folder), dtype=torch.float32, attn_implementation="eager")
    except UsageError:
        raise
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and safetensors' own
        raise UsageError(
            f"transformers cannot load `{folder}` as a CTC speech model",
            cause=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            hint="the folder needs config.json and matching weights of an architecture with a CTC head",
        ) from error
    return wrap_ctc(model, form).eval().requires_grad_(False)


def wrap_ctc(model: nn.Module, form: CtcForm) -> CtcNetwork:
    """Return a model as a network, ready to be exported with a free length.

    Raises:
        UsageError: If the model reads neither log-mel features nor a wave.
    """
    _plain_weights(model)
    _free_length(model)
    reads = inspect.signature(model.forward).parameters
    if "input_features" in reads:
        return LogMelCtc(model, form)
    if "input_values" in reads:
        return RawWaveCtc(model, form)
    raise UsageError(
        f"the speech task cannot feed {type(model).__name__}",
        cause=f"it reads {', '.join(reads)}",
        hint="CTC models that read input_features or input_values are known",
    )


def _plain_weights(model: nn.Module) -> None:
    """Multiply out weights that are kept as a direction and a length: in use they are constants."""
    for module in model.modules():
        if nn.utils.parametrize.is_parametrized(module, "weight"):
            nn.utils.parametrize.remove_parametrizations(module, "weight")


def _free_length(model: nn.Module) -> None:
    """Replace what ties Parakeet's graph to one length: a view whose size is left to be inferred."""
    from transformers.models.parakeet.modeling_parakeet import ParakeetEncoderAttention

    for module in model.modules():
        if isinstance(module, ParakeetEncoderAttention):
            # An attribute of the instance hides the method of its class; a plain function survives copy and pickle.
            module._rel_shift = relative_shift  # type: ignore[method-assign]


def relative_shift(scores: Tensor) -> Tensor:
    """Shift each row of scores against relative positions so that columns become keys (Transformer-XL, appendix B).

    The same numbers as `ParakeetEncoderAttention._rel_shift`, which leaves a size to be inferred (`view(..., -1, n)`):
    tracing with a free length then guards on a remainder that is not zero for all lengths.

    Args:
        scores: [batch, heads, queries, positions], positions = 2 * queries - 1.

    Returns:
        The same shape.
    """
    batch, heads, queries, positions = scores.shape
    padded = nn.functional.pad(scores, (1, 0))
    rows: Any = padded.reshape(batch, heads, positions + 1, queries)
    shifted: Tensor = rows[:, :, 1:].reshape(batch, heads, queries, positions)
    return shifted
