"""What may lie on a part: the five defects, and benign things that look like them.

`leptonbench.tasks.surface` says which arithmetic is allowed here, and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from leptonbench.tasks.surface_scene import SIDE, Draws, Floats, Point, Scene, bump, cloud, cover, curve

STAINS: tuple[tuple[float, float, float], ...] = (  # share of light absorbed in red, green, blue, by eye
    (0.6, 0.8, 1.0),  # rust, tea
    (1.0, 1.0, 1.0),  # soot
    (1.0, 0.8, 0.6),  # heat tint
    (0.9, 1.0, 0.8),  # coolant residue
)


# --- lines: scratches, cracks, fibres, tool steps --------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A line about its centre: `path` [n] is its sideways offset, `half_width` [n] its taper, both in pixels."""

    centre: Point
    direction: Point
    length: float
    path: Floats
    half_width: Floats


def stroke(line: Line, x: Floats, y: Floats, tone: float, flank: float = 0.0) -> Floats:
    """Return by how much a line changes the light, [h, w]: `tone` along it and `flank` beside it.

    Args:
        line: What is drawn.
        x: Coordinates [1, w] from the line's centre.
        y: Coordinates [h, 1], likewise.
        tone: Relative change of the light on the line.
        flank: Likewise beside it.
    """
    c, s = np.float32(line.direction[0]), np.float32(line.direction[1])
    n = len(line.path)
    at = (x * c + y * s) * np.float32(n / line.length) + np.float32(n / 2)
    inside = (at >= 0) & (at < n)
    sample = np.clip(at, 0, n - 1).astype(np.int32)
    slope = np.gradient(line.path) * np.float32(n / line.length)
    away = (y * c - x * s - line.path.take(sample)) * (1 / np.sqrt(1 + slope * slope)).astype(np.float32).take(sample)
    width = line.half_width.take(sample)
    effect = cover(np.abs(away), width) * np.float32(tone)
    if flank:
        effect += cover(np.abs(away - width - np.float32(0.8)), 0.4) * np.float32(flank)
    change: Floats = effect * inside * np.minimum(1, width * 2)
    return change


def _stroke(scene: Scene, line: Line, tone: float, flank: float = 0.0) -> None:
    """Multiply light by 1 + `tone` along a line, and by 1 + `flank` beside it, towards the light's side."""
    view, x, y = scene.window(line.centre, line.length / 2 + float(np.abs(line.path).max()) + 3)
    view *= 1 + stroke(line, x, y, tone, flank)


def taper(draws: Draws, n: int, half_width: float) -> Floats:
    """Return a half-width [n] that wavers and runs out at both ends."""
    t = np.arange(n, dtype=np.float32) * np.float32(2 / n) - 1
    ends = np.minimum(1, (1 - t * t) * 3)
    widths: Floats = ends * (np.float32(half_width) * (1 + curve(draws.spread(9), n) * np.float32(0.6)))
    return widths


def _zigzag(draws: Draws, n: int, length: float, roughness: float) -> Floats:
    """Return a jagged path [n] in pixels: straight pieces between knots of a bounded random walk."""
    knots = max(4, int(length / draws.uniform(5, 11)))
    walk = np.cumsum(draws.spread(knots + 2), dtype=np.float32)
    walk -= walk[0] + (walk[-1] - walk[0]) * np.arange(knots + 2, dtype=np.float32) * np.float32(1 / (knots + 1))
    at = np.arange(n, dtype=np.float32) * np.float32(knots / n)
    whole = at.astype(np.int32)
    at -= whole
    return (walk[whole] + (walk[whole + 1] - walk[whole]) * at) * np.float32(roughness * length / knots)


def _scratch(scene: Scene) -> None:
    draws = scene.draws
    centre, direction = scene.place(), draws.direction()
    tone = draws.sign() * draws.skewed(0.3, 0.9)
    for _ in range(1 + draws.below(3) * draws.below(2)):
        length = draws.uniform(60, 170)
        path = curve(draws.spread(5), 256) * np.float32(draws.uniform(0, 0.05) * length)
        line = Line(centre, direction, length, path, taper(draws, 256, draws.skewed(0.9, 2.2)))
        _stroke(scene, line, tone, -tone * draws.uniform(0, 0.6))
        centre = centre[0] + draws.uniform(-14, 14), centre[1] + draws.uniform(-14, 14)


