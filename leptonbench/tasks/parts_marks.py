"""Defects on machined parts, and benign marks on parts and bench that look like them.

Each returns by how much it changes the light in a window, and where it can be seen. `leptonbench.tasks.surface` says
which arithmetic is allowed here, and why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.tasks.surface_marks import STAINS, Line, stroke, taper
from leptonbench.tasks.surface_scene import Draws, Floats, Point, bump, cloud, cover, curve


class Mark(NamedTuple):
    """A change of light, `1 + change` times what was there, [1 or 3, h, w], and where it shows, [h, w]."""

    change: Floats
    shows: NDArray[np.bool_]


class Place(NamedTuple):
    """Where a mark is drawn: coordinates x [1, w] and y [h, 1] from its centre, and where light comes from."""

    x: Floats
    y: Floats
    light: Point


Marker = Callable[[Draws, Place, float], Mark]


def _oval(draws: Draws, place: Place, radius: float, stretch: float) -> tuple[Floats, Floats, Floats]:
    """Return the squared distance in radii and the outward slope's x and y components."""
    c, s = draws.direction()
    long = (place.x * np.float32(c) + place.y * np.float32(s)) * np.float32(1 / (radius * stretch))
    short = (place.y * np.float32(c) - place.x * np.float32(s)) * np.float32(1 / radius)
    square = long * long + short * short
    return square, long * np.float32(c) - short * np.float32(s), long * np.float32(s) + short * np.float32(c)


def scratch(draws: Draws, place: Place, reach: float) -> Mark:
    """Draw a thin bright or dark line, slightly bent, with a flank."""
    c, s = draws.direction()
    while min(abs(c), abs(s)) < 0.3:  # along an axis its box would be a sliver that a pixel's error halves
        c, s = draws.direction()
    length = reach * draws.uniform(1.4, 2.4)
    path = curve(draws.spread(5), 128) * np.float32(draws.uniform(0, 0.07) * length)
    line = Line((0.0, 0.0), (c, s), length, path, taper(draws, 128, draws.uniform(1.1, 2.3)))
    tone = draws.sign() * draws.uniform(0.55, 0.95)
    change = stroke(line, place.x, place.y, tone, -tone * draws.uniform(0, 0.4))
    return Mark(change[None], change * np.float32(1 / tone) > 0.25)


def dent(draws: Draws, place: Place, reach: float) -> Mark:
    """Shade a smooth depression: bright where its wall faces the light, dark where it turns away."""
    radius = reach * draws.uniform(0.55, 0.85)
    square, gx, gy = _oval(draws, place, radius, draws.uniform(1, 1.25))
    facing = -(gx * np.float32(place.light[0]) + gy * np.float32(place.light[1]))
    depth = draws.uniform(1.0, 2.2)
    change = (facing * np.float32(2 * depth) - np.float32(0.2 * depth)) * bump(square)
    return Mark(np.maximum(change, np.float32(-0.9))[None], square < 0.72)


def stain(draws: Draws, place: Place, reach: float) -> Mark:
    """Darken an irregular blot, evenly or as the ring that a drying drop leaves, without relief."""
    square, _, _ = _oval(draws, place, reach * draws.uniform(0.55, 0.85), draws.uniform(1, 1.3))
    rough = cloud(draws, 8 + draws.below(8), 160)[: square.shape[0], : square.shape[1]]
    level = 1 - square + rough * np.float32(0.7) * (1 - square * np.float32(0.5))
    mask = np.clip(level * np.float32(1 / draws.uniform(0.15, 0.6)), 0, 1) * (square < 1.7)
    shows = mask > 0.35
    if draws.chance(0.3):
        mask = mask * (np.float32(1.7) - mask)
    absorbed = np.asarray(STAINS[draws.below(len(STAINS))], dtype=np.float32) * np.float32(draws.uniform(0.5, 0.85))
    return Mark(-mask[None] * absorbed[:, None, None], shows)


# --- benign ----------------------------------------------------------------------------------------------------------


def fibre(draws: Draws, place: Place, reach: float) -> Mark:
    """Draw a hair: even in width, strongly and smoothly curved, unlike a scratch."""
    length = reach * draws.uniform(0.9, 1.6)
    path = curve(draws.spread(7), 128) * np.float32(draws.uniform(0.25, 0.45) * length)
    line = Line((0.0, 0.0), draws.direction(), length, path, np.full(128, draws.uniform(0.5, 0.9), dtype=np.float32))
    change = stroke(line, place.x, place.y, draws.uniform(0.25, 0.5) * (-1 if draws.chance(0.3) else 1))
    return Mark(change[None], np.abs(change) > 0.1)


def drop(draws: Draws, place: Place, reach: float) -> Mark:
    """Draw a drop of clear liquid: a thin dark outline and a small highlight, and no shading inside, unlike a dent."""
    radius = reach * draws.uniform(0.35, 0.7)
    square, gx, gy = _oval(draws, place, radius, draws.uniform(1, 1.25))
    rim = cover(np.abs(np.sqrt(square) - 1) * np.float32(radius), draws.uniform(0.3, 0.9))
    hx, hy = gx - np.float32(place.light[0] * 0.5), gy - np.float32(place.light[1] * 0.5)
    glint = bump((hx * hx + hy * hy) * np.float32(16)) * np.float32(draws.uniform(0.3, 0.8))
    return Mark((glint - rim * np.float32(draws.uniform(0.15, 0.4)))[None], square < 1)


def marker(draws: Draws, place: Place, reach: float) -> Mark:
    """Draw a dot of coloured ink, as an inspector leaves: sharper and more colourful than a stain."""
    radius = reach * draws.uniform(0.25, 0.5)
    square, _, _ = _oval(draws, place, radius, draws.uniform(1, 1.3))
    ink = np.asarray(((0.1, 0.9, 0.9), (0.9, 0.8, 0.1), (0.9, 0.3, 0.9))[draws.below(3)], dtype=np.float32)
    dot = cover((np.sqrt(square) - 1) * np.float32(radius), 0.3) * np.float32(draws.uniform(0.35, 0.8))
    return Mark(-dot[None] * ink[:, None, None], square < 1)


def ring(draws: Draws, place: Place, reach: float) -> Mark:
    """Draw the ring that a cup or a part left on the bench: round as a washer, without metal."""
    radius = reach * draws.uniform(0.6, 0.95)
    square, _, _ = _oval(draws, place, radius, 1.0)
    line = cover(np.abs(np.sqrt(square) - 1) * np.float32(radius), draws.uniform(0.8, 3))
    return Mark((line * np.float32(draws.sign() * draws.uniform(0.15, 0.35)))[None], line > 0.5)


DEFECTS: dict[str, Marker] = {"scratch": scratch, "dent": dent, "stain": stain}
ON_PARTS: tuple[Marker, ...] = (fibre, drop, marker)
ON_BENCH: tuple[Marker, ...] = (scratch, stain, fibre, drop, ring)
