"""Train the detection workload's network on generated pictures and write it as a Hugging Face folder.

    python workloads/detection/train.py --out workloads/detection/model --scratch /tmp/detection

The backbone starts from the inspection workload's ResNet-18 (stem and first three stages), which knows these metals
and their defects. Training goes in phases of two kinds, each with its own cycle of the learning rate. The first sees
crops at the picture's own scale, most of them about an object, which leaves out the empty bench at a quarter of the
cost; three cycles of them, for boxes sharpen as the rate comes down. The second, in two cycles, sees whole pictures,
as the network will in use. The stem is held throughout.

The seed fixes data, order, augmentation and initial weights. Another CPU or thread count sums in another order, so
weights agree in kind and accuracy, not in bytes. `--scratch` keeps pictures and checkpoints: an interrupted training
goes on from the last one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from leptonbench.tasks.base import Batch
from leptonbench.tasks.centernet import CenterNetModel, build
from leptonbench.tasks.coco import MeanPrecision
from leptonbench.tasks.detection_decode import decode_centernet
from leptonbench.tasks.detection_lesson import DetectorLesson, centernet_loss, flipped, transposed
from leptonbench.tasks.parts import CLASSES, GENERATOR_VERSION, MOST_OBJECTS, SIDE, generate, render

MEAN = (0.485, 0.456, 0.406)  # ImageNet's, as the inspection workload's network was trained with
STD = (0.229, 0.224, 0.225)
EVALUATION_SEED = 2026  # as in workload.yaml, and not the training seed
EVALUATION_PICTURES = 500
HELD = ("backbone.embedder.",)
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Phase:
    """One cycle of the learning rate.

    Attributes:
        name: Of its checkpoint.
        side: Of the crops in pixels; `SIDE` is the whole picture.
        seen: How many crops are seen.
        batch: Crops a step.
        rate: The learning rate's peak.
    """

    name: str
    side: int
    seen: int
    batch: int
    rate: float


@dataclass(frozen=True)
class Recipe:
    """What is trained, on how much, for how long."""

    seed: int = 2025
    pictures: int = 4000
    weight_decay: float = 0.02
    phases: tuple[Phase, ...] = (
        Phase("crops", 160, 12_800, 8, 1.5e-3),
        Phase("crops-again", 160, 6_400, 8, 1e-3),
        Phase("crops-third", 160, 9_600, 8, 1e-3),
        Phase("whole", SIDE, 1_600, 4, 5e-4),
        Phase("whole-again", SIDE, 2_400, 4, 5e-4),
    )


@dataclass(frozen=True)
class TrainingSet:
    """Pictures [n, 320, 320, 3] uint8 (on disk) and the boxes of each, [n][objects, 5]."""

    images: NDArray[np.uint8]
    boxes: list[NDArray[np.float32]]


def draw_chunk(job: tuple[str, int, int, int]) -> list[NDArray[np.float32]]:
    """Draw training pictures `start` to `stop` into the file at `path`; return the boxes of each."""
    path, seed, start, stop = job
    images = np.lib.format.open_memmap(path, mode="r+")
    found = []
    for index in range(start, stop):
        images[index], boxes = render(seed, "train", index)
        found.append(boxes)
    return found


def draw_training_set(seed: int, count: int, folder: Path) -> TrainingSet:
    """Draw the training set with a process a core into files that training maps, unless they are there."""
    pictures, rows = folder / f"train-{seed}-{count}.npy", folder / f"boxes-{seed}-{count}.npy"
    if not rows.exists():
        np.lib.format.open_memmap(pictures, mode="w+", dtype=np.uint8, shape=(count, SIDE, SIDE, 3)).flush()
        jobs = [(str(pictures), seed, start, min(start + 50, count)) for start in range(0, count, 50)]
        with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
            found = [boxes for chunk in pool.map(draw_chunk, jobs) for boxes in chunk]
        padded = np.full((count, MOST_OBJECTS, 5), -1, dtype=np.float32)
        for index, boxes in enumerate(found):
            padded[index, : len(boxes)] = boxes
        np.save(rows, padded)
    kept = [boxes[boxes[:, 4] >= 0] for boxes in np.load(rows)]
    return TrainingSet(np.load(pictures, mmap_mode="r"), kept)


def normalise(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn uint8 [h, w, 3] into float32 [3, h, w]."""
    scaled = image.astype(np.float32) * np.float32(1 / 255)
    return ((scaled - np.asarray(MEAN, np.float32)) / np.asarray(STD, np.float32)).transpose(2, 0, 1)


