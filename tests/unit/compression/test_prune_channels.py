"""Removing channels: the right ones, of all layers that share them, and nothing that must stay."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from leptonbench.compression.channels import remove_channels, rounded
from leptonbench.compression.prune_channels import PruneChannels
from leptonbench.errors import NotApplicable, UsageError
from leptonbench.tasks import centernet
from leptonbench.tasks.network import Network
from tests.unit.compression.conftest import SIDE, Kit, load_parakeet, utterances

EXAMPLE = {"pixel_values": torch.zeros(2, 3, SIDE, SIDE)}


class _Net(Network):
    output_names = ("logits",)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        return (self.model(pixel_values),)


def _unit(inputs: int, outputs: int, **options: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, **options), nn.BatchNorm2d(outputs), nn.ReLU())


def _plain(widths: tuple[int, int] = (16, 32)) -> _Net:
    torch.manual_seed(0)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[1], 5))
    return _Net(nn.Sequential(_unit(3, widths[0]), _unit(*widths), head)).eval()


def _silence(unit: nn.Sequential, channels: list[int]) -> None:
    """Make channels of a unit always give zero."""
    with torch.no_grad():
        unit[0].weight[channels] = 0
        unit[0].bias[channels] = 0
        unit[1].weight[channels] = 0
        unit[1].bias[channels] = 0


@pytest.mark.parametrize(
    ("channels", "ratio", "expected"), [(64, 0.5, 32), (64, 0.3, 48), (512, 0.3, 360), (8, 0.9, 8), (6, 0.5, 6)]
)
def test_widths_are_multiples_of_eight(channels: int, ratio: float, expected: int) -> None:
    assert rounded(channels, ratio) == expected


def test_channels_that_say_nothing_are_the_ones_that_go() -> None:
    network = _plain()
    _silence(network.model[0], [0, 3, 4, 7, 8, 9, 13, 15])
    _silence(network.model[1], list(range(1, 32, 2)))
    images = torch.randn(4, 3, SIDE, SIDE)
    before = network(pixel_values=images)[0]
    removed = remove_channels(network, EXAMPLE, ratio=0.5)
    assert removed == {"model.0.0": "16 -> 8 channels", "model.1.0": "32 -> 16 channels"}
    assert torch.allclose(network(pixel_values=images)[0], before, atol=1e-5)


def test_a_residual_network_loses_its_share_everywhere(kit: Kit) -> None:
    network = kit.network()
    before = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    widths = {name: module.out_channels for name, module in before.items()}
    weights = sum(module.weight.numel() for module in before.values())
    remove_channels(network, EXAMPLE, ratio=0.5)
    for name, module in before.items():
        assert module.out_channels == module.weight.shape[0] == widths[name] // 2
    assert sum(module.weight.numel() for module in before.values()) < 0.3 * weights
    assert network(**EXAMPLE)[0].shape == (2, 3)


class _Heads(nn.Module):
    """A body under two output convolutions, as a detector has them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(_unit(3, 16), _unit(16, 16))
        self.heat = nn.Sequential(_unit(16, 16), nn.Conv2d(16, 24, 1))
        self.size = nn.Sequential(_unit(16, 16), nn.Conv2d(16, 8, 1))


class _Detector(Network):
    output_names = ("heat", "size")

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        body = self.model.body(pixel_values)
        return self.model.heat(body), self.model.size(body)


def test_every_output_keeps_its_width() -> None:
    network = _Detector(_Heads()).eval()
    remove_channels(network, EXAMPLE, ratio=0.5)
    heat, size = network(**EXAMPLE)
    assert (heat.shape[1], size.shape[1]) == (24, 8)
    assert network.model.body[1][0].out_channels == 8
    assert network.model.heat[0][0].out_channels == 8


def test_a_centernet_loses_its_share_and_keeps_its_maps() -> None:
    torch.manual_seed(0)
    widths = {"embedding_size": 16, "hidden_sizes": (16, 32, 32), "neck_sizes": (16, 32), "head_size": 16}
    model = centernet.build(**widths, depths=(1, 1, 1), id2label={0: "nut", 1: "bolt"}, label2id={"nut": 0, "bolt": 1})
    network = centernet.CenterNetwork(model).eval()
    images = {"pixel_values": torch.randn(1, 3, 64, 64)}
    before = [output.shape for output in network(**images)]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    remove_channels(network, images, ratio=0.5)
    assert [output.shape for output in network(**images)] == before
    assert sum(parameter.numel() for parameter in network.parameters()) < 0.35 * parameters


