"""One small convolutional classifier, saved as transformers saves it and prepared by the harness in every variant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from leptonbench import catalog
from leptonbench.backends.base import BF16_FEATURES
from leptonbench.harness.jobs import PrepareJob, PrepareResult, PrepareTarget
from leptonbench.harness.prepare import prepare
from leptonbench.harness.system import cpu_features
from leptonbench.schema import Artifact
from tests.harness_factory import task
from tests.tiny import CLASSES, make_images

SIZE = 32
TARGETS = (
    ("fp32", "onnx"),
    ("fp32", "torch-export"),
    ("bf16", "torch-export"),
    ("int8-static", "onnx"),
    ("int8-dynamic", "onnx"),
    *((("bf16", "onnx"),) if cpu_features() & BF16_FEATURES else ()),
    ("fp16", "onnx"),
    ("share16", "onnx"),
    ("prune50-channel", "onnx"),
    ("prune80-unstructured", "onnx"),
    ("sparse-2:4", "onnx"),
    ("distill-half", "onnx"),
    ("int4-weight", "onnx"),
)
REFUSED = (("int4-weight", "onnx"),)
"""What finds nothing to work on in a convolutional network."""


@dataclass(frozen=True)
class Prepared:
    """The model's artifacts by variant and format, and what fp32 PyTorch answers to a few samples."""

    job: PrepareJob
    result: PrepareResult
    artifacts: dict[tuple[str, str], Artifact]
    samples: NDArray[np.float32]
    logits: NDArray[np.float32]
    module: Any


def _samples(count: int, *, seed: int) -> NDArray[np.float32]:
    """Return noise over a colour of its own for each sample."""
    random = np.random.default_rng(seed)
    colours = random.normal(size=(count, 3, 1, 1))
    return (colours + 0.3 * random.normal(size=(count, 3, SIZE, SIZE))).astype(np.float32)


def _save_model(folder: Path) -> None:
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(11)
    config = ResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32],
        depths=[1, 1],
        layer_type="basic",
        id2label=dict(enumerate(CLASSES)),
        label2id={name: label for label, name in enumerate(CLASSES)},
    )
    model = ResNetForImageClassification(config)
    # Statistics as training leaves them: with those of a new layer, folding a normalisation would change nothing.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    model.eval()
    # Centre and scale the logits, so that an untrained model tells its inputs apart.
    with torch.no_grad():
        logits = model(torch.from_numpy(_samples(64, seed=5))).logits
        head = model.classifier[-1]
        head.weight /= logits.std(dim=0)[:, None]
        head.bias.copy_((head.bias - logits.mean(dim=0)) / logits.std(dim=0))
    model.save_pretrained(folder)
    processing = {"size": {"height": SIZE, "width": SIZE}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processing), encoding="utf-8")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """Prepare every variant through the harness, as a run does."""
    import torch

    from leptonbench.tasks.classifier import load_classifier

    root = tmp_path_factory.mktemp("contract")
    model = root / "model"
    _save_model(model)
    images = make_images(root / "images", each=20)
    targets = tuple(PrepareTarget(variant=catalog.load_variant(name), format=kind) for name, kind in TARGETS)
    job = PrepareJob(
        model=str(model),
        base=None,
        task=task(model, images),
        targets=targets,
        cache=str(root / "cache"),
        tune_budget_s=1.0,
    )
    result = prepare(job, lambda text: None)
    assert set(result.failures) == {f"{name}|{kind}" for name, kind in REFUSED}, result.failures
    samples = _samples(24, seed=3)
    module = load_classifier(model)
    with torch.no_grad():
        logits = module(pixel_values=torch.from_numpy(samples))[0].numpy()
    made = [target for target in TARGETS if target not in REFUSED]
    artifacts = {(name, kind): result.artifacts[f"{name}|{kind}"] for name, kind in made}
    yield Prepared(job, result, artifacts, samples, logits, module)
