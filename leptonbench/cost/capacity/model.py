"""What capacity planning is given and what it answers: service times, arrivals, a latency target, a fleet, a size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.schema import DemandSpec, Provenance

Floats = NDArray[np.float64]
HOURS_PER_WEEK = 168
_HOURS_PER_DAY = 24
_DAYS_PER_WEEK = 7
_SECONDS_PER_HOUR = 3600.0


class Routing(StrEnum):
    """How queries find a unit.

    SHARED is one queue before all units, which no balancer can do better than; RANDOM sends each query to a unit drawn
    at random, the least that a balancer can do. What a real one does lies between the two.
    """

    SHARED = "shared"
    RANDOM = "random"


@dataclass(frozen=True, slots=True, eq=False)
class ServiceModel:
    """How long one unit takes: service times by batch size, taken while all of its instances were busy.

    Attributes:
        rounds: One mapping a round (a fresh process), from batch size to service times in seconds, shape `[n]`, all
            positive. Rounds are the independent observations: the bootstrap draws rounds, then times within them.
            A batch between two sizes costs what the larger does.
        provenance: Of the times.
        method: One phrase that says where they come from, fit to be shown.
        instances: Engines of one unit that serve in parallel.
        max_batch: Largest batch; at most the largest size that every round has.
        max_wait_s: Longest time that the oldest query waits for a fuller batch, in seconds.
        scale_low: Low end of a 95 % band on all times together, as a factor of them: what the rounds do not show, such
            as the back-test error of a projection. 1 where the times are measured on the unit itself.
        scale_high: High end.
    """

    rounds: tuple[Mapping[int, Floats], ...]
    provenance: Provenance
    method: str
    instances: int = 1
    max_batch: int = 1
    max_wait_s: float = 0.0
    scale_low: float = 1.0
    scale_high: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no service model.

        Raises:
            UsageError: If a time is not positive and finite, a size is missing, or a setting is outside its range.
        """
        if not self.rounds or not all(self.rounds):
            raise _refuse(
                "there is no service time", "a round has none", "measure the cell, or leave it out of the plan"
            )
        for index, one in enumerate(self.rounds):
            for size, times in one.items():
                if size < 1 or times.ndim != 1 or not len(times) or not np.isfinite(times).all() or not times.min() > 0:
                    raise _refuse("service times are not all positive and finite", f"round {index}, batch {size}")
        if self.instances < 1 or self.max_batch < 1 or not 0 <= self.max_wait_s < math.inf:
            got = f"{self.instances} instances, max_batch {self.max_batch}, max_wait_s {self.max_wait_s}"
            raise _refuse("a unit has instances, a largest batch and a finite wait", got)
        if self.max_batch > max(self.sizes, default=0):
            measured = f"every round has sizes {list(self.sizes)}"
            raise _refuse(f"there are no service times for a batch of {self.max_batch}", measured, "lower the batch")
        if not 0 < self.scale_low <= 1 <= self.scale_high < math.inf:
            got = f"{self.scale_low} to {self.scale_high}"
            raise _refuse("the band on service times is a factor from at most 1 to at least 1", got)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the batch sizes that every round has, rising."""
        common = set(self.rounds[0]).intersection(*self.rounds[1:])
        return tuple(sorted(common))

    @classmethod
    def measured(
        cls,
        rounds: Sequence[Mapping[int, Sequence[float] | NDArray[np.floating[Any]]]],
        *,
        method: str,
        provenance: Provenance = Provenance.MEASURED,
        instances: int = 1,
        max_batch: int = 1,
        max_wait_s: float = 0.0,
    ) -> ServiceModel:
        """Build a model from stored samples, one mapping from batch size to seconds a round.

        Raises:
            UsageError: As the class.
        """
        return cls(
            tuple({size: np.asarray(times, dtype=np.float64) for size, times in one.items()} for one in rounds),
            provenance,
            method,
            instances=instances,
            max_batch=max_batch,
            max_wait_s=max_wait_s,
        )

    @classmethod
    def constant(
        cls,
        service_s: Mapping[int, float],
        *,
        provenance: Provenance,
        method: str,
        instances: int = 1,
        max_batch: int = 1,
        max_wait_s: float = 0.0,
        scale_low: float = 1.0,
        scale_high: float = 1.0,
    ) -> ServiceModel:
        """Build a model of times that do not scatter (a simulated accelerator) or of which only one figure is known.

        A projected card is such a model with the projection's error as its band.

        Raises:
            UsageError: As the class.
        """
        return cls(
            ({size: np.array([seconds], dtype=np.float64) for size, seconds in service_s.items()},),
            provenance,
            method,
            instances=instances,
            max_batch=max_batch,
            max_wait_s=max_wait_s,
            scale_low=scale_low,
            scale_high=scale_high,
        )

    def pooled(self) -> dict[int, Floats]:
        """Return the times of all rounds by batch size, sorted; sizes are those that every round has."""
        return {size: np.sort(np.concatenate([one[size] for one in self.rounds])) for size in self.sizes}


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """How queries come: a rate for each hour of the week, Poisson within the hour unless a trace says otherwise.

    Attributes:
        rates_per_s: 168 rates, from Monday's midnight on.
        gaps: A trace's gaps between arrivals in their order, shape `[n]`, in any unit: they are played at each hour's
            own rate, so that bursts keep their shape. `None` is Poisson.
    """

    rates_per_s: tuple[float, ...]
    gaps: Floats | None = None

    def __post_init__(self) -> None:
        """Refuse what is no week.

        Raises:
            UsageError: If the hours are not 168, a rate is negative or not finite, all are zero, or the gaps are none.
        """
        if len(self.rates_per_s) != HOURS_PER_WEEK:
            got = f"got {len(self.rates_per_s)}"
            raise _refuse(f"a week has {HOURS_PER_WEEK} hourly rates", got, "repeat a day seven times")
        if not all(math.isfinite(rate) and rate >= 0 for rate in self.rates_per_s):
            hour = next(i for i, rate in enumerate(self.rates_per_s) if not (math.isfinite(rate) and rate >= 0))
            raise _refuse("a rate is finite and not negative", f"hour {hour} has {self.rates_per_s[hour]}")
        if not any(self.rates_per_s):
            raise _refuse("nothing arrives", "all 168 rates are 0", "state the rate of at least one hour")
        if self.gaps is not None and (len(self.gaps) < 2 or not _are_gaps(self.gaps)):
            raise _refuse("the gaps of a trace are finite and not negative, nor all 0", f"{len(self.gaps)} gaps")

    @classmethod
    def steady(cls, rate_per_s: float) -> Arrivals:
        """Build a week in which every hour has the same rate."""
        return cls((rate_per_s,) * HOURS_PER_WEEK)

    @classmethod
    def of_demand(cls, demand: DemandSpec) -> Arrivals:
        """Lay a suite's demand out over the week: working days first, their hours from midnight.

        Fractions of an hour or a day become hours of a lower rate, so the week's total is kept.
        """
        day = demand.working_day or _stated_hours(demand.hours_per_day)
        other = demand.other_day or (0.0,) * _HOURS_PER_DAY
        rates: list[float] = []
        for index in range(_DAYS_PER_WEEK):
            share = min(max(demand.days_per_week - index, 0.0), 1.0)
            rates += [demand.rate_per_s * (share * a + (1 - share) * b) for a, b in zip(day, other, strict=True)]
        return cls(tuple(rates))

    @property
    def peak_per_s(self) -> float:
        """Return the rate of the busiest hour."""
        return max(self.rates_per_s)

    @property
    def mean_per_s(self) -> float:
        """Return the mean rate over all hours of the week, idle ones too."""
        return math.fsum(self.rates_per_s) / HOURS_PER_WEEK

    @property
    def per_week(self) -> float:
        """Return how many queries a week brings."""
        return math.fsum(self.rates_per_s) * _SECONDS_PER_HOUR


def _are_gaps(gaps: Floats) -> bool:
    return bool(np.isfinite(gaps).all() and gaps.min() >= 0 and gaps.any())


def _stated_hours(hours: float) -> tuple[float, ...]:
    return tuple(min(max(hours - hour, 0.0), 1.0) for hour in range(_HOURS_PER_DAY))


@dataclass(frozen=True, slots=True)
class Target:
    """What must hold in every hour: so large a share of the queries is answered within so many seconds.

    Attributes:
        percentile: As a fraction (0.99).
        latency_s: From a query's arrival to its answer.
    """

    percentile: float
    latency_s: float

    def __post_init__(self) -> None:
        """Refuse what is no target.

        Raises:
            UsageError: If the percentile is not between 0 and 1, or the latency not positive.
        """
        if not 0 < self.percentile < 1 or not 0 < self.latency_s < math.inf:
            got = f"percentile {self.percentile}, latency {self.latency_s} s"
            raise _refuse("a latency target is a percentile between 0 and 1 and a time above 0", got, "e.g. p99=50ms")


@dataclass(frozen=True, slots=True)
class Fleet:
    """How units are bought and run.

    Attributes:
        spare_nodes: Nodes beyond those that the target needs, so that it holds with so many of them down (n+1 is 1).
        units_per_node: Units that come together and fail together (8 cards of a server).
        routing: How queries find a unit.
    """

    spare_nodes: int = 0
    units_per_node: int = 1
    routing: Routing = Routing.SHARED

    def __post_init__(self) -> None:
        """Refuse what is no fleet.

        Raises:
            UsageError: If a count is outside its range.
        """
        if self.spare_nodes < 0 or self.units_per_node < 1:
            got = f"{self.spare_nodes} spare nodes, {self.units_per_node} units a node"
            raise _refuse("a fleet has no negative spares and at least one unit a node", got)

    def bought(self, required: int) -> int:
        """Return the units to buy where `required` must serve: whole nodes, and the spare ones."""
        return (-(-required // self.units_per_node) + self.spare_nodes) * self.units_per_node


class Estimate(NamedTuple):
    """A value with its 95 % interval, in the value's unit; `high` is `None` where it grows without end at that end."""

    value: float
    low: float
    high: float | None