def cut(image: NDArray[np.uint8], boxes: NDArray[np.float32], side: int, rng: np.random.Generator) -> Pair:
    """Cut a square out, four times in five about an object; an object of which a third or less is left is dropped."""
    if side < SIDE:
        middle = rng.uniform(0, SIDE, 2)
        if len(boxes) and rng.random() < 0.8:
            box = boxes[rng.integers(len(boxes))]
            middle = (box[:2] + box[2:4]) / 2 + rng.uniform(-side / 3, side / 3, 2)
        left, top = (int(np.clip(at - side / 2, 0, SIDE - side)) for at in middle)
        image = image[top : top + side, left : left + side]
        moved = boxes.copy()
        moved[:, :4] = np.clip(boxes[:, :4] - np.array([left, top, left, top], np.float32), 0, side)
        extents, before = moved[:, 2:4] - moved[:, :2], boxes[:, 2:4] - boxes[:, :2]
        boxes = moved[(extents.prod(1) > before.prod(1) / 3) & (extents.min(1) >= 6)]
    pair = normalise(image), boxes
    if rng.integers(2):
        pair = flipped(*pair)
    if rng.integers(2):
        pair = transposed(*pair)
        if rng.integers(2):
            pair = flipped(*pair)
    return np.ascontiguousarray(pair[0]) * np.float32(rng.uniform(0.85, 1.15)), pair[1]


