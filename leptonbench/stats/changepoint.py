"""Where a series changes its level: E-divisive, which asks nothing of the shape of the noise.

Matteson and James, "A Nonparametric Approach for Multiple Change Point Analysis of Multivariate Data", Journal of the
American Statistical Association 109 (2014) 334-345. A series is cut where the energy distance between its two sides is
largest, if that is more than chance: the points of each segment are shuffled, and the best cut of the shuffled segment
is its match. The same is then asked of both sides, until nothing is left that chance does not explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FEWEST_RUNS = 14
"""With fewer points no cut reaches p = 0.001: 7 and 7 are drawn in 3432 ways, 6 and 7 in 1716 that cut alike twice."""

_BATCH = 256  # shuffles at a time: bounds the memory at a few megabytes for series of a hundred points

Floats = NDArray[np.float64]


class ChangePoint(NamedTuple):
    """A change of level.

    Attributes:
        start: Index of the first point after it.
        p_value: That shuffling the segment gives as good a cut.
        before: Median of the segment before it.
        after: Median of the segment after it.
    """

    start: int
    p_value: float
    before: float
    after: float


class _Cut(NamedTuple):
    start: int
    score: float


def change_points(
    values: Sequence[float], *, p_value: float = 0.001, min_segment: int = 3, shuffles: int = 1999, seed: int = 0
) -> list[ChangePoint]:
    """Return the changes of level of a series, in order.

    Args:
        values: One a run, in order of time.
        p_value: A cut counts if it is at most so likely by chance.
        min_segment: Points that a level must last: fewer are a spike.
        shuffles: Of each segment; the smallest p-value is 1 / (shuffles + 1).
        seed: The same series gives the same changes.

    Raises:
        ValueError: If a value is not finite, or so few shuffles cannot reach the p-value.
    """
    series = np.asarray(values, dtype=np.float64)
    if not np.isfinite(series).all():
        raise ValueError("a series of runs is finite; a failed run is left out, not put in")
    if (shuffles + 1) * p_value < 1.0:
        raise ValueError(f"{shuffles} shuffles cannot give a p-value of {p_value}")
    if min_segment < 2:
        raise ValueError(f"a segment has at least 2 points, got {min_segment}")
    random = np.random.default_rng(seed)
    found: dict[int, float] = {}
    waiting = [(0, series.size)]
    while waiting:
        start, end = waiting.pop(0)
        segment = series[start:end]
        if segment.size < 2 * min_segment or segment.min() == segment.max():
            continue
        cut = _best_cut(_distances(segment), min_segment)
        chance = _chance(segment, cut.score, min_segment, shuffles, random)
        if chance <= p_value:
            found[start + cut.start] = chance
            waiting += [(start, start + cut.start), (start + cut.start, end)]
    return _levels(series, found) if found else []


def _levels(series: Floats, found: dict[int, float]) -> list[ChangePoint]:
    edges = [0, *sorted(found), series.size]
    levels = [float(np.median(series[start:end])) for start, end in zip(edges[:-1], edges[1:], strict=True)]
    return [
        ChangePoint(index, found[index], levels[position], levels[position + 1])
        for position, index in enumerate(edges[1:-1])
    ]


def _distances(segment: Floats) -> Floats:
    return np.abs(segment[:, None] - segment[None, :])


def _best_cut(distances: Floats, min_segment: int) -> _Cut:
    scores = _scores(distances[None], min_segment)[0]
    best = int(np.argmax(scores))
    return _Cut(best + min_segment, float(scores[best]))


def _scores(distances: Floats, min_segment: int) -> Floats:
    """Return the scaled energy distance of each possible cut.

    With m points before it and k after it: m k / (m + k) x (2 x mean distance across - mean distance within each side).

    Args:
        distances: Of all points to all, batch first: [batch, n, n].
        min_segment: Points that each side has at least.

    Returns:
        [batch, n - 2 min_segment + 1], for m from `min_segment` on.
    """
    n = distances.shape[-1]
    corner = distances.cumsum(axis=1).cumsum(axis=2)  # [b, i, j]: sum of the block up to i and j
    before = np.arange(min_segment, n - min_segment + 1)
    after = n - before
    within_before = corner[:, before - 1, before - 1]
    to_all = corner[:, before - 1, n - 1]
    across = to_all - within_before
    within_after = corner[:, n - 1, n - 1][:, None] - 2.0 * to_all + within_before
    energy = (
        2.0 * across / (before * after) - within_before / (before * (before - 1)) - within_after / (after * (after - 1))
    )
    scaled: Floats = energy * (before * after / n)
    return scaled


def _chance(segment: Floats, score: float, min_segment: int, shuffles: int, random: np.random.Generator) -> float:
    """Return how often the best cut of the shuffled segment is at least as good."""
    distances = _distances(segment)
    as_good = 0
    slack = 1e-9 * abs(score)  # sums in another order: the segment itself must count as as good as itself
    for start in range(0, shuffles, _BATCH):
        size = min(_BATCH, shuffles - start)
        order = np.argsort(random.random((size, segment.size)), axis=1)
        shuffled = distances[order[:, :, None], order[:, None, :]]
        as_good += int((_scores(shuffled, min_segment).max(axis=1) >= score - slack).sum())
    return (1 + as_good) / (shuffles + 1)