class Candidate(NamedTuple):
    """A number of serving units, looked at by event simulation in the busiest hour.

    Attributes:
        units: Serving; spares are not counted.
        latency_s: The target's percentile, with the interval of the simulation's luck alone; `None` where the queue
            grows without end. A run ends as soon as it is clear that the target is missed, before the queue is at its
            longest, so what misses the target is at least so late.
        utilisation: Fraction of time that an engine is busy.
        meets: Whether the percentile's value is within the target.
    """

    units: int
    latency_s: Estimate | None
    utilisation: float
    meets: bool


@dataclass(frozen=True, slots=True)
class Sizing:
    """How many to buy, and what they would do. All counts are `None` where `why_infeasible` says why.

    Attributes:
        units: To buy: `required` in whole nodes, and the spare ones.
        low: Low end of the 95 % interval on `units`: the service times' scatter, their band, and the simulation's luck.
        high: High end; `None` where the target is out of reach at that end.
        required: Units that must serve in the busiest hour for the target to hold.
        closed_form: First guess, before any simulation; `None` where no formula applies.
        candidates: `required` with its neighbours, rising.
        latency_s: The target's percentile in the busiest hour with `required` units, all spares down.
        latency_all_up_s: Likewise with all of `units` up.
        utilisation_peak: Fraction of time that an engine of the `units` is busy in the busiest hour.
        utilisation_mean: Likewise over the week.
        load_peak: Busiest rate over what `required` units finish when queries never run out (offline): how much of
            the throughput the latency target leaves usable.
        units_by_hour: Units to rent in each hour of the week so that the target holds in it, spares included.
        provenance: Of all figures: the weakest of the service times and of simulation.
        method: One phrase, fit to be shown.
        notes: What the reader should know before trusting the figures.
        why_infeasible: Why no number of units meets the target.
    """

    units: int | None
    low: int | None
    high: int | None
    required: int | None
    closed_form: int | None
    candidates: tuple[Candidate, ...]
    latency_s: Estimate | None
    latency_all_up_s: Estimate | None
    utilisation_peak: float | None
    utilisation_mean: float | None
    load_peak: float | None
    units_by_hour: tuple[int, ...]
    provenance: Provenance
    method: str
    notes: tuple[str, ...] = ()
    why_infeasible: str | None = None


def _refuse(message: str, cause: str, hint: str = "") -> UsageError:
    return UsageError(message, cause=cause, hint=hint)
