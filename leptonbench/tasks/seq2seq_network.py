"""Whisper's two halves as networks, for the loop in `leptonbench.tasks.seq2seq`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leptonbench.errors import UsageError
from leptonbench.tasks.network import Network
from leptonbench.tasks.pretrained import check_whole


class Encoder(Network):
    """Log-mel features to states."""

    output_names = ("encoder_hidden_states",)

    def forward(self, input_features: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Return states [batch, positions, width] of features [batch, bands, frames]."""
        return (self.model(input_features=input_features).last_hidden_state,)


class Decoder(Network):
    """Tokens so far and states to the next token's logits; `self.model` is the whole Whisper, for its output layer."""

    output_names = ("logits",)
    free_dims = {"decoder_input_ids": {1: "tokens"}}  # noqa: RUF012

    def forward(self, decoder_input_ids: Tensor, encoder_hidden_states: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Return logits [batch, vocabulary] after tokens [batch, length], given states [batch, positions, width]."""
        whisper: Any = self.model
        hidden = whisper.model.decoder(
            input_ids=decoder_input_ids, encoder_hidden_states=encoder_hidden_states, use_cache=False
        ).last_hidden_state
        # The last position alone: the output layer is the widest product of all.
        return (whisper.proj_out(hidden[:, -1]),)


def load_seq2seq(folder: Path, *, weights: bool = True) -> Encoder:
    """Load a Whisper folder as an fp32 encoder, followed by its decoder, in evaluation mode.

    Args:
        folder: Of the model.
        weights: Whether to load them; the networks are untrained otherwise.

    Raises:
        UsageError: If transformers cannot load it as Whisper, or weights are missing.
    """
    from transformers import WhisperConfig, WhisperForConditionalGeneration
    from transformers import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        if weights:
            loaded: Any = WhisperForConditionalGeneration.from_pretrained(
                folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
            )
            model, notes = loaded
            check_whole(folder, notes)
        else:
            build: Any = WhisperForConditionalGeneration._from_config
            model = build(WhisperConfig.from_pretrained(folder), dtype=torch.float32, attn_implementation="eager")
    except UsageError:
        raise
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and safetensors' own
        raise UsageError(
            f"transformers cannot load `{folder}` as Whisper",
            cause=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            hint="the folder needs config.json and matching weights",
        ) from error
    encoder, decoder = Encoder(model.get_encoder()), Decoder(model)
    for network in (encoder, decoder):
        network.eval().requires_grad_(False)
    encoder.followed_by(decoder)
    return encoder
