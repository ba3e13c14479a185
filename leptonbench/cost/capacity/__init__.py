"""How many units a demand needs: closed forms for a first number, event simulation for the answer. Pure."""

from leptonbench.cost.capacity.model import (
    Arrivals,
    Candidate,
    Estimate,
    Fleet,
    Routing,
    ServiceModel,
    Sizing,
    Target,
)
from leptonbench.cost.capacity.rated import size_by_rate
from leptonbench.cost.capacity.sizing import size

__all__ = [
    "Arrivals",
    "Candidate",
    "Estimate",
    "Fleet",
    "Routing",
    "ServiceModel",
    "Sizing",
    "Target",
    "size",
    "size_by_rate",
]
