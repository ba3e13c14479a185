"""The smallest real workload: an ONNX classifier that is right by construction, and images that it can tell apart.

The class of an image is its strongest channel. The model finds it by a 1 x 1 convolution, the mean over the image and
a product with a permutation, so every engine gets every image right, and so can a double without reading the model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIZE = 16
CLASSES = ("blue", "green", "red")  # alphabetical, as class folders are ordered
_CHANNEL = {"red": 0, "green": 1, "blue": 2}
_OPSET = 18
_IR_VERSION = 9


def make_model(
    path: Path,
    *,
    shape: Sequence[int | str] = ("batch", 3, SIZE, SIZE),
    inputs: Sequence[str] = ("pixel_values",),
    classes: int = 3,
    initialisers_as_inputs: bool = False,
) -> Path:
    """Write the model and its pre-processing beside it; further inputs are added to the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mixing = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    heads = np.zeros((3, classes), dtype=np.float32)
    for label, name in enumerate(CLASSES[:classes]):
        heads[_CHANNEL[name], label] = 1.0
    nodes = [helper.make_node("Sum", list(inputs), ["image"])] if len(inputs) > 1 else []
    nodes += [
        helper.make_node("Conv", ["image" if len(inputs) > 1 else inputs[0], "mixing", "offset"], ["mixed"]),
        helper.make_node("GlobalAveragePool", ["mixed"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "heads", "bias"], ["logits"]),
    ]
    tensors = [
        numpy_helper.from_array(mixing, "mixing"),
        numpy_helper.from_array(np.zeros(3, dtype=np.float32), "offset"),
        numpy_helper.from_array(heads, "heads"),
        numpy_helper.from_array(np.full(classes, 0.5, dtype=np.float32), "bias"),
    ]
    taken = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name in inputs]
    if initialisers_as_inputs:
        taken += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
    given = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], classes])
    graph = helper.make_graph(nodes, "tiny", taken, [given], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.save(model, str(path))
    processing = {"size": {"height": SIZE, "width": SIZE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (path.parent / "preprocessor_config.json").write_text(json.dumps(processing), encoding="utf-8")
    return path


def make_images(folder: Path, *, each: int = 12, classes: Sequence[str] = CLASSES, seed: int = 7) -> Path:
    """Write an image folder by class: noise in which one channel is strongest."""
    noise = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for index in range(each):
            image = noise.integers(0, 120, (SIZE, SIZE, 3), dtype=np.uint8)
            image[..., _CHANNEL.get(name, 0)] += 120
            Image.fromarray(image).save(folder / name / f"{index:02}.png")
    return folder


def suite_text(
    *,
    backends: Sequence[str] = ("double-healthy",),
    variants: Sequence[str] = ("fp32",),
    scenarios: Sequence[str] = ("single-stream",),
    duration_s: float = 0.2,
) -> str:
    """Return the text of a suite file whose windows are short."""
    kinds = "\n".join(
        f"  - {{kind: {kind}, min_queries: 16, samples_per_query: 2, max_batch: 2}}" for kind in scenarios
    )
    return f"""\
name: tiny
title: {{en: Tiny, zh: 微型}}
description: {{en: A small suite, zh: 小型套件}}
workloads: [inspection]
variants: [{", ".join(variants)}]
backends: [{", ".join(backends)}]
scenarios:
{kinds}
duration_s: {duration_s}
latency_target_s: 0.5
demand:
  description: {{en: Little, zh: 少量}}
  rate_per_s: 1
  hours_per_day: 8
  days_per_week: 5
region: eu-central
"""
