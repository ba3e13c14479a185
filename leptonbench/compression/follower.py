"""What the second network of a model of two is given: for its export and its calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from leptonbench.tasks.base import Arrays, Coupling

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network


def follower_inputs(network: Network, coupling: Coupling, samples: Iterator[Arrays]) -> Iterator[Arrays]:
    """Yield what a network's follower is given in each step, over some samples.

    Args:
        network: In fp32, with a follower.
        coupling: The task's loop.
        samples: For the network.
    """
    import numpy as np
    import torch

    heard: list[Arrays] = []
    second = network.follower

    def call(network: Any, inputs: Arrays) -> list[NDArray[Any]]:
        with torch.inference_mode():
            outputs = network(**{name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in inputs.items()})
        return [np.asarray(output.numpy()) for output in outputs]

    def listen(inputs: Arrays) -> list[NDArray[Any]]:
        heard.append(dict(inputs))
        return call(second, inputs)

    run = coupling(lambda inputs: call(network, inputs), listen)
    for sample in samples:
        run(sample)
        yield from heard
        heard.clear()