def batches(data: TrainingSet, phase: Phase, *, seed: int, done: int = 0) -> Iterator[Batch]:
    """Yield the batches of a phase from a step on: all pictures in a random order, again and again."""
    lesson = DetectorLesson([], dict, classes=len(CLASSES), centernet=True, turn=True)  # type: ignore[arg-type]
    count = len(data.boxes)
    salt = [seed, *phase.name.encode()]
    shuffle = np.random.default_rng(salt)
    order = np.concatenate([shuffle.permutation(count) for _ in range(-(-phase.seen // count))])
    for step in range(done, phase.seen // phase.batch):
        rng = np.random.default_rng([*salt, step])
        chosen = order[step * phase.batch : (step + 1) * phase.batch]
        pairs = [cut(data.images[i], data.boxes[i], phase.side, rng) for i in chosen]
        yield lesson.batch([image for image, _ in pairs], [boxes for _, boxes in pairs])


def start(seed: int, backbone: Path) -> CenterNetModel:
    """Return the network before training: random, but for the backbone of an image classifier."""
    torch.manual_seed(seed)
    model = build(
        id2label=dict(enumerate(CLASSES)), label2id={name: i for i, name in enumerate(CLASSES)}, image_size=SIDE
    )
    weights = load_file(str(backbone / "model.safetensors"))
    taken = {
        name.removeprefix("resnet."): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
        if name.startswith(("resnet.embedder.", "resnet.encoder.stages.0", "resnet.encoder.stages.1"))
        or name.startswith("resnet.encoder.stages.2")
    }
    missing, unexpected = model.backbone.load_state_dict(taken, strict=False)
    if missing or unexpected:
        raise ValueError(f"the backbone in {backbone} is no ResNet-18: {missing or unexpected}")
    return model.to(memory_format=torch.channels_last)


def predict(model: CenterNetModel, images: NDArray[np.uint8]) -> list[list[list[float]]]:
    """Return the detections of each picture, as the task decodes them."""
    model.eval()
    answers: list[list[list[float]]] = []
    with torch.inference_mode():
        for first in range(0, len(images), 10):
            inputs = torch.from_numpy(np.stack([normalise(image) for image in images[first : first + 10]]))
            outputs = model(inputs.to(memory_format=torch.channels_last))
            answers += decode_centernet([output.numpy() for output in outputs])
    return answers


def truth(boxes: list[NDArray[np.float32]]) -> list[list[list[float]]]:
    """Return targets as the task gives them: relative corners, class, crowd flag."""
    return [[[*(float(v) / SIDE for v in row[:4]), int(row[4]), 0] for row in rows] for rows in boxes]


def cosine(step: int, steps: int) -> float:
    """Return the learning rate's share of its peak: up over the first tenth, then down by a cosine."""
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(1, steps - warm))))


def groups(model: CenterNetModel, decay: float) -> list[dict[str, Any]]:
    """Return what is trained; weights decay, biases and batch normalisation do not."""
    learning = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]


def run_phase(model: CenterNetModel, data: TrainingSet, phase: Phase, *, recipe: Recipe, scratch: Path) -> bool:
    """Train in place through one cycle, going on from its checkpoint; print a line a minute.

    Returns:
        Whether anything was left to train.
    """
    path = scratch / f"{phase.name}.pt"
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(HELD))
    optimiser = torch.optim.AdamW(groups(model, recipe.weight_decay), lr=phase.rate)
    done, steps = 0, phase.seen // phase.batch
    if path.exists():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        if state["step"] < steps:
            optimiser.load_state_dict(state["optimiser"])
        done = state["step"]
    if done == steps:
        return False
    model.train()
    told, losses = time.monotonic(), []
    for step, batch in enumerate(batches(data, phase, seed=recipe.seed, done=done), start=done):
        for group in optimiser.param_groups:
            group["lr"] = phase.rate * cosine(step, steps)
        inputs = batch.inputs["pixel_values"].to(memory_format=torch.channels_last)
        loss = centernet_loss(model(inputs), batch.targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 20.0)
        optimiser.step()
        losses.append(loss.item())
        if time.monotonic() - told > 60 or step + 1 == steps:
            speed = len(losses) * phase.batch / (time.monotonic() - told)
            print(f"{phase.name} {step + 1}/{steps}: loss {np.mean(losses):.3f}, {speed:.1f} pictures/s", flush=True)
            kept = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            torch.save(kept, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
            told, losses = time.monotonic(), []
    return True


PREPROCESSING = {
    "image_processor_type": "ViTImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"height": SIDE, "width": SIDE},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": list(MEAN),
    "image_std": list(STD),
}


def save(model: CenterNetModel, out: Path) -> None:
    """Write configuration, preprocessing and weights; weights are stored in half precision, to be run in single."""
    out.mkdir(parents=True, exist_ok=True)
    config = {**model.config.to_diff_dict(), "architectures": ["CenterNetModel"], "dtype": "float32"}
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (out / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING, indent=2) + "\n", encoding="utf-8")
    halves = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(halves, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # the library's default keeps other users out


def rounded(model: CenterNetModel, bits: int) -> dict[str, torch.Tensor]:
    """Return the weights with every matrix rounded to 2**bits - 1 even steps a tensor: a deliberately damaged model."""
    steps = 2 ** (bits - 1) - 1
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, tensor in state.items():
        if tensor.ndim > 1:
            scale = tensor.abs().max() / steps
            state[name] = (tensor / scale).round() * scale
    return state


@dataclass(frozen=True)
class Score:
    """What the folder reaches on the evaluation pictures."""

    method: str
    mean: float
    by_class: dict[str, float]
    damaged: dict[int, float]


def card(recipe: Recipe, score: Score, parameters: int) -> str:
    """Return the model card."""
    losses = ", ".join(f"{bits} bits {value:.3f}" for bits, value in score.damaged.items())
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in score.by_class.items())
    phases = "\n".join(
        f"| {phase.name} | {phase.side} | {phase.seen} | {phase.batch} | {phase.rate} |" for phase in recipe.phases
    )
    return f"""---
license: apache-2.0
pipeline_tag: object-detection
---
# CenterNet on a ResNet-18 for parts and their defects

Finds eight kinds of things: {", ".join(CLASSES)}. {parameters / 1e6:.2f} million parameters.

- **Network**: `leptonbench/tasks/centernet.py`, after "Objects as Points" (arXiv:1904.07850). The backbone is
  transformers' ResNet-18 without its last stage, as MLPerf's SSD-ResNet34 leaves out its own: that stage would be three
  quarters of the weights, and at a stride of 32 small defects are gone. A neck of nearest upsampling and convolutions
  leads back to a stride of 4; heat, size and offset come from there. Sigmoid and peak picking are decoding's.
- **Made by** `python workloads/detection/train.py --out workloads/detection/model --scratch SCRATCH`; seed
  {recipe.seed}. Stem and first three stages start from the inspection workload's network, which was itself trained
  from random weights on generated surfaces; no other data or weights went in. The stem is held.
  The weights shipped here went through the first phase, and 1,772 whole pictures after it, on a draft of the generator
  with fainter defects (5,000 pictures, first stage held, too); a run of the command uses the present one throughout.
- **Data**: {recipe.pictures} pictures of split `train` drawn by `leptonbench/tasks/parts.py`, generator version
  {GENERATOR_VERSION}. All pictures are synthetic: the accuracy says how a compressed or ported copy compares with this
  model, and nothing about a real production line.
- **Weights** are stored in half precision and run in single precision (`"dtype": "float32"` in `config.json`).
- **Accuracy**: mAP@[.5:.95] {score.mean:.3f} in fp32 on split `evaluation` (seed {EVALUATION_SEED}), measured from this
  folder: {score.method}. With every weight matrix rounded to nearest, one scale a tensor: {losses}.

| class | AP@[.5:.95] |
|---|---|
{rows}

AdamW, weight decay {recipe.weight_decay}, penalty-reduced focal loss, generalised IoU and L1; each phase is one cycle
of the learning rate:

| phase | side, pixels | seen | batch | peak rate |
|---|---|---|---|---|
{phases}
"""


