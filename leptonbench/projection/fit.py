"""The constants of the mixed model, by maximum likelihood: no constant is chosen by its back-test."""

from __future__ import annotations

import math

from leptonbench.projection.anchors import Table
from leptonbench.projection.model import Likelihood, Variances

START = Variances(
    size=0.02,
    size_chip=0.05,
    size_architecture=0.05,
    size_vendor=0.2,
    vendor=0.2,
    architecture=0.03,
    chip=0.01,
    device=0.005,
    balance=0.01,
    scale=0.003,
    scale_latency=0.02,
    cell=0.005,
    cell_latency=0.05,
    submission=0.005,
    family=0.8,
    kind=0.8,
    kind_size=0.95,
)
_CORRELATIONS = ("family", "kind", "kind_size")
_SMALLEST = 1e-5  # of a variance: half a percent of a rate, less than two runs of one machine differ by
_STEPS = (1.4, 0.35)  # on the logarithm of a variance and the logit of a correlation, wide and then narrow
_ENOUGH = 0.05  # in log likelihood, over a whole sweep


def fit(table: Table, start: Variances = START) -> Variances:
    """Return the constants under which the table is most likely, by coordinate search from a start.

    The likelihood is that of the results with the columns' means and the sizes of devices without figures integrated
    out, as in restricted maximum likelihood.

    Args:
        table: What is published; its own constants are not used.
        start: Where to search from.
    """
    likelihood = Likelihood(table.points, table.log_rates)
    best, reached = start, likelihood(start)
    for step in _STEPS:
        gained = math.inf
        while gained > _ENOUGH:
            before = reached
            for name in Variances._fields:
                for direction in (step, -step):
                    tried = _moved(best, name, direction)
                    if (found := likelihood(tried)) > reached:
                        best, reached = tried, found
                        break
            gained = reached - before
    return best


def _moved(variances: Variances, name: str, step: float) -> Variances:
    value = getattr(variances, name)
    if name in _CORRELATIONS:
        logit = min(max(math.log(value / (1 - value)) + step, -6.0), 6.0)
        return variances._replace(**{name: 1 / (1 + math.exp(-logit))})
    return variances._replace(**{name: max(value * math.exp(step), _SMALLEST)})
