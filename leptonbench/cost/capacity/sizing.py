"""Find how many units a demand needs."""

from __future__ import annotations

from leptonbench.cost.capacity.model import Arrivals, Fleet, ServiceModel, Sizing, Target

PLAIN = Fleet()


def size(service: ServiceModel, arrivals: Arrivals, target: Target, *, fleet: Fleet = PLAIN, seed: int = 0) -> Sizing:
    """Return how many units meet the target in every hour of the week, by event simulation.

    Args:
        service: One unit's service times.
        arrivals: Of the week.
        target: To be met in the busiest hour, hence in all.
        fleet: Spares, granularity, routing.
        seed: Of arrivals, draws and bootstrap: the same inputs and seed give the same answer.
    """
    raise NotImplementedError
