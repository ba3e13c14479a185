"""The area under the ROC curve: how often a model scores a positive sample above a negative one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.schema import Provenance, Quantity
from leptonbench.stats.interval import Interval
from leptonbench.stats.proportion import wilson

Floats = NDArray[np.float64]

_CONFIDENCE = 0.95
_SAME = 0.01  # of a probability: what bf16 and batches of another size move one by


class _Placements(NamedTuple):
    """For each positive the share of negatives below it, and for each negative the share of positives above it."""

    positives: Floats
    negatives: Floats


class Auc:
    """Scores probabilities of the positive class against 0 and 1.

    The value is scikit-learn's. The intervals are DeLong's: DeLong, DeLong and Clarke-Pearson, "Comparing the areas
    under two or more correlated receiver operating characteristic curves", Biometrics 44 (1988) 837-845, from the
    ranks, as Sun and Xu, IEEE Signal Processing Letters 21 (2014) 1389-1393, compute it.
    """

    def quality(self, answers: Sequence[Any], targets: Sequence[Any]) -> Quantity:
        """Return the area (0.5 is chance, 1 is perfect) with DeLong's interval, taken on the logit to stay inside.

        Where fewer than two samples of a class were answered there is no value, and the reason says so.

        Raises:
            ValueError: If there is not one answer a target.
        """
        from sklearn.metrics import roc_auc_score

        scores, truth = _arrays(answers, targets)
        ones = int(truth.sum())
        if min(ones, len(truth) - ones) < 2:
            return Quantity.null(
                "1", f"{ones} of {len(truth)} samples are positive; the area wants two of each class", name="AUC"
            )
        value = float(roc_auc_score(truth, scores))
        error = math.sqrt(_covariance(_placements(scores, truth), _placements(scores, truth)))
        low, high = _limits(value, error, fewest=min(ones, len(truth) - ones))
        return Quantity(
            value=value,
            unit="1",
            low=low,
            high=high,
            n=len(truth),
            confidence=_CONFIDENCE,
            provenance=Provenance.MEASURED,
            name="AUC",
            method=f"{ones} positive against {len(truth) - ones} negative evaluation samples; DeLong interval",
        )

    def difference(self, answers: Sequence[Any], base: Sequence[Any], targets: Sequence[Any]) -> Interval:
        """Return the area of `answers` less that of `base`, with DeLong's interval for the same samples.

        Two rankings that agree on every pair of classes differ by nothing, and the interval says so.

        Raises:
            ValueError: If the three differ in length, or a class has fewer than two samples.
        """
        scores, truth = _arrays(answers, targets)
        others, _ = _arrays(base, targets)
        ones = int(truth.sum())
        if min(ones, len(truth) - ones) < 2:
            raise ValueError(f"a difference of areas wants two samples of each class, got {ones} of {len(truth)}")
        mine, theirs = _placements(scores, truth), _placements(others, truth)
        value = float(mine.positives.mean() - theirs.positives.mean())
        between = _Placements(mine.positives - theirs.positives, mine.negatives - theirs.negatives)
        reach = _normal_quantile() * math.sqrt(_covariance(between, between))
        return Interval(
            value,
            max(-1.0, value - reach),
            min(1.0, value + reach),
            len(truth),
            _CONFIDENCE,
            f"DeLong interval for two areas on the same {len(truth)} samples",
        )

    def same(self, one: Any, other: Any) -> bool:
        """Say whether two probabilities are within one percentage point."""
        return abs(float(one) - float(other)) <= _SAME


def _arrays(answers: Sequence[Any], targets: Sequence[Any]) -> tuple[Floats, NDArray[np.bool_]]:
    if len(answers) != len(targets):
        raise ValueError(f"{len(answers)} answers to {len(targets)} samples")
    return np.asarray(answers, dtype=np.float64), np.asarray(targets, dtype=np.int64) == 1


def _placements(scores: Floats, truth: NDArray[np.bool_]) -> _Placements:
    """Return each sample's share of the other class on its right side, ties counting half."""
    overall = _midranks(scores)
    ones, zeros = int(truth.sum()), int((~truth).sum())
    above = (overall[truth] - _midranks(scores[truth])) / zeros
    below = 1.0 - (overall[~truth] - _midranks(scores[~truth])) / ones
    return _Placements(above, below)


def _midranks(values: Floats) -> Floats:
    """Return ranks from 1, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2.0)[inverse]
    return ranks


def _covariance(one: _Placements, other: _Placements) -> float:
    """Return DeLong's covariance of two areas on the same samples."""
    parts = (float(np.mean((a - a.mean()) * (b - b.mean()))) / (len(a) - 1) for a, b in zip(one, other, strict=True))
    return max(0.0, sum(parts))


def _normal_quantile() -> float:
    return NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2.0)


def _limits(value: float, error: float, *, fewest: int) -> tuple[float, float]:
    """Return an interval that is symmetric on the logit scale, and so stays inside.

    Where the classes are told apart without a mistake DeLong's error is zero, which would claim certainty: there it is
    Wilson's interval for as many right answers as the smaller class has samples.
    """
    if not 0.0 < value < 1.0:
        edge = wilson(fewest if value >= 1.0 else 0, fewest, confidence=_CONFIDENCE)
        return float(edge.low or 0.0), float(edge.high or 1.0)
    centre = math.log(value / (1.0 - value))
    spread = _normal_quantile() * error / (value * (1.0 - value))
    return _logistic(centre - spread), _logistic(centre + spread)


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))
