"""From a stored run and a demand to a procurement plan: units, dollars, kilowatts and carbon for each cell."""

from __future__ import annotations

from leptonbench.planning.answer import make_request
from leptonbench.planning.build import build_plan
from leptonbench.planning.request import PlanRequest

__all__ = ["PlanRequest", "build_plan", "make_request"]
