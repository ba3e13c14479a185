"""Image classifiers, layer by layer, as their authors published them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from leptonbench.fpga.scoreboard.networks.drawing import Drawing

Stride = Literal["first", "middle", "last unit"]
"""Where a ResNet halves the image: in the first 1 x 1 of a block of units (v1), in its first 3 x 3 (v1.5), or in the
3 x 3 of the last unit of the block before (TensorFlow-Slim)."""

_CLASSES = 1000
_VGG = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_DEPTHS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet(depth: int, *, stride: Stride = "middle", size: int = 224) -> Drawing:
    """Draw a ResNet: He et al. 2015, arXiv:1512.03385."""
    net = Drawing((3, size, size))
    x = net.pool(net.convolve(net.source, 64, 7, stride=2, pad=3), 3, stride=2, pad=1)
    if depth < 50:
        x = _basic_blocks(net, x, _DEPTHS[depth])
    else:
        for number, units in enumerate(_DEPTHS[depth]):
            x = bottlenecks(net, x, 64 << number, units, number, stride=stride)
    net.dense(net.mean(x), _CLASSES)
    return net


def _basic_blocks(net: Drawing, x: str, depths: Sequence[int]) -> str:
    for number, units in enumerate(depths):
        for unit in range(units):
            step = 2 if number and not unit else 1
            width = 64 << number
            y = net.convolve(net.convolve(x, width, 3, stride=step, pad=1), width, 3, pad=1)
            shortcut = net.convolve(x, width, 1, stride=step, pad=0) if step > 1 else x
            x = net.add(y, shortcut)
    return x


def bottlenecks(net: Drawing, x: str, width: int, units: int, number: int, *, stride: Stride) -> str:
    """Add a block of bottleneck units of an inner width, and return its output."""
    for unit in range(units):
        halves = unit == units - 1 and number < 3 if stride == "last unit" else not unit and number > 0
        step = 2 if halves else 1
        first, middle = (step, 1) if stride == "first" else (1, step)
        y = net.convolve(x, width, stride=first)
        y = net.convolve(net.convolve(y, width, 3, stride=middle, pad=1), 4 * width)
        if net.image(x)[0] != 4 * width:
            x = net.convolve(x, 4 * width, stride=step)
        elif step > 1:
            x = net.pool(x, 1, stride=step)
        x = net.add(y, x)
    return x


def vgg(depth: int, *, dense: bool = True, size: int = 224) -> Drawing:
    """Draw a VGG network: Simonyan and Zisserman 2014, arXiv:1409.1556."""
    net = Drawing((3, size, size))
    x = net.source
    for width, count in zip((64, 128, 256, 512, 512), _VGG[depth], strict=True):
        for _ in range(count):
            x = net.convolve(x, width, 3)
        x = net.pool(x, 2, stride=2)
    if dense:
        for outputs in (4096, 4096, _CLASSES):
            x = net.dense(x, outputs)
    return net


def alexnet() -> Drawing:
    """Draw Caffe's AlexNet without its fully connected layers: Krizhevsky et al. 2012."""
    net = Drawing((3, 227, 227))
    x = net.pool(net.convolve(net.source, 96, 11, stride=4, pad="valid"), 3, stride=2, pad="valid")
    x = net.pool(net.convolve(x, 256, 5, groups=2), 3, stride=2, pad="valid")
    x = net.convolve(net.convolve(x, 384, 3), 384, 3, groups=2)
    net.pool(net.convolve(x, 256, 3, groups=2), 3, stride=2, pad="valid")
    return net


def squeezenet(size: int) -> Drawing:
    """Draw SqueezeNet 1.1: Iandola et al. 2016, arXiv:1602.07360, and its authors' repository."""
    net = Drawing((3, size, size))
    x = net.pool(net.convolve(net.source, 64, 3, stride=2, pad="valid"), 3, stride=2, pad="valid", ceil=True)
    for number, width in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
        if number in (2, 4):
            x = net.pool(x, 3, stride=2, pad="valid", ceil=True)
        squeezed = net.convolve(x, width)
        x = net.join(net.convolve(squeezed, 4 * width), net.convolve(squeezed, 4 * width, 3))
    net.mean(net.convolve(x, _CLASSES))
    return net


def mobilenet_v1(multiplier: float = 1.0, size: int = 224) -> Drawing:
    """Draw MobileNet v1: Howard et al. 2017, arXiv:1704.04861."""
    net = Drawing((3, size, size))
    x = mobilenet_v1_trunk(net, multiplier)[-1]
    net.dense(net.mean(x), _CLASSES)
    return net


def mobilenet_v1_trunk(net: Drawing, multiplier: float = 1.0) -> list[str]:
    """Add MobileNet v1 up to its last convolution, and return the outputs of its thirteen pairs of layers."""
    x = net.convolve(net.source, int(32 * multiplier), 3, stride=2)
    widths = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    outputs = []
    for number, width in enumerate(widths):
        x = net.convolve(net.depthwise(x, stride=2 if number in (1, 3, 5, 11) else 1), int(width * multiplier))
        outputs.append(x)
    return outputs


def _eights(width: float) -> int:
    """Return the nearest multiple of eight, not more than a tenth below."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def mobilenet_v2(multiplier: float = 1.0, size: int = 224) -> Drawing:
    """Draw MobileNet v2: Sandler et al. 2018, arXiv:1801.04381, table 2."""
    net = Drawing((3, size, size))
    x = net.convolve(net.source, _eights(32 * multiplier), 3, stride=2)
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, width, repeats, stride in table:
        for unit in range(repeats):
            x = _inverted(net, x, expansion, _eights(width * multiplier), stride=1 if unit else stride)
    net.dense(net.mean(net.convolve(x, max(1280, _eights(1280 * multiplier)))), _CLASSES)
    return net


def _inverted(
    net: Drawing, x: str, expansion: int, outputs: int, *, stride: int, kernel: int = 3, fused: bool = False
) -> str:
    """Add an inverted residual: wide, spatial, narrow; fused, the first two are one dense convolution."""
    wide = net.image(x)[0] * expansion
    if fused:
        y = net.convolve(x, wide, kernel, stride=stride)
    else:
        y = net.convolve(x, wide) if expansion > 1 else x
        y = net.depthwise(y, kernel, stride=stride)
    y = net.convolve(y, outputs)
    return net.add(x, y) if stride == 1 and net.image(x) == net.image(y) else y


def efficientnet_edgetpu(width: float, depth: float, size: int) -> Drawing:
    """Draw an EfficientNet-EdgeTPU: its authors' `efficientnet_edgetpu_builder.py` in `tensorflow/tpu`."""
    net = Drawing((3, size, size))
    x = net.convolve(net.source, _eights(32 * width), 3, stride=2)
    table = (
        (1, 3, 1, 4, 24, True),
        (2, 3, 2, 8, 32, True),
        (4, 3, 2, 8, 48, True),
        (5, 5, 2, 8, 96, False),
        (4, 5, 1, 8, 144, False),
        (2, 5, 2, 8, 192, False),
    )
    for repeats, kernel, stride, expansion, outputs, fused in table:
        for unit in range(-int(-repeats * depth // 1)):
            step = 1 if unit else stride
            made = _eights(outputs * width)
            x = _inverted(net, x, expansion, made, stride=step, kernel=kernel, fused=fused)
    net.dense(net.mean(net.convolve(x, _eights(1280 * width))), _CLASSES)
    return net
