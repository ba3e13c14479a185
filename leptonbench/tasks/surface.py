"""Generate images of machined surfaces, good and defective, from a seed.

Inspection images from factories are rarely free to redistribute, so the inspection workload draws its own: milled,
turned, brushed, ground, blasted and cross-hatched metal under uneven light, with at most one kind of defect and with
benign look-alikes (dust, fibres, oil sheen, labels, marker dots, tool steps, drops, part edges) in every class.

An image is a function of (seed, split, index) and of nothing else. The key seeds `SeedSequence`, whose stream differs
for every key, so splits are disjoint by construction and any subset can be drawn in any order.

Bytes are meant to be equal on every machine: random numbers are PCG64's raw words (which NumPy promises not to
change, unlike `Generator`'s distributions), arithmetic is IEEE add, multiply, divide and square root, element by
element in float32, and there is no matrix product, transform, transcendental function or floating-point sum whose
order a library could choose. What remains outside our control is a NumPy built with contraction of `a * b + c` across
calls or with flush-to-zero; no released wheel has either. The golden hashes in the tests notice.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from leptonbench.tasks.surface_marks import BENIGN, DEFECTS
from leptonbench.tasks.surface_scene import SIDE, Draws, Floats, blend, surface

CLASSES = ("good", "scratch", "dent", "hole", "stain", "crack")
GENERATOR_VERSION = 2  # part of cache keys: raise it whenever any byte of any image changes
POOL_FROM = 512  # images; below, starting processes costs more than they save
CHUNK = 32  # images a job: 5 MB of result, small against a process's memory, large against its call overhead


def sense(draws: Draws, planes: Floats) -> NDArray[np.uint8]:
    """Return what a camera makes of a scene [3, side, side], as [side, side, 3].

    It has defocus, exposure, a tone curve, shot and read noise.
    """
    blur = draws.skewed(0.0, 0.25)
    for axis in (1, 2):
        blend(planes, blur, axis)
    planes *= (np.float32(draws.uniform(0.85, 1.15)) * (1 + draws.spread(3) * np.float32(0.04)))[:, None, None]
    np.clip(planes, 0, 1, out=planes)
    side = planes.shape[-1]
    noise = draws.grain(3, side, side) + draws.grain(1, side, side)
    noise *= np.float32(draws.skewed(0.008, 0.05))
    noise *= np.float32(0.4) + planes
    curve = np.float32(draws.uniform(0.0, 0.6))  # a tone curve between linear and about gamma 0.6
    planes *= (1 + curve) - curve * planes
    planes += noise
    planes *= 255
    planes += np.float32(0.5)
    np.clip(planes, 0, 255, out=planes)
    return np.ascontiguousarray(planes.astype(np.uint8).transpose(1, 2, 0))


@lru_cache(maxsize=64)
def word_of(split: str) -> int:
    """Return the 64-bit word that stands for a split in a key."""
    return int.from_bytes(hashlib.sha256(split.encode()).digest()[:8], "little")


def label_of(seed: int, split: str, index: int) -> int:
    """Return the class of an image: every six indices hold the six classes once, in an order of their own."""
    order = list(range(len(CLASSES)))
    draws = Draws(seed, word_of(split), index // len(order), 1)
    for last in range(len(order) - 1, 0, -1):
        other = draws.below(last + 1)
        order[last], order[other] = order[other], order[last]
    return order[index % len(order)]


def render_located(seed: int, split: str, index: int) -> tuple[NDArray[np.uint8], int, tuple[int, int]]:
    """Draw one image as `render` does, and tell where to look.

    Returns:
        The image, its class, and row and column of the defect's centre; where there is none, of the first benign
        thing, or of the image's own centre. A trainer that crops needs it; nothing that measures may use it.
    """
    label = label_of(seed, split, index)
    scene = surface(Draws(seed, word_of(split), index, 0))
    draws = scene.draws
    if label:
        DEFECTS[CLASSES[label]](scene)
    for _ in range(draws.below(3)):
        BENIGN[draws.below(len(BENIGN))](scene)
    x, y = scene.focus[0] if scene.focus else (0.0, 0.0)
    return sense(draws, scene.planes), label, (int(y + SIDE / 2), int(x + SIDE / 2))


def render(seed: int, split: str, index: int) -> tuple[NDArray[np.uint8], int]:
    """Draw one image.

    Args:
        seed: the data set's seed, not negative.
        split: any name; images of two splits have nothing in common but the generator.
        index: the image's place in its split, not negative.

    Returns:
        The image [224, 224, 3], red, green, blue, and its class, an index into `CLASSES`.

    Raises:
        ValueError: seed or index is negative.
    """
    image, label, _ = render_located(seed, split, index)
    return image, label


def _batch(seed: int, split: str, bounds: tuple[int, int]) -> list[tuple[NDArray[np.uint8], int]]:
    return [render(seed, split, index) for index in range(*bounds)]


def _fill(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    bounds: list[tuple[int, int]],
    batches: Iterable[list[tuple[NDArray[np.uint8], int]]],
) -> None:
    for (start, _), batch in zip(bounds, batches, strict=True):
        for offset, (image, label) in enumerate(batch):
            images[start + offset] = image
            labels[start + offset] = label


def generate(
    seed: int, split: str, count: int, processes: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw the first `count` images of a split: uint8 [count, 224, 224, 3] and their classes, int64 [count].

    Args:
        seed: as in `render`.
        split: as in `render`.
        count: how many; the first of them do not depend on it.
        processes: how many to use; None is one for a few images and one a usable core for many. Any number gives the
            same bytes. New processes are spawned, so a calling script needs its `if __name__ == "__main__"`.
    """
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if count >= POOL_FROM else 1
    images = np.empty((count, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.empty(count, dtype=np.int64)
    bounds = [(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    job = partial(_batch, seed, split)
    if processes <= 1:
        batches = map(job, bounds)
        _fill(images, labels, bounds, batches)
        return images, labels
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        _fill(images, labels, bounds, pool.map(job, bounds))
    return images, labels
