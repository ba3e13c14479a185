"""Top-1 accuracy: the share of samples whose first answer is the right one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.schema import Provenance, Quantity
from leptonbench.stats.interval import Interval
from leptonbench.stats.proportion import paired_difference, wilson


class Top1:
    """Scores class indices against class indices."""

    def quality(self, answers: Sequence[Any], targets: Sequence[Any]) -> Quantity:
        """Return top-1 (0 to 1) with its Wilson interval over the samples.

        Raises:
            ValueError: If there is no sample, or not one answer a target.
        """
        correct = int(_right(answers, targets).sum())
        interval = wilson(correct, len(targets))
        return Quantity(
            value=interval.value,
            unit="1",
            low=interval.low,
            high=interval.high,
            n=len(targets),
            confidence=interval.confidence,
            provenance=Provenance.MEASURED,
            name="top-1",
            method=f"{correct} of {len(targets)} evaluation samples right; Wilson interval",
        )

    def difference(self, answers: Sequence[Any], base: Sequence[Any], targets: Sequence[Any]) -> Interval:
        """Return top-1 of `answers` less that of `base`, with Newcombe's paired interval.

        Raises:
            ValueError: If there is no sample, or the three differ in length.
        """
        return paired_difference(_right(answers, targets), _right(base, targets))

    def same(self, one: Any, other: Any) -> bool:
        """Say whether two answers name the same class."""
        return int(one) == int(other)


def _right(answers: Sequence[Any], targets: Sequence[Any]) -> NDArray[np.bool_]:
    if len(answers) != len(targets):
        raise ValueError(f"{len(answers)} answers to {len(targets)} samples")
    return np.equal(np.asarray(answers, dtype=np.int64), np.asarray(targets, dtype=np.int64))