def test_grouped_convolutions_and_layer_norms_keep_theirs() -> None:
    grouped = _Net(nn.Sequential(_unit(3, 16), _unit(16, 16, groups=4), _unit(16, 16), nn.Conv2d(16, 5, 1))).eval()
    removed = remove_channels(grouped, EXAMPLE, ratio=0.5)
    assert removed == {"model.2.0": "16 -> 8 channels"}
    normed = _Net(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 16), nn.LayerNorm(16), nn.Linear(16, 5)))
    with pytest.raises(NotApplicable, match="no channels of this network can be removed"):
        remove_channels(normed.eval(), EXAMPLE, ratio=0.5)


def test_depthwise_convolutions_follow() -> None:
    network = _Net(nn.Sequential(_unit(3, 16), _unit(16, 16, groups=16), _unit(16, 32), nn.Conv2d(32, 5, 1))).eval()
    remove_channels(network, EXAMPLE, ratio=0.5)
    depthwise = network.model[1][0]
    assert depthwise.groups == depthwise.in_channels == depthwise.out_channels == 8
    assert network.model[2][0].out_channels == 16


def test_a_conformer_loses_heads_feed_forward_and_convolution_widths(parakeet: Path) -> None:
    network = load_parakeet(parakeet, True)
    removed = remove_channels(network, utterances(), ratio=0.5)
    layer = network.model.encoder.layers[0]
    assert removed["model.encoder.layers.0.self_attn"] == "4 -> 2 heads"
    assert removed["model.encoder.layers.0.conv"] == "32 -> 16 inner channels"
    assert removed["model.encoder.layers.0.feed_forward1.linear1"] == "64 -> 32 channels"
    assert layer.self_attn.q_proj.out_features == 16
    assert layer.conv.depthwise_conv.groups == 16
    assert network.model.config.encoder_config.num_attention_heads == 4, "the network's own configuration stays"
    assert network(**utterances())[0].shape[-1] == 12


def test_heads_and_gates_that_say_nothing_are_the_ones_that_go(parakeet: Path) -> None:
    network = load_parakeet(parakeet, True)
    keep_fed = {}
    with torch.no_grad():
        for layer in network.model.encoder.layers:
            layer.self_attn.o_proj.weight[:, 0:8] = 0
            layer.self_attn.o_proj.weight[:, 24:32] = 0
            layer.conv.pointwise_conv2.weight[:, ::2] = 0
            for part in (layer.feed_forward1, layer.feed_forward2):
                part.linear2.weight[:, 32:] = 0
                part.linear1.weight[32:] = 0
                part.linear1.bias[32:] = 0
                keep_fed[part] = part.linear2.weight[:, :32].clone()
        layers = network.model.encoder.subsampling.layers
        for first, depthwise, pointwise in ((0, 2, 3), (3, 5, 6)):
            for index in (first, depthwise):
                layers[index].weight[::2] = 0
                layers[index].bias[::2] = 0
            layers[pointwise].weight[:, ::2] = 0
    before = network(**utterances())[0]
    remove_channels(network, utterances(), ratio=0.5)
    assert network.model.encoder.layers[0].self_attn.q_proj.out_features == 16
    assert torch.allclose(network(**utterances())[0], before, atol=1e-4)
    assert all(torch.equal(part.linear2.weight, kept) for part, kept in keep_fed.items())


def test_the_technique_tunes_and_tells(kit: Kit) -> None:
    kit.score = lambda network: 0.5
    network = PruneChannels().apply(kit.network(), {"ratio": 0.5, "steps": 3}, kit.context())
    assert kit.notes["parameters_after"] < 0.4 * kit.notes["parameters_before"]
    assert kit.notes["tuning"]["steps"] == 3
    assert {"quality_uncompressed", "quality_before_tuning", "quality_after_tuning"} <= kit.notes.keys()
    assert all("->" in change for change in kit.notes["removed"].values())
    assert network(**EXAMPLE)[0].shape == (2, 3)


@pytest.mark.parametrize("options", [{"ratio": 0}, {"ratio": 1.0}, {"ratio": "half"}, {"steps": 0}, {"steps": True}])
def test_options_out_of_range_are_refused(kit: Kit, options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="cannot take"):
        PruneChannels().apply(kit.network(), options, kit.context())