def _crack(scene: Scene) -> None:
    draws = scene.draws
    (cx, cy), (c, s) = scene.place(), draws.direction()
    length, tone = draws.uniform(50, 140), -draws.skewed(0.42, 0.85)
    width, roughness = draws.skewed(0.8, 1.8), draws.uniform(0.6, 1.0)
    path = _zigzag(draws, 256, length, roughness)
    _stroke(scene, Line((cx, cy), (c, s), length, path, taper(draws, 256, width)), tone)
    for _ in range(1 + draws.below(3)):
        at = draws.below(200) + 28
        along, aside = (at / 256 - 0.5) * length, float(path[at])
        lean, reach = draws.sign() * draws.uniform(0.5, 1.3), draws.uniform(0.2, 0.45) * length
        norm = math.sqrt(1 + lean * lean)
        bc, bs = (c - s * lean) / norm, (s + c * lean) / norm
        start = cx + along * c - aside * s, cy + along * s + aside * c
        middle = start[0] + bc * reach / 2, start[1] + bs * reach / 2
        branch = _zigzag(draws, 128, reach, roughness)
        _stroke(scene, Line(middle, (bc, bs), reach, branch, taper(draws, 128, width * 0.8)), tone * 0.9)


def _fibre(scene: Scene) -> None:
    """Draw a hair or a thread: even in width, strongly and smoothly curved, unlike a scratch."""
    draws = scene.draws
    length = draws.uniform(25, 70)
    path = curve(draws.spread(7), 128) * np.float32(draws.uniform(0.25, 0.5) * length)
    half_width = np.full(128, draws.uniform(0.5, 0.9), dtype=np.float32)
    line = Line(scene.place(), draws.direction(), length, path, half_width)
    _stroke(scene, line, draws.uniform(0.2, 0.5) * (-1 if draws.chance(0.3) else 1))


def _tool_step(scene: Scene) -> None:
    """Draw the straight step between two passes of a tool: it crosses the image along the marks."""
    draws = scene.draws
    c, s = scene.grooves
    half_width = np.full(64, draws.uniform(1.5, 4), dtype=np.float32)
    line = Line(scene.place(0), (-s, c), 700.0, np.zeros(64, dtype=np.float32), half_width)
    _stroke(scene, line, draws.sign() * draws.uniform(0.06, 0.22), draws.uniform(-0.15, 0.15))


# --- areas: dents, holes, stains and their look-alikes ---------------------------------------------------------------


