"""Generate pictures of machined parts on a bench, some defective, with the box of every part and defect.

The detection workload's data: washers, nuts, bolts, brackets and gears of many sizes and turns, partly covering each
other or cut by the picture's edge, and scratches, dents and stains on some of them. What lies beside them looks like
them and is none: plugs, pins and blanks, drops, fibres and ink on parts, scratches and stains on the bench itself.

A picture is a function of (seed, split, index) and of nothing else, and its bytes are meant to be equal on every
machine: `leptonbench.tasks.surface` says how. A box is taken from what was drawn: it encloses the pixels of a part
that nothing covers, or those of a defect that show on its part.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from leptonbench.tasks.parts_marks import DEFECTS, ON_BENCH, ON_PARTS, Mark, Marker, Place
from leptonbench.tasks.parts_shapes import PARTS, STRAY, Shaper
from leptonbench.tasks.surface import sense, word_of
from leptonbench.tasks.surface_scene import Draws, Floats, Point, Scene, cover, surface

SIDE = 320  # pixels
CLASSES = (*PARTS, *DEFECTS)
GENERATOR_VERSION = 1  # part of cache keys: raise it whenever any byte of any picture or box changes
MOST_OBJECTS = 16  # a picture: seven parts and seven defects, and room
CHUNK = 16  # pictures a job

BENCHES: tuple[tuple[float, float, float], ...] = (  # reflectance of red, green, blue against steel's, by eye
    (0.35, 0.36, 0.38),  # rubber mat
    (0.45, 0.62, 0.50),  # green mat
    (0.40, 0.52, 0.75),  # blue tray
    (1.25, 1.00, 0.72),  # wood
    (1.35, 1.35, 1.30),  # white board
    (0.80, 0.80, 0.82),  # bare steel
)

Boxes = NDArray[np.float32]
Picture = tuple[NDArray[np.uint8], Boxes]


@dataclass
class Bench:
    """A picture in the making.

    Attributes:
        scene: The bench and what lies on it.
        metal: A clean lit surface that parts are cut from.
        owner: What each pixel shows, [SIDE, SIDE]: 0 the bench, 1 and up a part or a stray piece.
        flat: Where a part's face is flat enough for a defect to show.
        kinds: The class of each owner, from 1 on; -1 for a stray piece.
        sizes: How many pixels each owner showed when it was laid down.
        defects: Box and class of each defect.
    """

    scene: Scene
    metal: Floats
    owner: NDArray[np.int8]
    flat: NDArray[np.bool_]
    kinds: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    defects: list[tuple[float, ...]] = field(default_factory=list)

    def span(self, centre: Point, reach: float) -> tuple[slice, slice]:
        """Return rows and columns of the window that `Scene.window` gives."""
        view, x, y = self.scene.window(centre, reach)
        half = (SIDE - 1) / 2
        left, top = round(float(x[0, 0]) + centre[0] + half), round(float(y[0, 0]) + centre[1] + half)
        return slice(top, top + view.shape[1]), slice(left, left + view.shape[2])


def _box(shows: NDArray[np.bool_], rows: slice, columns: slice) -> tuple[float, float, float, float] | None:
    """Return the box around what shows in a window, in pixels of the picture; `None` if nothing does."""
    down, along = np.flatnonzero(shows.any(axis=1)), np.flatnonzero(shows.any(axis=0))
    if not len(down):
        return None
    top, left = rows.start or 0, columns.start or 0
    return (
        float(left + along[0]),
        float(top + down[0]),
        float(left + along[-1] + 1),
        float(top + down[-1] + 1),
    )


def _hidden(bench: Bench, rows: slice, columns: slice, inside: NDArray[np.bool_]) -> bool:
    """Tell whether a new piece would leave too little of one below it to be told: under seven tenths."""
    below = np.bincount(bench.owner[rows, columns][inside].astype(np.intp), minlength=len(bench.kinds) + 1)
    for number in np.flatnonzero(below[1:]) + 1:
        if np.count_nonzero(bench.owner == number) - below[number] < 0.7 * bench.sizes[number - 1]:
            return True
    return False


def _moved(values: Floats, down: int, along: int) -> Floats:
    """Return a window moved by whole pixels, its edge repeated."""
    rows = np.clip(np.arange(values.shape[0]) - down, 0, values.shape[0] - 1)
    columns = np.clip(np.arange(values.shape[1]) - along, 0, values.shape[1] - 1)
    return values[rows[:, None], columns[None, :]]


def _lay(bench: Bench, shaper: Shaper, kind: int, radius: float) -> None:
    """Lay a piece down at random, with shadow, bevel and a finish of its own; give up where it would hide others."""
    draws, light = bench.scene.draws, bench.scene.light
    reach = SIDE / 2 - radius * draws.uniform(0.1, 1.1)
    centre, (c, s) = (draws.uniform(-reach, reach), draws.uniform(-reach, reach)), draws.direction()
    view, x, y = bench.scene.window(centre, radius + 9)
    rows, columns = bench.span(centre, radius + 9)
    along, across = x * np.float32(c) + y * np.float32(s), y * np.float32(c) - x * np.float32(s)
    distance, shade = shaper(draws, along, across, radius)
    inside = distance < 0
    if not inside.any() or _hidden(bench, rows, columns, inside):
        return
    height = draws.uniform(1.5, 6)
    aside = _moved(distance, round(-light[1] * height), round(-light[0] * height))
    shadow = np.clip(np.float32(0.5) - aside * np.float32(1 / height), 0, 1)
    view *= 1 - shadow * np.float32(draws.uniform(0.25, 0.6))
    paint = bench.metal[:, :: 1 - 2 * draws.below(2), :: 1 - 2 * draws.below(2)]
    paint = (paint.transpose(0, 2, 1) if draws.chance(0.5) else paint)[:, rows, columns]
    slope_y, slope_x = np.gradient(distance)
    facing = slope_x * np.float32(light[0]) + slope_y * np.float32(light[1])
    bevel = cover(np.abs(distance + np.float32(1.6)), 1.0) * facing * np.float32(draws.uniform(0.15, 0.6))
    paint = paint * (shade * (1 + bevel) * np.float32(draws.uniform(0.7, 1.3)))
    view += (paint - view) * np.clip(np.float32(0.5) - distance, 0, 1)
    bench.kinds.append(kind)
    bench.owner[rows, columns][inside] = len(bench.kinds)
    bench.flat[rows, columns][inside] = distance[inside] < -3
    bench.sizes.append(int(np.count_nonzero(inside)))


def _mark(bench: Bench, centre: Point, reach: float, marker: Marker) -> tuple[Mark, slice, slice]:
    """Return a mark about a centre and the window that it lies in."""
    window = reach * 1.4 + 5
    _, x, y = bench.scene.window(centre, window)
    return (marker(bench.scene.draws, Place(x, y, bench.scene.light), reach), *bench.span(centre, window))


def _apply(bench: Bench, mark: Mark, rows: slice, columns: slice, *, number: int) -> None:
    """Change the light where an owner shows."""
    own = bench.owner[rows, columns] == number
    bench.scene.planes[:, rows, columns] *= 1 + mark.change * own


def _spot(bench: Bench, number: int) -> Point | None:
    """Return a random flat pixel of an owner, from the picture's centre; `None` if it shows too few."""
    pixels = np.flatnonzero((bench.owner == number) & bench.flat)
    if len(pixels) < 150:
        return None
    row, column = divmod(int(pixels[bench.scene.draws.below(len(pixels))]), SIDE)
    return column - (SIDE - 1) / 2, row - (SIDE - 1) / 2


