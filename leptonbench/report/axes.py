"""Chart geometry: data to pixels, labels that do not collide. Pure arithmetic, no markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from leptonbench.report.numbers import Scale, scale_for, ticks

LOG_FROM = 10.0


class Axis(NamedTuple):
    """One axis: SI values between `low` and `high` onto pixels between `start` and `end`."""

    tag: str
    scale: Scale
    low: float
    high: float
    start: float
    end: float
    log: bool

    def place(self, value: float) -> float:
        """Return the pixel of an SI value, kept within the axis."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """Return tick pixels with their texts in the display unit."""
        factor = self.scale.factor
        marks = ticks(self.low / factor, self.high / factor, log=self.log)
        return [(self.place(mark * factor), f"{mark:,.6g}".replace("-", "\u2212")) for mark in marks]


def make_axis(tag: str, unit: str, values: Sequence[float], start: float, end: float) -> Axis:
    """Fit an axis around `values` (SI, with the ends of their intervals); logarithmic where they span over 10x.

    Raises:
        ValueError: If there are no values.
    """
    if not values:
        raise ValueError(f"axis `{tag}` has no values")
    low, high = min(values), max(values)
    log = low > 0 and high / low > LOG_FROM
    if log:
        margin = (high / low) ** 0.07
        low, high = low / margin, high * margin
    else:
        margin = (high - low) * 0.09 or abs(high) * 0.1 or 1.0
        floor = 0.0 if low >= 0 else -math.inf
        low, high = max(low - margin, floor), high + margin
    return Axis(tag, scale_for(tag, unit, values), low, high, start, end, log)


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Return the shared area, 0 where they do not touch."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def inside(self, other: Box) -> bool:
        """Tell whether it lies within another."""
        return (
            self.left >= other.left
            and self.top >= other.top
            and self.right <= other.right
            and self.bottom <= other.bottom
        )


class Label(NamedTuple):
    """A placed label: text anchored at `(x, y)` (baseline), with a leader line back to its point where it is far."""

    x: float
    y: float
    anchor: str
    leader: bool


CHARACTER = 5.15
WIDE_CHARACTER = 9.6
LINE = 11.0
_REACHES = (7.0, 13.0, 20.0, 30.0, 42.0)
_ANGLES = (0, 180, -40, 40, 140, -140, -90, 90, -65, 65, 115, -115)


def text_width(text: str) -> float:
    """Return the width in pixels that a label of 9.6 px needs; CJK characters are twice as wide."""
    return sum(WIDE_CHARACTER if ord(letter) > 0x2E7F else CHARACTER for letter in text)


def place_labels(
    points: Sequence[tuple[float, float, str]], frame: Box, obstacles: Iterable[Box] = ()
) -> list[Label | None]:
    """Place one label beside each point so that no two labels, and no label and marker, overlap.

    Points come in order of importance; one that finds no free place gets `None` and is left to the tooltip and table.

    Args:
        points: Pixel x, pixel y and text.
        frame: Labels stay inside.
        obstacles: Further boxes to keep clear of.
    """
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for x, y, _ in points] + list(obstacles)
    placed: list[Label | None] = []
    for x, y, text in points:
        label, box = _find(x, y, text_width(text), frame, taken)
        placed.append(label)
        if box is not None:
            taken.append(box)
    return placed


def _find(x: float, y: float, width: float, frame: Box, taken: list[Box]) -> tuple[Label | None, Box | None]:
    for reach in _REACHES:
        for angle in _ANGLES:
            label, box = _candidate(x, y, width, reach, angle)
            if box.inside(frame) and not any(box.overlap(other) for other in taken):
                return label, box
    return None, None


def _candidate(x: float, y: float, width: float, reach: float, angle: int) -> tuple[Label, Box]:
    toward = math.cos(math.radians(angle))
    tip_x, tip_y = x + reach * toward, y + reach * math.sin(math.radians(angle))
    if toward > 0.1:
        left, anchor = tip_x, "start"
    elif toward < -0.1:
        left, anchor = tip_x - width, "end"
    else:
        left, anchor = tip_x - width / 2, "middle"
    box = Box(left, tip_y - LINE / 2, left + width, tip_y + LINE / 2)
    return Label(tip_x, tip_y + 3.2, anchor, reach > 13), box
