"""Train the inspection workload's network on generated surfaces and write it as a Hugging Face folder.

    python workloads/inspection/train.py --out workloads/inspection/model

Training is in two phases, each with its own cycle of the learning rate. The first sees crops at the image's own
scale, cut so that the defect is inside: fine cracks survive (a downscaled image would lose them) at a tenth to a
fifth of the cost. The second sees whole images, as the network will in use, so that batch statistics and the share
of background fit; there the stem and the first two stages, which know edges and textures by then, are held, which
saves half the backward pass.

The seed fixes data, order, augmentation and initial weights. Another CPU or thread count sums in another order, so
weights agree in kind and accuracy, not in bytes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification

from leptonbench.tasks.surface import CLASSES, GENERATOR_VERSION, SIDE, generate, render_located

MEAN = (0.485, 0.456, 0.406)  # ImageNet's: what tools assume when they are told nothing
STD = (0.229, 0.224, 0.225)
EVALUATION_SEED = 2026  # as in workload.yaml, and not the training seed
EVALUATION_IMAGES = 1000


@dataclass(frozen=True)
class Recipe:
    """What is trained, on how much, for how long."""

    seed: int = 2025
    images: int = 10_000
    crop_sides: tuple[int, ...] = (64, 64, 96, 96)  # pixels, one an epoch; multiples of the stride of 32
    crop_batch: int = 32
    crop_rate: float = 2e-3  # the learning rate's peak
    whole_images: int = 4000  # images seen in the second phase
    whole_batch: int = 16
    whole_rate: float = 1e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.05


@dataclass(frozen=True)
class TrainingSet:
    """Images [n, 224, 224, 3] uint8 (on disk), classes [n] and the place to look at [n, 2], row and column."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    focus: NDArray[np.int64]


def draw_chunk(job: tuple[str, int, int, int]) -> list[tuple[int, int, int]]:
    """Draw training images `start` to `stop` into the file at `path`; return class, row and column of each."""
    path, seed, start, stop = job
    images = np.lib.format.open_memmap(path, mode="r+")
    found = []
    for index in range(start, stop):
        images[index], label, (row, column) = render_located(seed, "train", index)
        found.append((label, row, column))
    return found


def draw_training_set(seed: int, count: int, folder: Path) -> TrainingSet:
    """Draw the training set with a process a core, into a file that training maps."""
    path = folder / "train.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, SIDE, SIDE, 3)).flush()
    jobs = [(str(path), seed, start, min(start + 100, count)) for start in range(0, count, 100)]
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        found = np.array([row for rows in pool.map(draw_chunk, jobs) for row in rows], dtype=np.int64)
    return TrainingSet(np.load(path, mmap_mode="r"), found[:, 0], found[:, 1:])


def normalise(images: NDArray[np.uint8]) -> torch.Tensor:
    """Turn uint8 [n, h, w, 3] into float32 [n, 3, h, w], channels last in memory."""
    tensor = torch.from_numpy(images).float().div_(255)
    tensor.sub_(torch.tensor(MEAN)).div_(torch.tensor(STD))
    return tensor.permute(0, 3, 1, 2)


def cut(image: NDArray[np.uint8], focus: NDArray[np.int64], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut a square of `side` pixels with the focus at a random place inside it, then turn and flip it at random."""
    if side < SIDE:
        reach = side // 2 - 10
        top, left = (int(np.clip(f - side // 2 + rng.integers(-reach, reach + 1), 0, SIDE - side)) for f in focus)
        image = image[top : top + side, left : left + side]
    image = np.rot90(image, int(rng.integers(4)))
    return image[:, ::-1] if rng.integers(2) else image


def batches(
    data: TrainingSet, order: NDArray[np.int64], size: int, side: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield whole augmented batches of inputs and classes in this order."""
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        images = np.stack([cut(data.images[i], data.focus[i], side, rng) for i in chosen])
        light = rng.uniform(0.9, 1.1, (size, 1, 1, 1)).astype(np.float32)
        yield normalise(images) * torch.from_numpy(light), torch.from_numpy(data.labels[chosen])


def build(seed: int) -> ResNetForImageClassification:
    """Return an untrained ResNet-18 with six outputs."""
    torch.manual_seed(seed)
    config = ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        id2label=dict(enumerate(CLASSES)),
        label2id={name: index for index, name in enumerate(CLASSES)},
    )
    model: ResNetForImageClassification = ResNetForImageClassification(config)
    return model.to(memory_format=torch.channels_last)


