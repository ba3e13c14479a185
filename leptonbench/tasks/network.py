"""A network as compression, export and engines see it: named tensors in, a tuple of named tensors out."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Network(nn.Module):
    """Wraps a model so that its forward takes the task's input names and returns plain tensors, batch first.

    Subclasses define `forward(self, **inputs) -> tuple[Tensor, ...]` with explicit parameter names.

    Args:
        model: What computes; kept as `self.model`, so state dict keys start with `model.`.

    Attributes:
        output_names: Of the tuple's tensors.
        free_dims: By input name, the dimensions beside the batch that may vary, with a label: `{1: "frames"}`.
        follower: A second network that the task's loop calls once a step (a decoder); most have none. It is no part of
            this one's parameters.
    """

    output_names: tuple[str, ...] = ()
    free_dims: dict[str, dict[int, str]] = {}  # noqa: RUF012 - class-level constants of the subclasses

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.__dict__["_follower"] = None  # past nn.Module, which would make its parameters this network's

    @property
    def follower(self) -> Network | None:
        """Return the network that follows."""
        found: Network | None = self.__dict__["_follower"]
        return found

    def followed_by(self, network: Network) -> None:
        """Set the network that follows."""
        self.__dict__["_follower"] = network

    def forward(self, **inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in the order of `output_names`."""
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """Call `forward`, typed."""
        result: tuple[Tensor, ...] = super().__call__(*args, **kwargs)
        return result
