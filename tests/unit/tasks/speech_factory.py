"""Tiny speech models of several makers, with random weights, saved as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SIZE = 60
"""Tokens that the tiny Whisper knows."""


def write_letters(folder: Path) -> int:
    """Write a vocabulary of letters; the blank is 0."""
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    return len(tokens)


def make_parakeet(folder: Path) -> Path:
    """Save a tiny untrained Parakeet as transformers saves one."""
    from transformers import ParakeetCTCConfig, ParakeetFeatureExtractor, ParakeetForCTC

    folder.mkdir(parents=True, exist_ok=True)
    size = write_letters(folder)
    torch.manual_seed(3)
    config = ParakeetCTCConfig(
        vocab_size=size,
        pad_token_id=0,
        encoder_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "subsampling_conv_channels": 8,
            "initializer_range": 0.2,
        },
    )
    ParakeetForCTC(config).save_pretrained(folder)
    ParakeetFeatureExtractor().save_pretrained(folder)
    return folder


def make_wav2vec2(folder: Path, kind: str, norm: str) -> Path:
    """Save a tiny untrained Wav2Vec2 or HuBERT."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=write_letters(folder),
        pad_token_id=0,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 8),
        conv_stride=(8, 6, 6),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
    )
    getattr(transformers, f"{kind}ForCTC")(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer").save_pretrained(folder)
    return folder


def make_whisper(folder: Path, **settings: Any) -> Path:
    """Save a tiny untrained Whisper whose states decide what it says."""
    from tokenizers import Tokenizer, models
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(11)
    config = WhisperConfig(
        vocab_size=SIZE,
        num_mel_bins=80,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=50,
        max_target_positions=24,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        init_std=0.6,
    )
    model = WhisperForConditionalGeneration(config)
    defaults = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "max_length": 24}
    model.generation_config = GenerationConfig(**(defaults | settings))
    model.save_pretrained(folder)
    WhisperFeatureExtractor(chunk_length=1).save_pretrained(folder)
    Tokenizer(models.WordLevel({f"w{i}": i for i in range(SIZE)}, unk_token="w0")).save(str(folder / "tokenizer.json"))
    return folder
