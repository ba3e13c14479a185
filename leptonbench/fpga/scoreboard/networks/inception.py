"""The Inception networks, layer by layer: GoogLeNet, v3 and v4."""

from __future__ import annotations

from collections.abc import Sequence

from leptonbench.fpga.scoreboard.networks.drawing import Drawing

_CLASSES = 1000
_GOOGLENET = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)


def googlenet(*, fifth: int = 5, dense: bool = True) -> Drawing:
    """Draw Inception v1: Szegedy et al. 2014, arXiv:1409.4842, table 1.

    Args:
        fifth: Kernel of the branch that the paper has as 5 x 5, and TensorFlow-Slim as 3 x 3.
        dense: Whether the fully connected layer is part of it.
    """
    net = Drawing((3, 224, 224))
    x = net.pool(net.convolve(net.source, 64, 7, stride=2, pad=3), 3, stride=2)
    x = net.pool(net.convolve(net.convolve(x, 64), 192, 3), 3, stride=2)
    for number, (one, three_in, three, five_in, five, pooled) in enumerate(_GOOGLENET):
        if number in (2, 7):
            x = net.pool(x, 3, stride=2)
        x = net.join(
            net.convolve(x, one),
            net.convolve(net.convolve(x, three_in), three, 3),
            net.convolve(net.convolve(x, five_in), five, fifth),
            net.convolve(net.pool(x, 3), pooled),
        )
    x = net.mean(x)
    if dense:
        net.dense(x, _CLASSES)
    return net


def inception_v3() -> Drawing:
    """Draw Inception v3: Szegedy et al. 2015, arXiv:1512.00567, as in TensorFlow-Slim."""
    net = Drawing((3, 299, 299))
    x = _chain(net, net.source, (32, 3, 2, "valid"), (32, 3, 1, "valid"), (64, 3, 1, "same"))
    x = net.pool(x, 3, stride=2, pad="valid")
    x = _chain(net, x, (80, 1, 1, "valid"), (192, 3, 1, "valid"))
    x = net.pool(x, 3, stride=2, pad="valid")
    for pooled in (32, 64, 64):
        x = net.join(
            net.convolve(x, 64),
            net.convolve(net.convolve(x, 48), 64, 5),
            _convolutions(net, x, (64, 1), (96, 3), (96, 3)),
            net.convolve(net.pool(x, 3), pooled),
        )
    x = net.join(
        net.convolve(x, 384, 3, stride=2, pad="valid"),
        net.convolve(_convolutions(net, x, (64, 1), (96, 3)), 96, 3, stride=2, pad="valid"),
        net.pool(x, 3, stride=2, pad="valid"),
    )
    for inner in (128, 160, 160, 192):
        x = net.join(
            net.convolve(x, 192),
            _convolutions(net, x, (inner, 1), (inner, (1, 7)), (192, (7, 1))),
            _convolutions(net, x, (inner, 1), (inner, (7, 1)), (inner, (1, 7)), (inner, (7, 1)), (192, (1, 7))),
            net.convolve(net.pool(x, 3), 192),
        )
    x = net.join(
        net.convolve(net.convolve(x, 192), 320, 3, stride=2, pad="valid"),
        net.convolve(_convolutions(net, x, (192, 1), (192, (1, 7)), (192, (7, 1))), 192, 3, stride=2, pad="valid"),
        net.pool(x, 3, stride=2, pad="valid"),
    )
    for _ in range(2):
        second, third = net.convolve(x, 384), _convolutions(net, x, (448, 1), (384, 3))
        x = net.join(
            net.convolve(x, 320),
            net.convolve(second, 384, (1, 3)),
            net.convolve(second, 384, (3, 1)),
            net.convolve(third, 384, (1, 3)),
            net.convolve(third, 384, (3, 1)),
            net.convolve(net.pool(x, 3), 192),
        )
    net.dense(net.mean(x), _CLASSES)
    return net


def inception_v4() -> Drawing:
    """Draw Inception v4: Szegedy et al. 2016, arXiv:1602.07261, figures 3 to 9."""
    net = Drawing((3, 299, 299))
    x = _v4_stem(net)
    for _ in range(4):
        x = net.join(
            net.convolve(net.pool(x, 3), 96),
            net.convolve(x, 96),
            _convolutions(net, x, (64, 1), (96, 3)),
            _convolutions(net, x, (64, 1), (96, 3), (96, 3)),
        )
    x = net.join(
        net.pool(x, 3, stride=2, pad="valid"),
        net.convolve(x, 384, 3, stride=2, pad="valid"),
        net.convolve(_convolutions(net, x, (192, 1), (224, 3)), 256, 3, stride=2, pad="valid"),
    )
    for _ in range(7):
        x = net.join(
            net.convolve(net.pool(x, 3), 128),
            net.convolve(x, 384),
            _convolutions(net, x, (192, 1), (224, (1, 7)), (256, (7, 1))),
            _convolutions(net, x, (192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))),
        )
    x = net.join(
        net.pool(x, 3, stride=2, pad="valid"),
        net.convolve(net.convolve(x, 192), 192, 3, stride=2, pad="valid"),
        net.convolve(_convolutions(net, x, (256, 1), (256, (1, 7)), (320, (7, 1))), 320, 3, stride=2, pad="valid"),
    )
    for _ in range(3):
        second = net.convolve(x, 384)
        third = _convolutions(net, x, (384, 1), (448, (3, 1)), (512, (1, 3)))
        x = net.join(
            net.convolve(net.pool(x, 3), 256),
            net.convolve(x, 256),
            net.convolve(second, 256, (1, 3)),
            net.convolve(second, 256, (3, 1)),
            net.convolve(third, 256, (3, 1)),
            net.convolve(third, 256, (1, 3)),
        )
    net.dense(net.mean(x), _CLASSES)
    return net


def _v4_stem(net: Drawing) -> str:
    x = _chain(net, net.source, (32, 3, 2, "valid"), (32, 3, 1, "valid"), (64, 3, 1, "same"))
    x = net.join(net.pool(x, 3, stride=2, pad="valid"), net.convolve(x, 96, 3, stride=2, pad="valid"))
    x = net.join(
        net.convolve(net.convolve(x, 64), 96, 3, pad="valid"),
        net.convolve(_convolutions(net, x, (64, 1), (64, (7, 1)), (64, (1, 7))), 96, 3, pad="valid"),
    )
    return net.join(net.convolve(x, 192, 3, stride=2, pad="valid"), net.pool(x, 3, stride=2, pad="valid"))


def _convolutions(net: Drawing, x: str, *layers: tuple[int, int | tuple[int, int]]) -> str:
    """Add convolutions that keep the image's size: outputs and kernel of each."""
    for outputs, kernel in layers:
        x = net.convolve(x, outputs, kernel)
    return x


def _chain(net: Drawing, x: str, *layers: Sequence[int | str]) -> str:
    """Add convolutions: outputs, kernel, stride and padding of each."""
    for outputs, kernel, stride, pad in layers:
        x = net.convolve(x, int(outputs), int(kernel), stride=int(stride), pad="valid" if pad == "valid" else "same")
    return x
