"""A small image classifier as a Hugging Face folder, lessons that it can learn, and a context that records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leptonbench.compression.base import Context, Tuning
from leptonbench.tasks.base import Batch
from leptonbench.tasks.classifier import Classifier, load_classifier
from leptonbench.tasks.network import Network

SIDE = 32
CLASSES = 3


class ColourLesson:
    """The class of an image is its strongest channel; what a small network learns in a few steps."""

    learning_rate = 5e-3
    steps_factor = 1.0

    def __init__(self, *, hard: bool = True) -> None:
        self.hard = hard
        self.drawn = 0

    def batches(self, seed: int) -> Iterator[Batch]:
        random = torch.Generator().manual_seed(seed)
        while True:
            labels = torch.randint(CLASSES, (8,), generator=random)
            images = torch.randn((8, 3, SIDE, SIDE), generator=random)
            images[torch.arange(8), labels] += 1.0
            self.drawn += 1
            yield Batch({"pixel_values": images}, {"labels": labels})

    def loss(self, outputs: tuple[Tensor, ...], batch: Batch) -> Tensor | None:
        return nn.functional.cross_entropy(outputs[0], batch.targets["labels"]) if self.hard else None

    def distance(self, outputs: tuple[Tensor, ...], teacher: tuple[Tensor, ...], *, temperature: float) -> Tensor:
        mine, theirs = (nn.functional.log_softmax(o[0] / temperature, dim=1) for o in (outputs, teacher))
        return nn.functional.kl_div(mine, theirs, reduction="batchmean", log_target=True) * temperature**2


def accuracy(network: Network) -> float:
    """Return the share of fresh images that a network names right."""
    batch = next(ColourLesson().batches(99))
    with torch.no_grad():
        return float((network(**batch.inputs)[0].argmax(1) == batch.targets["labels"]).float().mean())


def save_classifier(folder: Path, *, widths: tuple[int, ...] = (16, 32), seed: int = 0) -> Path:
    """Write an untrained ResNet of basic blocks with its pre-processing."""
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(seed)
    labels = dict(enumerate(("blue", "green", "red")[:CLASSES]))
    config = ResNetConfig(
        embedding_size=widths[0],
        hidden_sizes=list(widths),
        depths=[1] * len(widths),
        layer_type="basic",
        id2label=labels,
        label2id={name: index for index, name in labels.items()},
    )
    ResNetForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": SIDE, "width": SIDE}}))
    return folder


def load(folder: Path, weights: bool) -> Classifier:
    """Load a network as the inspection task does."""
    return load_classifier(folder, weights=weights)


@dataclass
class Kit:
    """A model's folder, a context for it, and what the context was told."""

    folder: Path
    root: Path
    lesson: ColourLesson = field(default_factory=ColourLesson)
    seed: int = 1
    budget_s: float | None = None
    score: Callable[[Network], float] | None = None
    said: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    tuned: int = 0

    def network(self) -> Classifier:
        return load(self.folder, True)

    def tuning(self) -> Tuning:
        self.tuned += 1
        return Tuning(self.lesson, self.seed, self.root / "checkpoints", self.budget_s, self.score)

    def context(self) -> Context:
        work = self.root / "work"
        work.mkdir(exist_ok=True)
        return Context(
            calibration=lambda: iter(()),
            tuning=self.tuning,
            load_network=load,
            source=self.folder,
            workdir=work,
            say=self.said.append,
            note=self.notes.__setitem__,
        )


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Networks this small are slower on several threads, and on a busy machine very much so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture
def kit(classifier: Path, tmp_path: Path) -> Kit:
    return Kit(classifier, tmp_path)


class Parakeet(Network):
    """A small FastConformer, as a network of two inputs."""

    output_names = ("logits",)

    def forward(self, input_features: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        return (self.model(input_features=input_features, attention_mask=attention_mask).logits,)


def load_parakeet(folder: Path, weights: bool) -> Parakeet:
    from transformers import ParakeetCTCConfig, ParakeetForCTC

    if weights:
        model = ParakeetForCTC.from_pretrained(folder, attn_implementation="eager")
    else:
        config = ParakeetCTCConfig.from_pretrained(folder)
        config._attn_implementation = "eager"
        model = ParakeetForCTC(config)
    return Parakeet(model.float()).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def parakeet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import ParakeetCTCConfig, ParakeetForCTC

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("parakeet")
    encoder = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "subsampling_conv_channels": 16,
        "num_mel_bins": 16,
    }
    config = ParakeetCTCConfig(vocab_size=12, pad_token_id=0, encoder_config=encoder)
    ParakeetForCTC(config).save_pretrained(folder)
    return folder


def utterances() -> dict[str, Tensor]:
    """Return two utterances of 64 frames, the second half as long."""
    torch.manual_seed(3)
    mask = torch.ones((2, 64), dtype=torch.long)
    mask[1, 32:] = 0
    return {"input_features": torch.randn(2, 64, 16), "attention_mask": mask}