def accuracy(model: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[float, list[list[int]]]:
    """Return top-1 and the confusion counts (rows: truth) of the model in evaluation mode."""
    model.eval()
    confusion = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    with torch.inference_mode():
        for start in range(0, len(images), 50):
            guess = model(normalise(images[start : start + 50])).logits.argmax(1).numpy()
            np.add.at(confusion, (labels[start : start + 50], guess), 1)
    return float(confusion.trace() / confusion.sum()), confusion.tolist()


def optimiser_for(model: nn.Module, rate: float, decay: float) -> torch.optim.AdamW:
    """Return AdamW over what is not frozen; it decays weights only, not biases or batch normalisation."""
    learning = [p for p in model.parameters() if p.requires_grad]
    decayed = {"params": [p for p in learning if p.ndim > 1], "weight_decay": decay}
    free = {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0}
    return torch.optim.AdamW([decayed, free], lr=rate)


@dataclass(frozen=True)
class Epoch:
    """Images in an order, cut to a side, in batches of a size."""

    side: int
    batch: int
    order: NDArray[np.int64]


def run_cycle(
    model: nn.Module, data: TrainingSet, epochs: list[Epoch], *, rate: float, recipe: Recipe, rng: np.random.Generator
) -> Iterator[str]:
    """Train in place through one learning-rate cycle; yield a line of loss, training accuracy and speed an epoch."""
    optimiser = optimiser_for(model, rate, recipe.weight_decay)
    steps = sum(len(epoch.order) // epoch.batch for epoch in epochs)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.2)
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    for epoch in epochs:
        model.train()
        begin, losses, right = time.perf_counter(), [], 0
        for inputs, labels in batches(data, epoch.order, epoch.batch, epoch.side, rng):
            logits = model(inputs).logits
            loss = criterion(logits, labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            cycle.step()
            losses.append(loss.item())
            right += int((logits.argmax(1) == labels).sum())
        seen = len(losses) * epoch.batch
        speed = seen / (time.perf_counter() - begin)
        yield f"{seen} at {epoch.side}: loss {np.mean(losses):.3f}, accuracy {right / seen:.3f}, {speed:.0f} images/s"


def train(
    model: ResNetForImageClassification, data: TrainingSet, recipe: Recipe, check: tuple[NDArray, NDArray]
) -> None:
    """Train in place through both phases, and print how it goes."""
    rng = np.random.default_rng(recipe.seed)
    count = len(data.labels)
    crops = [Epoch(side, recipe.crop_batch, rng.permutation(count)) for side in recipe.crop_sides]
    for line in run_cycle(model, data, crops, rate=recipe.crop_rate, recipe=recipe, rng=rng):
        print(line, flush=True)
    for part in (model.resnet.embedder, *model.resnet.encoder.stages[:2]):
        part.requires_grad_(False)
    order = np.concatenate([rng.permutation(count) for _ in range(-(-recipe.whole_images // count))])
    parts = np.array_split(order[: recipe.whole_images], max(1, recipe.whole_images // 1000))
    whole = [Epoch(SIDE, recipe.whole_batch, part) for part in parts]
    for line in run_cycle(model, data, whole, rate=recipe.whole_rate, recipe=recipe, rng=rng):
        print(f"{line}, held out {accuracy(model, *check)[0]:.3f}", flush=True)


PREPROCESSING = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": SIDE},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": list(MEAN),
    "image_std": list(STD),
}


def save(model: ResNetForImageClassification, out: Path) -> None:
    """Write configuration, preprocessing and weights; weights are stored in half precision, to be run in single."""
    out.mkdir(parents=True, exist_ok=True)
    config = {**model.config.to_diff_dict(), "architectures": ["ResNetForImageClassification"], "dtype": "float32"}
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (out / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING, indent=2) + "\n", encoding="utf-8")
    halves = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(halves, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # the library's default keeps other users out


def rounded(model: ResNetForImageClassification, bits: int) -> dict[str, torch.Tensor]:
    """Return the weights with every matrix rounded to 2**bits - 1 even steps a tensor: a deliberately damaged model."""
    steps = 2 ** (bits - 1) - 1
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, tensor in state.items():
        if tensor.ndim > 1:
            scale = tensor.abs().max() / steps
            state[name] = (tensor / scale).round() * scale
    return state


def card(recipe: Recipe, top1: float, damaged: dict[int, float], confusion: list[list[int]]) -> str:
    """Return the model card."""
    rows = "\n".join(
        f"| {name} | " + " | ".join(str(n) for n in row) + " |" for name, row in zip(CLASSES, confusion, strict=True)
    )
    losses = ", ".join(f"{bits} bits {score:.3f}" for bits, score in damaged.items())
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: image-classification
---
# ResNet-18 for surface inspection

Tells six states of a machined surface apart: {", ".join(CLASSES)}.

- **Made by** `python workloads/inspection/train.py --out workloads/inspection/model`, from random weights; no other
  data or weights went in. Seed {recipe.seed}; about twenty minutes on two CPU cores.
- **Data**: {recipe.images} images of split `train` drawn by `leptonbench/tasks/surface.py`, generator version
  {GENERATOR_VERSION}. All images are synthetic: the accuracy says how a compressed or ported copy compares with this
  model, and nothing about a real production line.
- **Recipe**: AdamW, label smoothing {recipe.label_smoothing}; an epoch each of crops around the defect of
  {", ".join(map(str, recipe.crop_sides))} pixels a side, then {recipe.whole_images} whole images with the stem and the
  first two stages held; a cycle of the learning rate each, with peaks {recipe.crop_rate} and {recipe.whole_rate}.
- **Weights** are stored in half precision and run in single precision (`"dtype": "float32"` in `config.json`).
- **Accuracy**: top-1 {top1:.3f} in fp32 on {EVALUATION_IMAGES} images of split `evaluation` (seed {EVALUATION_SEED}),
  measured from this folder. With every weight matrix rounded to nearest, one scale a tensor: {losses}.

Confusion on the evaluation images (rows are the truth):

| | {" | ".join(CLASSES)} |
|---|{"---|" * len(CLASSES)}
{rows}
"""


def measure(recipe: Recipe, out: Path) -> None:
    """Measure the folder as it will be read, whole and deliberately damaged; print it and write the model card."""
    model = ResNetForImageClassification.from_pretrained(out, dtype=torch.float32).to(memory_format=torch.channels_last)
    images, labels = generate(EVALUATION_SEED, "evaluation", EVALUATION_IMAGES)
    top1, confusion = accuracy(model, images, labels)
    whole = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    damaged = {}
    for bits in (4, 3):
        model.load_state_dict(whole)
        model.load_state_dict(rounded(model, bits))
        damaged[bits], _ = accuracy(model, images, labels)
    (out / "README.md").write_text(card(recipe, top1, damaged, confusion), encoding="utf-8")
    print(f"top-1 {top1:.3f}, with weights rounded to 4 and 3 bits {damaged[4]:.3f} and {damaged[3]:.3f}")


def main() -> None:
    """Train, write the folder, measure what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--measure", action="store_true", help="train nothing; measure the folder and renew its card")
    given = parser.parse_args()
    recipe = Recipe()
    if not given.measure:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            data = draw_training_set(recipe.seed, recipe.images, Path(folder))
            print(f"drew {recipe.images} images in {time.perf_counter() - begin:.0f} s", flush=True)
            model = build(recipe.seed)
            train(model, data, recipe, generate(recipe.seed, "validation", 300))
        save(model, given.out)
        print(f"trained in {(time.perf_counter() - begin) / 60:.1f} min", flush=True)
    measure(recipe, given.out)


if __name__ == "__main__":
    main()