def measure(recipe: Recipe, out: Path) -> None:
    """Measure the folder as it will be read, whole and deliberately damaged; print it and write the model card."""
    model = CenterNetModel.from_pretrained(out, dtype=torch.float32).to(memory_format=torch.channels_last)
    images, boxes, found = generate(EVALUATION_SEED, "evaluation", EVALUATION_PICTURES)
    targets = truth([rows[:n] for rows, n in zip(boxes, found, strict=True)])
    metric = MeanPrecision(CLASSES)
    answers = predict(model, images)
    quality = metric.quality(answers, targets)
    whole = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    damaged = {}
    for bits in (8, 4):
        model.load_state_dict(whole)
        model.load_state_dict(rounded(model, bits))
        damaged[bits] = metric.value(predict(model, images), targets)
    score = Score(quality.method or "", quality.value or 0.0, metric.by_class(answers, targets), damaged)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    (out / "README.md").write_text(card(recipe, score, parameters), encoding="utf-8")
    print(
        f"mAP {score.mean:.3f} ({quality.low:.3f} to {quality.high:.3f}); {score.method}; {score.by_class}; {damaged}"
    )


def main() -> None:
    """Train, write the folder, measure what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--scratch", type=Path, help="folder for pictures and checkpoints")
    parser.add_argument("--backbone", type=Path, default=Path(__file__).parents[1] / "inspection" / "model")
    parser.add_argument("--measure", action="store_true", help="train nothing; measure the folder and renew its card")
    given = parser.parse_args()
    recipe = Recipe()
    if not given.measure:
        if given.scratch is None:
            parser.error("training needs --scratch")
        train(recipe, given.out, scratch=given.scratch, backbone=given.backbone)
    measure(recipe, given.out)


def train(recipe: Recipe, out: Path, *, scratch: Path, backbone: Path) -> None:
    """Train through all phases, write the folder after each, and print how it goes."""
    scratch.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    data = draw_training_set(recipe.seed, recipe.pictures, scratch)
    print(f"drew {recipe.pictures} pictures in {time.monotonic() - begin:.0f} s", flush=True)
    model = start(recipe.seed, backbone)
    images, boxes, found = generate(recipe.seed, "validation", 100)
    targets = truth([rows[:n] for rows, n in zip(boxes, found, strict=True)])
    for phase in recipe.phases:
        if run_phase(model, data, phase, recipe=recipe, scratch=scratch):
            save(model, out)
            score = MeanPrecision(CLASSES).value(predict(model, images), targets)
            minutes = (time.monotonic() - begin) / 60
            print(f"after {phase.name}: held-out mAP {score:.3f}, {minutes:.1f} min", flush=True)


if __name__ == "__main__":
    main()
