"""Outlines of machined parts as signed distances, and the lines on their faces.

A shape takes coordinates about the part's centre in its own frame, in pixels, and returns the distance to its outline
(negative inside) and a factor of its light. `leptonbench.tasks.surface` says which arithmetic is allowed here, and why:
angles are unit vectors and teeth are made by folding the plane over mirrors, so no sine is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from leptonbench.tasks.surface_scene import Draws, Floats, Point, cover

_COS_30 = math.sqrt(3) / 2


class Shape(NamedTuple):
    """What a part looks like from above: signed distance and factor of light, each [h, w]."""

    distance: Floats
    shade: Floats


Shaper = Callable[[Draws, Floats, Floats, float], Shape]


def _box(x: Floats, y: Floats, centre: Point, half: Point) -> Floats:
    """Return the distance to an upright rectangle; beyond its corners it is the larger of the two, which is near."""
    inside: Floats = np.maximum(
        np.abs(x - np.float32(centre[0])) - np.float32(half[0]), np.abs(y - np.float32(centre[1])) - np.float32(half[1])
    )
    return inside


def _radius(x: Floats, y: Floats, centre: Point = (0.0, 0.0)) -> Floats:
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    return np.asarray(np.sqrt(dx * dx + dy * dy), dtype=np.float32)


def _groove(distance: Floats, half_width: float, depth: float) -> Floats:
    """Return the factor of light of a line at distance 0."""
    factor: Floats = 1 - cover(np.abs(distance), half_width) * np.float32(depth)
    return factor


def washer(draws: Draws, x: Floats, y: Floats, radius: float) -> Shape:
    """Draw a flat ring; one in three has a split, as a spring washer."""
    r = _radius(x, y)
    hole = radius * draws.uniform(0.38, 0.66)
    distance = np.maximum(r - np.float32(radius), np.float32(hole) - r)
    if draws.chance(0.33):
        distance = np.maximum(distance, -_box(x, y, (radius, 0.0), (radius, max(1.2, radius * 0.06))))
    return Shape(distance, _groove(r - np.float32(radius * 0.92), 0.5, draws.uniform(0, 0.2)))


def nut(draws: Draws, x: Floats, y: Floats, radius: float) -> Shape:
    """Draw a hexagon with a threaded hole and the round chamfer of its corners."""
    apothem = radius * _COS_30
    ax, ay = np.abs(x), np.abs(y)
    hexagon = np.maximum(ay, ax * np.float32(_COS_30) + ay * np.float32(0.5)) - np.float32(apothem)
    r = _radius(x, y)
    hole = apothem * draws.uniform(0.46, 0.64)
    shade = _groove(r - np.float32(apothem * 0.95), 0.7, draws.uniform(0.1, 0.4))
    shade = shade * _groove(r - np.float32(hole * 1.16), 0.7, draws.uniform(0.1, 0.5))
    return Shape(np.maximum(hexagon, np.float32(hole) - r), shade)


def bolt(draws: Draws, x: Floats, y: Floats, radius: float) -> Shape:
    """Draw a bolt from its side: a head with facets, a shank, a thread."""
    head, half_head = radius * draws.uniform(0.28, 0.5), radius * draws.uniform(0.3, 0.48)
    half_shank = half_head * draws.uniform(0.45, 0.68)
    head_box = _box(x, y, (head / 2 - radius, 0.0), (head / 2, half_head))
    shank_box = _box(x, y, (head / 2, 0.0), (radius - head / 2, half_shank))
    pitch, start = draws.uniform(2.6, 4.5), radius * draws.uniform(-0.35, 0.35)
    turns = x * np.float32(1 / pitch) + y * np.float32(0.08) + np.float32(64)
    ridge = np.abs((turns - np.floor(turns)) * 2 - 1) - np.float32(0.5)
    thread = ridge * (x > np.float32(start)) * np.float32(draws.uniform(0.25, 0.6))
    across = y * np.float32(1 / half_shank)
    rounded = np.float32(0.45) * np.minimum(across * across, 1)
    shade = np.where(head_box < 0, _groove(np.abs(y) - np.float32(half_head / 2), 0.7, 0.35), 1 + thread - rounded)
    return Shape(np.minimum(head_box, shank_box), shade)


def bracket(draws: Draws, x: Floats, y: Floats, radius: float) -> Shape:
    """Draw an angle plate with a bore or two in each arm."""
    reach = radius * 0.72
    width = reach * draws.uniform(0.55, 0.8)
    short = reach * draws.uniform(0.7, 1.0)
    arms = np.minimum(
        _box(x, y, (0.0, reach - width / 2), (reach, width / 2)),
        _box(x, y, (width / 2 - reach, reach - short), (width / 2, short)),
    )
    bore = width * draws.uniform(0.14, 0.26)
    ends = [(reach - width * 0.5, reach - width / 2), (width / 2 - reach, reach - 2 * short + width * 0.5)]
    if draws.chance(0.5):
        ends.append((width / 2 - reach, reach - width / 2))
    for end in ends:
        arms = np.maximum(arms, np.float32(bore) - _radius(x, y, end))
    return Shape(arms, np.ones_like(arms))


def _folded(x: Floats, y: Floats, mirrors: tuple[Point, ...]) -> tuple[Floats, Floats]:
    """Fold the plane over mirrors through the centre, each a direction; what is beyond one comes back before it."""
    x, y = np.abs(x), np.abs(y)
    for c, s in mirrors:
        beyond: Floats = np.maximum(y * np.float32(c) - x * np.float32(s), 0)
        beyond *= np.float32(2)
        x, y = x + beyond * np.float32(s), y - beyond * np.float32(c)
    return x, y


def _halved(direction: Point) -> Point:
    """Return the direction of half the angle."""
    cosine = math.sqrt((1 + direction[0]) / 2)
    return cosine, direction[1] / (2 * cosine)


_AT_45 = (math.sqrt(0.5), math.sqrt(0.5))
_AT_30 = (_COS_30, 0.5)
_AT_60 = (0.5, _COS_30)
_TEETH: tuple[tuple[tuple[Point, ...], float], ...] = (  # mirrors down to half a tooth, and half a tooth's width
    ((_AT_45, _halved(_AT_45)), 0.19),
    ((_AT_60, _AT_30, _halved(_AT_30)), 0.13),
    ((_AT_45, _halved(_AT_45), _halved(_halved(_AT_45))), 0.1),
)  # 8, 12 and 16 teeth


def gear(draws: Draws, x: Floats, y: Floats, radius: float) -> Shape:
    """Draw a spur gear: teeth, a bore, a hub, and in larger ones holes between."""
    mirrors, half_tooth = _TEETH[draws.below(2 if radius < 30 else 3)]
    r = _radius(x, y)
    root = radius * draws.uniform(0.74, 0.84)
    u, v = _folded(x, y, mirrors)
    flank = v - np.float32(radius * half_tooth) - (np.float32(radius) - u) * np.float32(0.22)
    distance = np.minimum(r - np.float32(root), np.maximum(u - np.float32(radius), flank))
    bore = radius * draws.uniform(0.14, 0.3)
    distance = np.maximum(distance, np.float32(bore) - r)
    hub = bore + radius * draws.uniform(0.1, 0.16)
    shade = _groove(r - np.float32(hub), 0.8, draws.uniform(0.1, 0.5))
    if radius > 30 and draws.chance(0.5):
        u, v = _folded(x, y, (_AT_60, _AT_30) if draws.chance(0.5) else (_AT_45,))
        between = (hub + root) / 2
        distance = np.maximum(distance, np.float32((root - hub) * 0.28) - _radius(u, v, (between, 0.0)))
    return Shape(distance, shade * _groove(r - np.float32(root * 0.93), 0.6, draws.uniform(0, 0.3)))


# --- pieces that lie about and are none of the parts -----------------------------------------------------------------


def plug(draws: Draws, x: Floats, y: Floats, radius: float) -> Shape:
    """Draw a solid disc, some with a slot: like a washer, without its hole."""
    r = _radius(x, y)
    shade = _groove(r - np.float32(radius * draws.uniform(0.4, 0.7)), 0.6, draws.uniform(0, 0.4))
    if draws.chance(0.4):
        slot = (_box(x, y, (0.0, 0.0), (radius * 0.7, radius * 0.1)) < 0).astype(np.float32)
        shade = shade * (1 - np.float32(0.5) * slot)
    return Shape(r - np.float32(radius), shade)


def pin(draws: Draws, x: Floats, y: Floats, radius: float) -> Shape:
    """Draw a rod: like a bolt, without head or thread."""
    half_width = radius * draws.uniform(0.1, 0.24)
    across = y * np.float32(1 / half_width)
    rod = _box(x, y, (0.0, 0.0), (radius, half_width))
    return Shape(rod, np.broadcast_to(1 - np.float32(0.5) * np.minimum(across * across, 1), rod.shape))


def blank(draws: Draws, x: Floats, y: Floats, radius: float) -> Shape:
    """Draw a plain rectangular plate: like a bracket, without bores or angle."""
    plate = _box(x, y, (0.0, 0.0), (radius * 0.8, radius * draws.uniform(0.3, 0.6)))
    return Shape(plate, np.ones_like(plate))


PARTS: dict[str, Shaper] = {"washer": washer, "nut": nut, "bolt": bolt, "bracket": bracket, "gear": gear}
STRAY: tuple[Shaper, ...] = (plug, pin, blank)
