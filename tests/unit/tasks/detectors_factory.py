"""Tiny detectors of several families, with random weights, saved as transformers saves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from leptonbench.tasks.centernet import CenterNetConfig, CenterNetModel

SIDE = 64


def _labels(names: tuple[str, ...]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}


def _resnet() -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"]
    )


def yolos(names: tuple[str, ...]) -> Any:
    from transformers import YolosConfig, YolosForObjectDetection

    config = YolosConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=[SIDE, SIDE],
        patch_size=16, num_detection_tokens=7, use_mid_position_embeddings=False, **_labels(names),
    )  # fmt: skip
    return YolosForObjectDetection(config)


def detr(names: tuple[str, ...]) -> Any:
    from transformers import DetrConfig, DetrForObjectDetection

    config = DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=_resnet(),
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=9, **_labels(names),
    )  # fmt: skip
    return DetrForObjectDetection(config)


def _hybrid(names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "encoder_in_channels": [16, 24, 32], "feat_strides": [8, 16, 32], "encoder_hidden_dim": 16, "d_model": 16,
        "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "decoder_layers": 2, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "num_queries": 12, "num_denoising": 0, "decoder_in_channels": [16, 16, 16],
        "anchor_image_size": None, **_labels(names),
    }  # fmt: skip


def rt_detr(names: tuple[str, ...]) -> Any:
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    return RTDetrForObjectDetection(RTDetrConfig(backbone_config=backbone, **_hybrid(names)))


def d_fine(names: tuple[str, ...]) -> Any:
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config

    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8], stage_in_channels=[8, 8, 16, 24], stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 16, 24, 32], stage_num_blocks=[1, 1, 1, 1], stage_numb_of_layers=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], embedding_size=8,
        out_features=["stage2", "stage3", "stage4"], return_idx=[1, 2, 3],
    )  # fmt: skip
    return DFineForObjectDetection(DFineConfig(backbone_config=backbone, **_hybrid(names)))


def centernet(names: tuple[str, ...]) -> Any:
    return CenterNetModel(
        CenterNetConfig(
            embedding_size=8, hidden_sizes=[8, 12, 16], depths=[1, 1, 1], neck_sizes=[8, 12], head_size=8,
            image_size=SIDE, **_labels(names),
        )
    )  # fmt: skip


FAMILIES: dict[str, Callable[[tuple[str, ...]], Any]] = {
    "centernet": centernet, "yolos": yolos, "detr": detr, "rt_detr": rt_detr, "d_fine": d_fine,
}  # fmt: skip


def save_detector(folder: Path, family: str, names: tuple[str, ...]) -> Path:
    """Save a tiny detector of a family with random weights, and return its folder."""
    torch.manual_seed(0)
    FAMILIES[family](names).eval().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        f'{{"size": {{"height": {SIDE}, "width": {SIDE}}}, "do_normalize": false}}', encoding="utf-8"
    )
    return folder
