"""Object detectors, layer by layer: YOLO v2 to v4 and SSD."""

from __future__ import annotations

from leptonbench.fpga.scoreboard.networks.classifiers import mobilenet_v1_trunk
from leptonbench.fpga.scoreboard.networks.drawing import Drawing

_VOC, _COCO = 20, 80


def yolo_v2(size: int) -> Drawing:
    """Draw YOLO v2 for VOC: Redmon and Farhadi 2016, arXiv:1612.08242, `yolov2-voc.cfg`.

    Its reorganisation of the finer map moves bytes to where the next layer reads them, and is no layer here.
    """
    net = Drawing((3, size, size))
    x = net.source
    for widths in ((32,), (64,), (128, 64, 128), (256, 128, 256), (512, 256, 512, 256, 512)):
        for number, width in enumerate(widths):
            x = net.convolve(x, width, 1 if number % 2 else 3)
        fine, x = x, net.pool(x, 2, stride=2)
    for width, kernel in ((1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3), (1024, 3), (1024, 3)):
        x = net.convolve(x, width, kernel)
    folded = net.rearrange(net.convolve(fine, 64), (256, *net.image(x)[1:]))
    net.convolve(net.convolve(net.join(folded, x), 1024, 3), 5 * (5 + _VOC))
    return net


def yolo_v3(classes: int = _VOC, size: int = 416) -> Drawing:
    """Draw YOLO v3: Redmon and Farhadi 2018, arXiv:1804.02767."""
    net = Drawing((3, size, size))
    x = net.convolve(net.source, 32, 3)
    maps = []
    for width, units in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        x = net.convolve(x, width, 3, stride=2)
        for _ in range(units):
            x = net.add(x, net.convolve(net.convolve(x, width // 2), width, 3))
        maps.append(x)
    branch = ""
    for width, fine in ((512, maps[4]), (256, maps[3]), (128, maps[2])):
        x = net.join(net.enlarge(net.convolve(branch, width)), fine) if branch else fine
        for number in range(5):
            x = net.convolve(x, width if number % 2 == 0 else 2 * width, 1 if number % 2 == 0 else 3)
        branch = x
        net.convolve(net.convolve(x, 2 * width, 3), 3 * (5 + classes))
    return net


def yolo_v4(size: int = 416, classes: int = _COCO) -> Drawing:
    """Draw YOLO v4: Bochkovskiy et al. 2020, arXiv:2004.10934, `yolov4.cfg`."""
    net = Drawing((3, size, size))
    x = net.convolve(net.source, 32, 3)
    maps = []
    for width, units in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        x = _cross_stage(net, net.convolve(x, width, 3, stride=2), width, units)
        maps.append(x)
    x = _alternate(net, maps[4], 512, 3)
    x = net.join(net.pool(x, 13), net.pool(x, 9), net.pool(x, 5), x)
    top = _alternate(net, x, 512, 3)
    middle = _merge_up(net, top, maps[3], 256)
    low = _merge_up(net, middle, maps[2], 128)
    _head(net, low, 256, classes)
    middle = _alternate(net, net.join(net.convolve(low, 256, 3, stride=2), middle), 256, 5)
    _head(net, middle, 512, classes)
    top = _alternate(net, net.join(net.convolve(middle, 512, 3, stride=2), top), 512, 5)
    _head(net, top, 1024, classes)
    return net


def _cross_stage(net: Drawing, x: str, width: int, units: int) -> str:
    """Add a cross-stage partial block; the first one does not halve its channels."""
    inner = width if units == 1 else width // 2
    aside, y = net.convolve(x, inner), net.convolve(x, inner)
    for _ in range(units):
        y = net.add(y, net.convolve(net.convolve(y, width // 2), inner, 3))
    return net.convolve(net.join(net.convolve(y, inner), aside), width)


def _alternate(net: Drawing, x: str, width: int, count: int) -> str:
    for number in range(count):
        x = net.convolve(x, 2 * width, 3) if number % 2 else net.convolve(x, width)
    return x


def _merge_up(net: Drawing, coarse: str, fine: str, width: int) -> str:
    return _alternate(net, net.join(net.convolve(fine, width), net.enlarge(net.convolve(coarse, width))), width, 5)


def _head(net: Drawing, x: str, width: int, classes: int) -> None:
    net.convolve(net.convolve(x, width, 3), 3 * (5 + classes))


def ssd_mobilenet_v1(size: int = 300, classes: int = 91) -> Drawing:
    """Draw SSD on MobileNet v1: TensorFlow's object detection API, `ssd_mobilenet_v1_coco`."""
    net = Drawing((3, size, size))
    trunk = mobilenet_v1_trunk(net)
    maps = [trunk[10], trunk[12]]
    x = trunk[12]
    for inner, outputs in ((256, 512), (128, 256), (128, 256), (64, 128)):
        x = net.convolve(net.convolve(x, inner), outputs, 3, stride=2)
        maps.append(x)
    for number, found in enumerate(maps):
        anchors = 6 if number else 3
        net.convolve(found, 4 * anchors)
        net.convolve(found, classes * anchors)
    return net
