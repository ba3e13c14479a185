"""The networks of published figures that can be drawn: by the names that the figures carry."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from leptonbench.fpga import ir
from leptonbench.fpga.scoreboard.networks import classifiers, detectors, inception
from leptonbench.fpga.scoreboard.networks.drawing import Drawing

#: How far a drawing's operations may be from those that the figure's source gives for the network.
TOLERANCE = 0.03

_BUILDERS: tuple[tuple[str, Callable[[], Drawing]], ...] = (
    (r"cf_resnet18_.*", lambda: classifiers.resnet(18)),
    (r"cf_resnet50_.*|tf2_resnet50_.*", lambda: classifiers.resnet(50, stride="first")),
    (r"tf_mlperf_resnet50_.*|pt_resnet50_.*|torchvision_resnet50", lambda: classifiers.resnet(50)),
    (r"tf_resnetv1_50_.*", lambda: classifiers.resnet(50, stride="last unit")),
    (r"tf_resnetv1_101_.*", lambda: classifiers.resnet(101, stride="last unit")),
    (r"tf_resnetv1_152_.*", lambda: classifiers.resnet(152, stride="last unit")),
    (r"tf_resnetv2_50_.*_299_299_.*", lambda: classifiers.resnet(50, stride="last unit", size=299)),
    (r"tf_vgg16_.*", lambda: classifiers.vgg(16)),
    (r"tf_vgg19_.*", lambda: classifiers.vgg(19)),
    (r"VGG-16 w/o FC", lambda: classifiers.vgg(16, dense=False)),
    (r"AlexNet w/o FC", classifiers.alexnet),
    (r"cf_squeeze(net)?_.*_227_227_.*", lambda: classifiers.squeezenet(227)),
    (r"pt_squeezenet_.*_224_224_.*", lambda: classifiers.squeezenet(224)),
    (r"tf_mobilenetv1(_1\.0)?_imagenet_224_.*|tf2_mobilenetv1_.*_224_224_.*", classifiers.mobilenet_v1),
    (r"tf_mobilenetv1_0\.5_.*_160_160_.*", lambda: classifiers.mobilenet_v1(0.5, 160)),
    (r"tf_mobilenetv1_0\.25_.*_128_128_.*", lambda: classifiers.mobilenet_v1(0.25, 128)),
    (r"(tf_mobilenetv2_1\.0|cf_mobilenetv2)_.*", classifiers.mobilenet_v2),
    (r"tf_mobilenetv2(_1\.4)?_imagenet_.*", lambda: classifiers.mobilenet_v2(1.4)),
    (r"tf_efficientnet-edgetpu-S_.*", lambda: classifiers.efficientnet_edgetpu(1.0, 1.0, 224)),
    (r"tf_efficientnet-edgetpu-M_.*", lambda: classifiers.efficientnet_edgetpu(1.0, 1.1, 240)),
    (r"tf_efficientnet-edgetpu-L_.*", lambda: classifiers.efficientnet_edgetpu(1.2, 1.4, 300)),
    (r"cf_inceptionv1_.*", inception.googlenet),
    (r"GoogLeNet w/o FC", lambda: inception.googlenet(dense=False)),
    (r"tf_inceptionv1_.*", lambda: inception.googlenet(fifth=3)),
    (r"(cf|tf|pt)_inceptionv3_.*", inception.inception_v3),
    (r"(cf|tf)_inceptionv4_.*", inception.inception_v4),
    (r"dk_yolov2_voc_448_448_.*", lambda: detectors.yolo_v2(448)),
    (r"(dk|tf)_yolov3_voc_416_416_.*", detectors.yolo_v3),
    (r"tf2_yolov3_coco_416_416_.*", lambda: detectors.yolo_v3(80)),
    (r"(dk|tf)_yolov4_coco_416_416_.*", detectors.yolo_v4),
    (r"tf_yolov4_coco_512_512_.*", lambda: detectors.yolo_v4(512)),
    (r"tf_ssdmobilenetv1_coco_300_300_.*", detectors.ssd_mobilenet_v1),
)


@functools.cache
def draw(name: str) -> ir.Network | None:
    """Return the network of a published figure; `None` if it is not drawn here."""
    for pattern, build in _BUILDERS:
        if re.fullmatch(pattern, name):
            return build().network()
    return None


def operations(network: ir.Network) -> int:
    """Return the operations of a network: two for each multiply-accumulate, as the figures count."""
    return 2 * sum(network.macs(layer) for layer in network.layers)


def agrees(network: ir.Network, gops: float) -> bool:
    """Tell whether a drawing has the operations that a source gives; some count a multiply-accumulate as one."""
    drawn = operations(network) / 1e9
    return any(abs(count / gops - 1) <= TOLERANCE for count in (drawn, drawn / 2))
