"""A recipe's steps: their order, and the network that comes out of those on the network itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leptonbench.compression import TECHNIQUES
from leptonbench.compression.base import Context
from leptonbench.errors import UsageError
from leptonbench.schema import StepSpec

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network


@dataclass(frozen=True, slots=True)
class Kept:
    """Where the results of tuning are kept, and what tells them apart beside the steps.

    Attributes:
        source_sha256: Of the model that the steps start from.
        shipped: Folder of the tuned weights that ship with the workload, one folder a variant; `None` for a user's
            own data.
        folder: Of the results tuned on this machine.
        data: Identity of the data that tuning sees.
        seed: Of the tuning.
        budget_s: Longest that tuning may take; `None` for a technique's own number of steps.
    """

    source_sha256: str
    shipped: Path | None
    folder: Path
    data: str
    seed: int
    budget_s: float | None

    def identity(self, steps: Sequence[StepSpec]) -> str:
        """Return what decides the network after these steps, beside the source; empty if none of them tunes."""
        if not any(TECHNIQUES.get(step.technique).tunes for step in steps):
            return ""
        parts = [self.source_sha256, self.data, self.seed, self.budget_s, [step.model_dump() for step in steps]]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def check_order(variant: str, steps: Sequence[StepSpec]) -> None:
    """Refuse steps in an order that makes no sense.

    Raises:
        UsageError: Saying which two, and why.
    """
    orders = [TECHNIQUES.get(step.technique).order for step in steps]
    for (first, one), (second, other) in zip(
        zip(steps, orders, strict=True), zip(steps[1:], orders[1:], strict=True), strict=False
    ):
        if other <= one:
            raise UsageError(
                f"the steps of variant `{variant}` are out of order",
                cause=f"`{second.technique}` follows `{first.technique}`",
                hint="write distillation, pruning and sharing before casting and quantisation",
            )


def apply_module_steps(
    network: Network, steps: Sequence[StepSpec], context: Context, *, kept: Kept
) -> tuple[Network, dict[str, Any]]:
    """Apply the steps on the network, in order.

    Returns:
        The network, and what the steps found out.
    """
    for step in steps:
        network = TECHNIQUES.get(step.technique)().apply(network, step.options, context)
    return network, {}
