"""CenterNet on a ResNet: objects as points. All convolution, no anchors, no suppression inside the network.

After Zhou, Wang and Krähenbühl, "Objects as Points" (arXiv:1904.07850). The backbone is transformers' ResNet with
its last stage left out, as MLPerf's SSD-ResNet34 leaves out its own: that stage holds three quarters of the weights of
a ResNet-18 and sees at a stride of 32, where small objects are gone.

Everything in it is Conv, BatchNorm (folded on export), ReLU, Add, MaxPool and nearest Resize, so that it quantises
and maps to simple hardware; the sigmoid of the heat map belongs to decoding.
"""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, ResNetBackbone, ResNetConfig

from leptonbench.tasks.network import Network


@strict
class CenterNetConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """What a CenterNet is built from; halved widths give a half-width student.

    Attributes:
        embedding_size: Channels of the stem.
        hidden_sizes: Channels of the three stages, at strides 4, 8 and 16.
        depths: Blocks of each stage.
        neck_sizes: Channels of the way back up at strides 4 and 8.
        head_size: Channels inside each head.
        image_size: Side of the square input in pixels; a multiple of 16.
    """

    model_type = "leptonbench-centernet"

    num_channels: int = 3
    embedding_size: int = 64
    hidden_sizes: list[int] | tuple[int, ...] = (64, 128, 256)
    depths: list[int] | tuple[int, ...] = (2, 2, 2)
    neck_sizes: list[int] | tuple[int, ...] = (64, 128)
    head_size: int = 64
    image_size: int = 320


class ConvUnit(nn.Sequential):
    """Convolution, batch normalisation and, unless it is summed first, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int, *, relu: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([nn.ReLU()] if relu else []))


class CenterNetModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """Three maps at a quarter of the input's sides: heat of each class, log sizes, offsets of the centre."""

    config_class = CenterNetConfig
    base_model_prefix = "centernet"
    main_input_name = "pixel_values"

    def __init__(self, config: CenterNetConfig) -> None:
        super().__init__(config)
        stem, stages, (fine, coarse) = config.embedding_size, list(config.hidden_sizes), config.neck_sizes
        widths = {"embedding_size": stem, "hidden_sizes": stages, "depths": list(config.depths)}
        taken: dict[str, Any] = {"out_features": ["stage1", "stage2", "stage3"], "layer_type": "basic", **widths}
        self.backbone = ResNetBackbone(ResNetConfig(num_channels=config.num_channels, **taken))
        self.top = ConvUnit(stages[2], coarse, 1)
        self.lateral_coarse = ConvUnit(stages[1], coarse, 1, relu=False)
        self.coarse = ConvUnit(coarse, coarse, 3)
        self.narrow = ConvUnit(coarse, fine, 1)
        self.lateral_fine = ConvUnit(stages[0], fine, 1, relu=False)
        self.fine = ConvUnit(fine, fine, 3)
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.relu = nn.ReLU()
        self.heat_unit, self.box_unit = ConvUnit(fine, config.head_size, 3), ConvUnit(fine, config.head_size, 3)
        self.heat = nn.Conv2d(config.head_size, len(config.id2label or {}), 1)
        self.size = nn.Conv2d(config.head_size, 2, 1)
        self.offset = nn.Conv2d(config.head_size, 2, 1)
        self.post_init()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start convolutions by He's rule, and the heat at a hundredth, so that empty cells do not drown the rest."""
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        if module is getattr(self, "heat", None) and self.heat.bias is not None:
            nn.init.normal_(self.heat.weight, std=0.01)
            nn.init.constant_(self.heat.bias, -4.6)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return heat logits [n, classes, h/4, w/4], log sizes and offsets [n, 2, h/4, w/4], x before y.

        Args:
            pixel_values: Normalised images [n, 3, h, w], sides multiples of 16.
        """
        first, second, third = self.backbone(pixel_values).feature_maps
        x = self.coarse(self.relu(self.up(self.top(third)) + self.lateral_coarse(second)))
        x = self.fine(self.relu(self.up(self.narrow(x)) + self.lateral_fine(first)))
        boxes = self.box_unit(x)
        return self.heat(self.heat_unit(x)), self.size(boxes), self.offset(boxes)


class CenterNetwork(Network):
    """A CenterNet as compression and engines see it."""

    output_names = ("heat", "size", "offset")

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Return heat, size and offset of images [n, 3, h, w]."""
        outputs: tuple[Tensor, ...] = self.model(pixel_values)
        return outputs


def build(**widths: Any) -> CenterNetModel:
    """Return an untrained network from what its configuration says."""
    return CenterNetModel(CenterNetConfig(**widths))
