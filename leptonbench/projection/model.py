"""A mixed model of published results: how fast is this device on that benchmark, given its relatives and its others.

The logarithm of a rate is a sum: what the benchmark asks for, how large the device is, and how well devices of its
vendor, architecture and chip, and itself, suit that benchmark. Each part but the first is a random effect with a
variance; results that are alike share parts, and the best linear unbiased prediction of an unknown result is a weighted
mean of the known ones (Henderson 1975; kriging). Where device A did 2x device B on other benchmarks, the prediction is
close to 2x B's result, the closer the more alike the two are and the more benchmarks they share: the ratios that people
compute by hand, weighted by likeness.

A device's size has a mean of peak arithmetic and bandwidth, so that devices without any result have a prediction, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.projection.results import Column

# Variance of what the data alone decide. It has to dwarf any other even as a mean over all columns: with less, the
# level that columns share counts as an effect of the vendors, and one that published nothing is projected without it.
_FLAT = 1e4
_HALF, _HALF_VARIANCE = 0.5, 0.25**2  # a rate goes as the root of peak times bandwidth, give or take

_BITS = {"int8": 8, "fp16": 16, "bf16": 16, "fp8": 8}  # in the order in which one stands in for another
_ORIGIN = (np.log(1e14), np.log(5e11))  # where slopes turn: 100 TOP/s and 500 GB/s, a card in the middle

Array = NDArray[np.float64]


class Traits(NamedTuple):
    """What makes two devices alike.

    Attributes:
        log_peak: Natural logarithm of peak arithmetic in OP/s at the benchmark's precision, by precision.
        log_bandwidth: Of memory bandwidth in B/s; `None` where it is not published.
    """

    vendor: str
    architecture: str
    chip: str
    log_peak: dict[str, float]
    log_bandwidth: float | None

    def stated(self, precision: str) -> bool:
        """Tell whether both figures are published at this very precision."""
        return precision in self.log_peak and self.log_bandwidth is not None

    def size(self, precision: str) -> tuple[float, float] | None:
        """Return log peak and log bandwidth, or `None` without figures.

        Where the peak is published in another precision alone, it is taken as twice as much in 8 bits as in 16. That
        keeps a device's results comparable with each other; what has no result of its own needs the stated figure.
        """
        if self.log_bandwidth is None:
            return None
        if precision in self.log_peak:
            return self.log_peak[precision], self.log_bandwidth
        other = next((name for name in _BITS if name in self.log_peak), None)
        if other is None:
            return None
        narrower = math.log2(_BITS[other] / _BITS.get(precision, 16))
        return self.log_peak[other] + narrower * math.log(2), self.log_bandwidth


class Point(NamedTuple):
    """A device in a column, whether its result is known or asked for.

    Attributes:
        precision: What the benchmark is computed in.
        submissions: Behind a known result.
    """

    device: str
    column: Column
    traits: Traits
    precision: str
    submissions: int = 1


class Variances(NamedTuple):
    """The fitted constants: variances of log rates, and three correlations. Fitted by maximum likelihood.

    Attributes:
        size: A device against what its peak and bandwidth say.
        size_chip: The same, shared by devices of one chip.
        size_architecture: Shared by those of one architecture.
        size_vendor: Shared by those of one vendor: how much of its peaks its software reaches.
        vendor: How a vendor's devices suit a benchmark.
        architecture: How an architecture's do.
        chip: How a chip's do.
        device: How one device does.
        balance: Of a model's slope on peak over bandwidth: some are bound by arithmetic, some by memory.
        scale: Of a model's slope on peak times bandwidth, where throughput is judged: large devices are hard to fill.
        scale_latency: Likewise, where latency is: one stream of a small model is as fast on a small device.
        cell: One device in one column, where throughput is judged.
        cell_latency: Likewise, where latency is.
        submission: One submission against the device's typical one.
        family: Correlation of effects between accuracy targets of one model.
        kind: Correlation, between throughput, the latency of one sample and that of eight, of how a benchmark suits.
        kind_size: The same of sizes and slopes.
    """

    size: float
    size_chip: float
    size_architecture: float
    size_vendor: float
    vendor: float
    architecture: float
    chip: float
    device: float
    balance: float
    scale: float
    scale_latency: float
    cell: float
    cell_latency: float
    submission: float
    family: float
    kind: float
    kind_size: float


class Prediction(NamedTuple):
    """A predicted log rate.

    Attributes:
        mean: Natural logarithm of the rate in 1/s.
        weights: Of each known result; they say which ones the prediction leans on.
    """

    mean: float
    weights: Array


def predict(known: Sequence[Point], log_rates: Array, asked: Sequence[Point], v: Variances) -> list[Prediction]:
    """Return the best linear unbiased prediction of each asked point.

    Args:
        known: Points with results.
        log_rates: Their log rates, `(n,)`.
        asked: Points to predict.
        v: The fitted constants.
    """
    cross = Likeness(asked, known).covariance(v)
    inside = Likeness(known, known).covariance(v) + _noise(known, v)
    solved = np.linalg.solve(inside, np.column_stack([log_rates - prior_mean(known), cross.T]))
    means = prior_mean(asked) + cross @ solved[:, 0]
    return [Prediction(float(mean), row) for mean, row in zip(means, solved[:, 1:].T, strict=True)]


def held_out(known: Sequence[Point], log_rates: Array, blocks: Sequence[Sequence[int]], v: Variances) -> list[Array]:
    """Return log prediction errors (predicted minus known) of each block, predicted from all results outside of it.

    One inverse serves every block: with K the covariance of all, the errors of a block B are
    -(K^-1)_BB^-1 (K^-1 y)_B, exactly those of leaving it out (Dubrule 1983).

    Args:
        known: Points with results.
        log_rates: Their log rates, `(n,)`.
        blocks: Indices that are hidden together.
        v: The fitted constants.
    """
    inverse = np.linalg.inv(Likeness(known, known).covariance(v) + _noise(known, v))
    pulled = inverse @ (log_rates - prior_mean(known))
    return [-np.linalg.solve(inverse[np.ix_(block, block)], pulled[list(block)]) for block in blocks]


class Likeness:
    """What two sets of points share, pair by pair; the covariance follows from it and the constants.

    Every part is `(rows, columns)`: 1 where the pair shares it and 0 where not.
    """

    def __init__(self, rows: Sequence[Point], columns: Sequence[Point]) -> None:
        shared = {name: _equal(key, rows, columns) for name, key in _KEYS.items()}
        self._shared = shared
        ours, theirs = _figures(rows), _figures(columns)
        slopes = _HALF_VARIANCE * ours[:, :2] @ theirs[:, :2].T
        self._flat = slopes + _FLAT * np.outer(ours[:, 2], theirs[:, 2]) * shared["device"]
        self._balance = np.outer(ours[:, 0] - ours[:, 1], theirs[:, 0] - theirs[:, 1]) * shared["family"]
        self._scale = np.outer(ours[:, 0] + ours[:, 1], theirs[:, 0] + theirs[:, 1]) * shared["family"] * shared["kind"]
        self._latency_rows = np.array([[point.column.by_latency] for point in rows])

    def covariance(self, v: Variances) -> Array:
        """Return how the log rates vary together, without the noise of submissions."""
        same = self._shared
        alike = v.family * same["family"] + (1 - v.family) * same["benchmark"]
        alike *= v.kind + (1 - v.kind) * same["kind"]
        suits = v.vendor * same["vendor"] + v.architecture * same["architecture"]
        suits += v.chip * same["chip"] + v.device * same["device"]
        size = v.size * same["device"] + v.size_chip * same["chip"]
        size += v.size_architecture * same["architecture"] + v.size_vendor * same["vendor"]
        size += v.balance * self._balance + self._flat
        size += np.where(self._latency_rows, v.scale_latency, v.scale) * self._scale
        size *= v.kind_size + (1 - v.kind_size) * same["kind"]
        cell = np.where(self._latency_rows, v.cell_latency, v.cell) * same["device"]
        return np.asarray((_FLAT + cell) * same["column"] + suits * alike + size, dtype=np.float64)


class Likelihood:
    """The log likelihood of known results under constants, but for a term that is the same for all constants."""

    def __init__(self, known: Sequence[Point], log_rates: Array) -> None:
        self._known = known
        self._likeness = Likeness(known, known)
        self._rest = log_rates - prior_mean(known)

    def __call__(self, v: Variances) -> float:
        """Return it for these constants."""
        inside = self._likeness.covariance(v) + _noise(self._known, v)
        # One factorisation gives both terms: bordered by y and c, its last pivot is c - y' K^-1 y.
        border = 1e7
        lower = np.linalg.cholesky(np.block([[inside, self._rest[:, None]], [self._rest[None, :], border]]))
        pivots = np.diag(lower)
        return float(-0.5 * (border - pivots[-1] ** 2) - np.log(pivots[:-1]).sum())


_KEYS: dict[str, Callable[[Point], Hashable]] = {
    "device": lambda point: point.device,
    "chip": lambda point: (point.traits.vendor, point.traits.chip),
    "architecture": lambda point: (point.traits.vendor, point.traits.architecture),
    "vendor": lambda point: point.traits.vendor,
    "column": lambda point: point.column,
    "benchmark": lambda point: point.column.benchmark,
    "family": lambda point: point.column.family,
    "kind": lambda point: point.column.scenario if point.column.by_latency else None,
}


def _equal(key: Callable[[Point], Hashable], rows: Sequence[Point], columns: Sequence[Point]) -> Array:
    codes: dict[Hashable, int] = {}
    left, right = (
        np.array([codes.setdefault(key(point), len(codes)) for point in points]) for points in (rows, columns)
    )
    return np.asarray(left[:, None] == right[None, :], dtype=np.float64)


def _figures(points: Sequence[Point]) -> Array:
    """Return log peak and log bandwidth about a common origin, zeros where unpublished, and 1 where they are."""
    rows = []
    for point in points:
        size = point.traits.size(point.precision)
        rows.append((0.0, 0.0, 1.0) if size is None else (size[0] - _ORIGIN[0], size[1] - _ORIGIN[1], 0.0))
    return np.array(rows)


def prior_mean(points: Sequence[Point]) -> Array:
    """Return the log rates that published figures alone suggest, up to what each column asks for."""
    return np.asarray(_HALF * _figures(points)[:, :2].sum(axis=1), dtype=np.float64)


def _noise(points: Sequence[Point], v: Variances) -> Array:
    return np.diag([v.submission / point.submissions for point in points])