def _oval(scene: Scene, centre: Point, radius: float, stretch: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the view around an oval, the squared distance in radii, and the outward slope's x and y components."""
    draws = scene.draws
    view, x, y = scene.window(centre, radius * stretch + 4)
    c, s = draws.direction()
    long = (x * np.float32(c) + y * np.float32(s)) * np.float32(1 / (radius * stretch))
    short = (y * np.float32(c) - x * np.float32(s)) * np.float32(1 / radius)
    square = long * long + short * short
    return view, square, long * np.float32(c) - short * np.float32(s), long * np.float32(s) + short * np.float32(c)


def _dent(scene: Scene) -> None:
    """Shade a smooth depression: bright where its wall faces the light, dark where it turns away."""
    draws = scene.draws
    view, square, gx, gy = _oval(scene, scene.place(), draws.uniform(9, 26), draws.uniform(1, 1.7))
    facing = -(gx * np.float32(scene.light[0]) + gy * np.float32(scene.light[1]))
    depth = draws.skewed(0.42, 1.3)
    view *= np.maximum(0.1, 1 + (facing * np.float32(2 * depth) - np.float32(0.15 * depth)) * bump(square))


def _drop(scene: Scene) -> None:
    """Draw a drop of clear liquid: a thin dark outline and a small highlight, and no shading inside, unlike a dent."""
    draws = scene.draws
    radius, centre = draws.uniform(5, 16), scene.place()
    view, square, gx, gy = _oval(scene, centre, radius, draws.uniform(1, 1.3))
    rim = cover(np.abs(np.sqrt(square) - 1) * np.float32(radius), draws.uniform(0.2, 1.0))
    view *= 1 - rim * np.float32(draws.uniform(0.1, 0.35))
    hx, hy = gx - np.float32(scene.light[0] * 0.5), gy - np.float32(scene.light[1] * 0.5)
    view += bump((hx * hx + hy * hy) * np.float32(16)) * np.float32(draws.uniform(0.1, 0.35))


def _hole(scene: Scene) -> None:
    draws = scene.draws
    (cx, cy), depth = scene.place(), draws.skewed(0.5, 0.95)
    for _ in range(1 + draws.below(3) * draws.below(2)):
        radius = draws.skewed(3, 11)
        view, square, gx, gy = _oval(scene, (cx, cy), radius, draws.uniform(1, 1.5))
        distance = (np.sqrt(square) - 1) * np.float32(radius)
        facing = -(gx * np.float32(scene.light[0]) + gy * np.float32(scene.light[1]))
        rim = cover(np.abs(distance - np.float32(0.7)), 0.5) * np.maximum(facing, 0)
        view *= 1 + rim * np.float32(draws.uniform(0, 0.5)) - cover(distance, 0.0) * np.float32(depth)
        cx, cy = cx + draws.uniform(-22, 22), cy + draws.uniform(-22, 22)


def _blot(scene: Scene, radius: float, softness: float) -> tuple[Floats, Floats]:
    """Return the view around an irregular blot and the blot's mask, 0 to 1; `softness` is its edge's width."""
    cx, cy = scene.place()
    view, square, _, _ = _oval(scene, (cx, cy), radius, scene.draws.uniform(1, 1.6))
    rough = cloud(scene.draws, 6 + scene.draws.below(8))[: square.shape[0], : square.shape[1]]
    level = 1 - square + rough * np.float32(0.9) * (1 - square * np.float32(0.5))
    return view, np.clip(level * np.float32(1 / softness), 0, 1) * (square < 1.9)


def _stain(scene: Scene) -> None:
    """Darken a blot, evenly or as the ring that a drying drop leaves, without relief."""
    draws = scene.draws
    view, mask = _blot(scene, draws.uniform(15, 38), draws.uniform(0.15, 0.9))
    if draws.chance(0.35):
        mask = mask * (np.float32(1.7) - mask)
    absorbed = np.asarray(STAINS[draws.below(len(STAINS))], dtype=np.float32) * np.float32(draws.skewed(0.17, 0.5))
    view *= 1 - mask[None] * absorbed[:, None, None]


def _sheen(scene: Scene) -> None:
    """Draw an oil film: bands of changing hue that brighten and darken, with no edge, unlike a stain."""
    draws = scene.draws
    view, mask = _blot(scene, draws.uniform(25, 60), draws.uniform(1.2, 1.8))
    phase = mask * np.float32(draws.uniform(1.2, 3)) + np.float32(draws.uniform(0, 1))
    strength = mask * np.float32(draws.uniform(0.04, 0.16))
    for channel in range(3):
        wave = phase + np.float32(channel / 3)
        wave -= np.floor(wave)
        view[channel] *= 1 + (np.abs(wave - np.float32(0.5)) * 4 - 1) * strength


def _dust(scene: Scene) -> None:
    """Scatter specks, dark or bright, smaller than any hole."""
    draws = scene.draws
    for _ in range(2 + draws.below(7)):
        radius = draws.uniform(0.6, 1.6)
        view, square, _, _ = _oval(scene, scene.place(6), radius, draws.uniform(1, 1.6))
        speck = cover((np.sqrt(square) - 1) * np.float32(radius), 0.0)
        view *= 1 + speck * np.float32(draws.sign() * draws.uniform(0.2, 0.55))


def _marker(scene: Scene) -> None:
    """Draw a dot of coloured ink, as an inspector leaves: as sharp as a hole, but coloured and translucent."""
    draws = scene.draws
    radius = draws.uniform(2.5, 8)
    view, square, _, _ = _oval(scene, scene.place(), radius, draws.uniform(1, 1.4))
    ink = np.asarray(((0.1, 0.9, 0.9), (0.9, 0.8, 0.1), (0.9, 0.3, 0.9))[draws.below(3)], dtype=np.float32)
    dot = cover((np.sqrt(square) - 1) * np.float32(radius), 0.3) * np.float32(draws.uniform(0.35, 0.8))
    view *= 1 - dot[None] * ink[:, None, None]


def _half_plane(scene: Scene, reach: float) -> Floats:
    """Return distances [SIDE, SIDE] beyond a straight edge, `reach` from the centre or more to spare a defect."""
    _, x, y = scene.window((0.0, 0.0), SIDE)
    c, s = scene.draws.direction()
    if scene.focus:
        reach = max(reach, scene.focus[0][0] * c + scene.focus[0][1] * s + 16)
    return x * np.float32(c) + y * np.float32(s) - np.float32(reach)


def _label(scene: Scene) -> None:
    """Stick a pale label over one border, with a thin shadow at its edge."""
    draws = scene.draws
    beyond = _half_plane(scene, draws.uniform(80, 125))
    paper = cover(-beyond, 0.0)
    scene.planes *= 1 - cover(np.abs(beyond + 2), 1.0) * np.float32(draws.uniform(0, 0.3))
    white = np.float32(draws.uniform(0.6, 0.9))
    scene.planes += (white - scene.planes) * paper


def _part_edge(scene: Scene) -> None:
    """End the part before the image does: a bright chamfer, then dark background."""
    draws = scene.draws
    beyond = _half_plane(scene, draws.uniform(75, 125))
    scene.planes *= 1 + cover(np.abs(beyond + 2), draws.uniform(0.5, 3)) * np.float32(draws.uniform(-0.3, 0.4))
    scene.planes *= 1 - cover(-beyond, 0.0) * np.float32(draws.uniform(0.6, 0.92))


DEFECTS: dict[str, Callable[[Scene], None]] = {
    "scratch": _scratch, "dent": _dent, "hole": _hole, "stain": _stain, "crack": _crack,
}  # fmt: skip
BENIGN: tuple[Callable[[Scene], None], ...] = (
    _dust, _fibre, _sheen, _marker, _drop, _tool_step, _label, _part_edge,
)  # fmt: skip
