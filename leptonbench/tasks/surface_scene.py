"""The clean part under its light, and what everything on it is drawn with.

Coordinates are pixels, x to the right and y downwards, with the origin at the image's centre. Luminance is linear
from 0 to 1 until the camera. `leptonbench.tasks.surface` says which arithmetic is allowed here, and why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Point = tuple[float, float]

SIDE = 224  # pixels; the input of the common ImageNet networks
TABLE = 1024  # samples in a lookup table of texture, two a pixel: longer than the image's diagonal (634 samples)

METALS: tuple[tuple[float, float, float], ...] = (  # reflectance of red, green, blue, by eye
    (0.50, 0.50, 0.50),  # steel
    (0.58, 0.59, 0.61),  # aluminium
    (0.46, 0.48, 0.53),  # zinc
    (0.60, 0.51, 0.36),  # brass
    (0.58, 0.43, 0.35),  # copper
    (0.36, 0.37, 0.40),  # phosphated steel
)


class Draws:
    """Draw numbers from the raw 64-bit words of PCG64, seeded by a key."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def skewed(self, low: float, high: float) -> float:
        """Return a number in [low, high), nearer to `low`: the square of a uniform one."""
        return low + (high - low) * self.uniform(0.0, 1.0) * self.uniform(0.0, 1.0)

    def below(self, count: int) -> int:
        """Return an integer in [0, count); the bias of 2**-64 does not matter here."""
        return int(self._bits.random_raw()) % count

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.uniform(0.0, 1.0) < probability

    def sign(self) -> float:
        """Return -1.0 or 1.0."""
        return 1.0 if self.chance(0.5) else -1.0

    def direction(self) -> Point:
        """Return a unit vector of uniform angle, by rejection: no sine, so equal on every machine."""
        while True:
            x, y = self.uniform(-1.0, 1.0), self.uniform(-1.0, 1.0)
            square = x * x + y * y
            if 0.01 < square < 1.0:
                norm = math.sqrt(square)
                return x / norm, y / norm

    def spread(self, *shape: int) -> Floats:
        """Return an array of uniform numbers in [-1, 1), 16 bits each."""
        count = int(np.prod(shape))
        words = np.asarray(self._bits.random_raw(-(-count // 4)), dtype="<u8")
        values: Floats = words.view("<u2")[:count].astype(np.float32).reshape(shape)
        values *= np.float32(1 / 32768)
        values -= np.float32(1)
        return values

    def grain(self, *shape: int) -> Floats:
        """Return noise in (-1, 1), triangular (two bytes summed, standard deviation 0.41), zero mean."""
        count = int(np.prod(shape))
        words = np.asarray(self._bits.random_raw(-(-count // 4)), dtype="<u8")
        octets = words.view(np.uint8)
        total: Floats = np.add(octets[:count], octets[count : 2 * count], dtype=np.int16).astype(np.float32)
        total -= np.float32(255)
        total *= np.float32(1 / 255)
        return total.reshape(shape)


@dataclass
class Scene:
    """One square image in the making; `planes` is [3, side, side], `light` the direction that light comes from."""

    draws: Draws
    planes: Floats
    light: Point
    grooves: Point  # direction across the tool marks
    focus: list[Point] = field(default_factory=list)  # centres of what was drawn, the defect first

    @property
    def side(self) -> int:
        """Return the image's side in pixels."""
        return int(self.planes.shape[-1])

    def place(self, margin: float = 30.0) -> Point:
        """Return a centre at least `margin` pixels inside the border, and remember it."""
        reach = self.side / 2 - margin
        centre = self.draws.uniform(-reach, reach), self.draws.uniform(-reach, reach)
        self.focus.append(centre)
        return centre

    def window(self, centre: Point, reach: float) -> tuple[Floats, Floats, Floats]:
        """Return a view of the planes around a centre and its coordinates x [1, w] and y [h, 1] from that centre."""
        side = self.side
        left, top = (max(0, min(side - 2, int(c + side / 2 - reach))) for c in centre)
        right, bottom = (max(2, min(side, int(c + side / 2 + reach) + 1)) for c in centre)
        axis = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
        x, y = axis[left:right] - np.float32(centre[0]), axis[top:bottom] - np.float32(centre[1])
        return self.planes[:, top:bottom, left:right], x[None, :], y[:, None]


@lru_cache(maxsize=64)
def _spline(cells: int, length: int) -> tuple[NDArray[np.intp], Floats]:
    """Return knots and weights [4, length] of a uniform cubic B-spline over `cells` intervals (`cells` + 3 knots)."""
    at = np.arange(length, dtype=np.float32) * np.float32(cells / length)
    whole = at.astype(np.intp)
    t = at - whole.astype(np.float32)
    s = 1 - t
    weights = np.stack([s * s * s, 4 - 3 * t * t * (1 + s), 4 - 3 * s * s * (1 + t), t * t * t]) / np.float32(6)
    return whole[None, :] + np.arange(4)[:, None], weights.astype(np.float32)


def curve(knots: Floats, length: int) -> Floats:
    """Draw [..., cells + 3] knots out to a smooth [..., length]."""
    at, weights = _spline(knots.shape[-1] - 3, length)
    out: Floats = knots[..., at[0]] * weights[0]
    for tap in range(1, 4):
        out += knots[..., at[tap]] * weights[tap]
    return out


def cloud(draws: Draws, cells: int, side: int = SIDE) -> Floats:
    """Return a smooth random field [side, side], within (-1, 1), with `cells` undulations a side."""
    rows = curve(draws.spread(cells + 3, cells + 3), side)
    return np.ascontiguousarray(curve(np.ascontiguousarray(rows.T), side))


def blend(values: Floats, share: float, axis: int) -> None:
    """Blur in place along an axis with the kernel (share, 1 - 2 share, share); edges keep their value."""
    moved = np.moveaxis(values, axis, 0)
    step = moved[1:] - moved[:-1]
    step *= np.float32(share)
    moved[:-1] += step
    moved[1:] -= step


def bump(square: Floats) -> Floats:
    """Return (1 - square)**2 inside the unit circle, 0 outside: a Gaussian's shape without exp."""
    inside: Floats = np.maximum(1 - square, 0)
    return inside * inside


def cover(distance: Floats, half_width: Floats | float) -> Floats:
    """Return the share of a pixel covered by a band, 0 to 1, from its distance to the band's middle."""
    covered: Floats = np.clip(half_width + np.float32(0.5) - distance, 0, 1)
    return covered


# --- the surface -----------------------------------------------------------------------------------------------------


def _streaks(draws: Draws, u: Floats, v: Floats, softness: int, rows: int) -> Floats:
    """Return tool marks of limited length: noise across (`u`, pixels), slowly changing along (`v`), about (-1, 1)."""
    table = draws.spread(rows + 3, TABLE)
    for _ in range(softness):
        blend(table, 0.25, 1)
    table *= np.float32(1 + 0.45 * softness)  # blurring lowers the contrast; give it back
    starts = draws.spread(TABLE) + np.float32(1)  # so that marks do not all end on one line
    column = (u * 2 + np.float32(TABLE / 2)).astype(np.int32) & (TABLE - 1)
    along = (v * np.float32(rows / 320) + np.float32(rows / 2)) + starts.take(column)
    np.clip(along, 0, rows + 1, out=along)
    row = along.astype(np.int32)
    along -= row
    row *= TABLE
    row += column
    first = table.reshape(-1).take(row)
    row += TABLE
    return first + (table.reshape(-1).take(row) - first) * along


def _feed(draws: Draws, u: Floats, pitch: float) -> Floats:
    """Return the periodic ridges that a cutter's feed leaves, each of its own depth, within (-1, 1)."""
    depth = np.float32(0.7) + np.float32(0.3) * draws.spread(TABLE)
    at = u * np.float32(1 / pitch) + np.float32(TABLE / 2 + draws.uniform(0, 1))
    whole = at.astype(np.int32)
    at -= whole
    ridges: Floats = (4 * at * (1 - at) * 2 - 1) * depth.take(whole & (TABLE - 1))
    return ridges


def _across(draws: Draws, side: int, *, round_: bool, near: bool) -> tuple[Floats, Floats, Point]:
    """Return coordinates across and along the marks, and the direction across at the centre; arcs if `round_`."""
    axis = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    x, y = axis[None, :], axis[:, None]
    c, s = draws.direction()
    v = y * np.float32(c) - x * np.float32(s)
    if not round_:
        return x * np.float32(c) + y * np.float32(s), v, (c, s)
    radius = draws.uniform(20, 140) if near else draws.uniform(220, 700)
    dx, dy = x + np.float32(c * radius), y + np.float32(s * radius)
    return np.sqrt(dx * dx + dy * dy) - np.float32(radius), v, (c, s)


def _finish(draws: Draws, side: int) -> tuple[Floats, Point]:
    """Return the relief of a machining finish [side, side], about (-1, 1), and the direction across its marks."""
    kind = draws.below(6)
    u, v, grooves = _across(draws, side, round_=kind in (0, 1), near=kind == 1)
    softness = 1 + draws.below(4)
    if kind <= 1:  # milled, turned
        marks = _streaks(draws, u, v, softness, 3) * np.float32(0.6)
        return marks + _feed(draws, u, draws.uniform(3.5, 13)) * np.float32(draws.uniform(0.2, 0.7)), grooves
    if kind <= 3:  # brushed (long, fine marks), ground (short, coarser ones)
        rows = 2 + draws.below(4) if kind == 2 else 8 + draws.below(14)
        return _streaks(draws, u, v, softness, rows), grooves
    if kind == 4:  # blasted, cast
        grain = draws.grain(side, side)
        for axis in (0, 1) * (1 + draws.below(3)):
            blend(grain, 0.25, axis)
        return grain * np.float32(2), grooves
    tilt = draws.uniform(0.35, 0.9)  # cross-hatched, as a honed bore
    first = _streaks(draws, u + v * np.float32(tilt), v, softness, 4)
    return (first + _streaks(draws, u - v * np.float32(tilt), v, softness, 4)) * np.float32(0.6), grooves


def surface(draws: Draws, side: int = SIDE) -> Scene:
    """Return a clean, lit surface; `TABLE` is long enough for a side of up to 360 pixels."""
    relief, grooves = _finish(draws, side)
    lx, ly = draws.direction()
    axis = np.arange(side, dtype=np.float32) * np.float32(2 / side) - 1
    slope = draws.uniform(0, 0.3)
    lit = cloud(draws, 2 + draws.below(3), side) * np.float32(draws.uniform(0.05, 0.3))
    lit += axis[None, :] * np.float32(lx * slope) + axis[:, None] * np.float32(ly * slope)
    dx = axis[None, :] - np.float32(draws.uniform(-1, 1))
    dy = axis[:, None] - np.float32(draws.uniform(-1, 1))
    lit += bump((dx * dx + dy * dy) * np.float32(1 / draws.uniform(0.3, 3))) * np.float32(draws.uniform(0, 0.35))
    lit += relief * np.float32(draws.uniform(0.03, 0.13))
    lit += 1
    tint = np.asarray(METALS[draws.below(len(METALS))], dtype=np.float32) + draws.spread(3) * np.float32(0.025)
    planes = lit[None] * (tint * np.float32(draws.uniform(0.7, 1.15)))[:, None, None]
    return Scene(draws, planes, (lx, ly), grooves)
