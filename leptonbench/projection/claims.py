"""What back-tests say: errors by what a projection stood on, with intervals that hold where the table does not help."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from leptonbench.projection.anchors import Kin, Own, Support
from leptonbench.projection.model import Variances
from leptonbench.schema.quantity import Frozen

COVERED = 0.90  # share of the back-tests that a projection's interval covers
_LEAST = 20  # back-tests that a 90th percentile is read from


class Trial(NamedTuple):
    """One back-test.

    Attributes:
        log_error: Logarithm of projected over published.
        anchor: The one other device that was known, where it was one.
    """

    device: str
    benchmark: str
    scenario: str
    support: Support
    log_error: float
    anchor: str = ""

    @property
    def error(self) -> float:
        """Return projected over published, less 1."""
        return math.expm1(self.log_error)


class Claim(Frozen):
    """The back-test error of projections that stand on the same.

    Attributes:
        own: What the device itself published; empty for any.
        kin: How near the nearest relative is; empty for any.
        n: Back-tests.
        mean_abs_error: Mean of |projected / published - 1|.
        median_abs_error: Its median.
        bias: Mean of projected / published - 1.
        factor: Published results lay between projected / factor and projected x factor in 90 % of the back-tests, and,
            widened, in 90 % of what earlier rounds and other submitters alone would have said.
    """

    own: str
    kin: str
    by_latency: bool
    n: int
    mean_abs_error: float
    median_abs_error: float
    bias: float
    factor: float


class Check(Frozen):
    """One error over many back-tests: its mean, in percent, with a 95 % interval over devices."""

    name: str
    mean_abs_error_percent: float
    low: float
    high: float
    n: int


class Fold(Frozen):
    """Devices that are projected under constants which were fitted without any result of their chips.

    Attributes:
        devices: Their names.
        variances: The constants by name.
    """

    devices: tuple[str, ...]
    variances: dict[str, float]

    @property
    def constants(self) -> Variances:
        """Return the constants."""
        return Variances(**self.variances)


class Widening(Frozen):
    """The powers that back-tests' factors are raised to.

    To leave a result out keeps its round and its submitter's others in the table, which a buyer of a new device lacks.
    """

    throughput: float = 1.0
    latency: float = 1.0

    def of(self, *, by_latency: bool) -> float:
        """Return the power for throughput or for latency."""
        return self.latency if by_latency else self.throughput


class BackTest(Frozen):
    """What projections rest on: the fitted constants, and how wrong they were on what is published.

    Attributes:
        date: When it was made.
        observations: Results that the constants were fitted to, one a device, benchmark and scenario.
        variances: The fitted constants by name.
        folds: The constants that the errors are of: every device under those that were fitted without its chip.
        widening: What the factors were raised to.
        claims: Errors of projections from all other devices.
        pairs: Errors of projections from one other device.
        cells: Errors of projections of a model that one other device alone ran.
        checks: The same by stricter splits, and of simpler methods.
    """

    date: str
    observations: int
    variances: dict[str, float]
    folds: tuple[Fold, ...]
    widening: Widening
    claims: tuple[Claim, ...]
    pairs: tuple[Claim, ...]
    cells: tuple[Claim, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def constants(self) -> Variances:
        """Return the fitted constants."""
        return Variances(**self.variances)


def claims(trials: Iterable[Trial], widening: Widening | None = None) -> list[Claim]:
    """Return the errors by what the projections stood on, and over any kin, where there are enough of them."""
    powers = widening or Widening()
    groups: dict[tuple[str, str, bool], dict[Hashable, Trial]] = defaultdict(dict)
    for trial in trials:
        own, kin, latency = trial.support
        for named in (kin.value, ""):
            # One result may be hidden in several ways and stand on the same each time: it counts once.
            place = (trial.device, trial.benchmark, trial.scenario, trial.anchor, kin)
            groups[own.value, named, latency].setdefault(place, trial)
    order = {value: place for place, value in enumerate([*(one.value for one in Own), *(one.value for one in Kin), ""])}
    return [
        summarise(list(group.values()), own=own, kin=kin, by_latency=latency, power=powers.of(by_latency=latency))
        for (own, kin, latency), group in sorted(
            groups.items(), key=lambda item: (item[0][2], order[item[0][0]], order[item[0][1]])
        )
        if len(group) >= _LEAST
    ]


def summarise(
    trials: Sequence[Trial], *, own: str = "", kin: str = "", by_latency: bool = False, power: float = 1.0
) -> Claim:
    """Return the errors of some trials together; `power` widens the factor."""
    errors = [trial.error for trial in trials]
    return Claim(
        own=own,
        kin=kin,
        by_latency=by_latency,
        n=len(trials),
        mean_abs_error=round(statistics.fmean(map(abs, errors)), 4),
        median_abs_error=round(statistics.median(map(abs, errors)), 4),
        bias=round(statistics.fmean(errors), 4),
        factor=round(math.exp(power * _covering([abs(trial.log_error) for trial in trials])), 4),
    )


def _covering(errors: Sequence[float]) -> float:
    """Return what one error more of the same kind stays below with a chance of 90 % (split conformal prediction)."""
    return float(np.quantile(errors, min(1.0, COVERED * (1 + 1 / len(errors))), method="higher"))


def widening_for(trials: Iterable[Trial], known: Sequence[Claim]) -> Widening:
    """Return the powers under which claims cover trials that are harder than those they were made from.

    Args:
        trials: Such as those from earlier rounds alone.
        known: The claims, not widened.
    """
    shares: dict[bool, list[float]] = defaultdict(list)
    for trial in trials:
        claim = claim_for(trial.support, known)
        if claim is not None and claim.factor > 1.0:
            shares[claim.by_latency].append(abs(trial.log_error) / math.log(claim.factor))
    throughput, latency = (max(1.0, _covering(shares[kind])) if shares[kind] else 1.0 for kind in (False, True))
    return Widening(throughput=round(throughput, 4), latency=round(latency, 4))


def claim_for(found: Support, known: Iterable[Claim]) -> Claim | None:
    """Return the error of back-tests that stood on the same, or on the same of the device's own with any kin."""
    own, kin, latency = found
    by_class = {(claim.own, claim.kin, claim.by_latency): claim for claim in known}
    return by_class.get((own.value, kin.value, latency)) or (
        by_class.get((own.value, "", latency)) if kin is not Kin.NONE else None
    )


def coverage(trials: Iterable[Trial], known: Sequence[Claim]) -> tuple[float, int]:
    """Return what percentage of trials lie within the claims' factors, and of how many that have a claim."""
    inside = [
        abs(trial.log_error) <= math.log(claim.factor)
        for trial in trials
        if (claim := claim_for(trial.support, known)) is not None
    ]
    return 100.0 * statistics.fmean(inside) if inside else 0.0, len(inside)