def _overlaps(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _harm(bench: Bench, number: int, kind: int) -> None:
    """Draw a defect on a part, if enough of it shows there and it meets no other."""
    draws = bench.scene.draws
    spot, reach = _spot(bench, number), draws.uniform(16, 34)
    if spot is None:
        return
    mark, rows, columns = _mark(bench, spot, reach, DEFECTS[CLASSES[kind]])
    shows = mark.shows & (bench.owner[rows, columns] == number)
    box = _box(shows, rows, columns)
    if box is None or min(box[2] - box[0], box[3] - box[1]) < 10 or np.count_nonzero(shows) < 50:
        return
    if np.count_nonzero(shows) * 2 < np.count_nonzero(mark.shows) or any(_overlaps(box, it) for it in bench.defects):
        return
    _apply(bench, mark, rows, columns, number=number)
    bench.defects.append((*box, float(kind)))


def _furnish(draws: Draws) -> Bench:
    """Return an empty bench under its light, with what lies on it before any part."""
    scene = surface(draws, SIDE)
    tone = np.asarray(BENCHES[draws.below(len(BENCHES))], dtype=np.float32)
    scene.planes *= (tone * np.float32(draws.uniform(0.6, 1.0)))[:, None, None]
    empty = np.zeros((SIDE, SIDE), dtype=np.int8)
    bench = Bench(scene, surface(draws, SIDE).planes, empty, empty.astype(np.bool_))
    for _ in range(draws.below(3)):
        spot = draws.uniform(-SIDE / 2, SIDE / 2), draws.uniform(-SIDE / 2, SIDE / 2)
        _apply(bench, *_mark(bench, spot, draws.uniform(12, 34), ON_BENCH[draws.below(len(ON_BENCH))]), number=0)
    return bench


def _boxes(bench: Bench) -> Boxes:
    """Return corners and class of every part that shows, then of every defect, [n, 5]."""
    whole = slice(0, SIDE)
    rows: list[tuple[float, ...]] = []
    for number, kind in enumerate(bench.kinds, start=1):
        box = _box(bench.owner == number, whole, whole) if kind >= 0 else None
        if box is not None:
            rows.append((*box, float(kind)))
    return np.asarray(rows + bench.defects, dtype=np.float32).reshape(-1, 5)[:MOST_OBJECTS]


def render(seed: int, split: str, index: int) -> Picture:
    """Draw one picture.

    Args:
        seed: The data set's seed, not negative.
        split: Any name; pictures of two splits have nothing in common but the generator.
        index: The picture's place in its split, not negative.

    Returns:
        The picture [320, 320, 3], red, green, blue, and its boxes [n, 5] in pixels: left, top, right and bottom edge,
        and class, an index into `CLASSES`.

    Raises:
        ValueError: Seed or index is negative.
    """
    draws = Draws(seed, word_of(split), index, 2)
    bench = _furnish(draws)
    shapers = tuple(PARTS.values())
    for _ in range(3 + draws.below(5)):
        kind = draws.below(len(shapers))
        _lay(bench, shapers[kind], kind, draws.skewed(22, 76))
        if draws.chance(0.12):
            _lay(bench, STRAY[draws.below(len(STRAY))], -1, draws.skewed(14, 50))
    for number, kind in enumerate(list(bench.kinds), start=1):
        if kind >= 0 and draws.chance(0.2):
            spot = _spot(bench, number)
            if spot is not None:
                mark = _mark(bench, spot, draws.uniform(10, 24), ON_PARTS[draws.below(len(ON_PARTS))])
                _apply(bench, *mark, number=number)
        for _ in range(2):
            if kind >= 0 and draws.chance(0.45):
                _harm(bench, number, len(PARTS) + draws.below(len(DEFECTS)))
    return sense(draws, bench.scene.planes), _boxes(bench)


def _batch(seed: int, split: str, bounds: tuple[int, int]) -> list[Picture]:
    return [render(seed, split, index) for index in range(*bounds)]


def generate(
    seed: int, split: str, count: int, processes: int | None = None
) -> tuple[NDArray[np.uint8], Boxes, NDArray[np.int64]]:
    """Draw the first `count` pictures of a split.

    Args:
        seed: As in `render`.
        split: As in `render`.
        count: How many; the first of them do not depend on it.
        processes: How many to use; `None` is one for a few pictures and one a usable core for many. Any number gives
            the same bytes. New processes are spawned, so a calling script needs its `if __name__ == "__main__"`.

    Returns:
        Pictures, uint8 [count, 320, 320, 3]; their boxes [count, 16, 5], padded with zeros; how many each has [count].
    """
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if count >= 8 * CHUNK else 1
    images = np.empty((count, SIDE, SIDE, 3), dtype=np.uint8)
    boxes = np.zeros((count, MOST_OBJECTS, 5), dtype=np.float32)
    found = np.zeros(count, dtype=np.int64)
    bounds = [(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]

    def keep(batches: Iterable[list[Picture]]) -> None:
        for (start, _), batch in zip(bounds, batches, strict=True):
            for index, (image, rows) in enumerate(batch, start=start):
                images[index], found[index] = image, len(rows)
                boxes[index, : len(rows)] = rows

    job = partial(_batch, seed, split)
    if processes <= 1:
        keep(map(job, bounds))
        return images, boxes, found
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        keep(pool.map(job, bounds))
    return images, boxes, found
