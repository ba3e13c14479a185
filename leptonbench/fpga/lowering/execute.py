"""Run a lowered network in NumPy: what the accelerator must give, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.fpga import ir, numerics

Arrays = dict[str, NDArray[Any]]
Host = Callable[[ir.HostSegment, Arrays], Arrays]
"""Runs a segment: given its inputs by name, returns its outputs by name."""


def execute(network: ir.Network, feeds: Mapping[str, NDArray[Any]], host: Host) -> Arrays:
    """Return every tensor of the network, by name.

    Args:
        network: To be run.
        feeds: The network's inputs.
        host: Runs what the accelerator does not.
    """
    tensors: Arrays = dict(feeds)
    for step in network.steps:
        given = {name: tensors[name] for name in step.inputs}
        if isinstance(step, ir.HostSegment):
            tensors |= host(step, given)
        else:
            tensors[step.y] = run_layer(network, step, given)
    return tensors


def run_layer(network: ir.Network, layer: ir.Layer, given: Mapping[str, NDArray[Any]]) -> numerics.Bytes:
    """Return a layer's output.

    Args:
        network: That the layer is part of.
        layer: To be run.
        given: Its inputs, by name.
    """
    y = network.tensors[layer.y]
    match layer:
        case ir.Convolution() | ir.Product():
            result = _weighted(network, layer, given[layer.x])
        case ir.ActivationProduct():
            zeros = [network.tensors[name].zero_point for name in layer.inputs]
            sums = numerics.multiply_matrices(given[layer.a], given[layer.b], a_zero=zeros[0], b_zero=zeros[1])
            result = numerics.requantise(sums, layer.scale, zero_point=y.zero_point, dtype=y.dtype)
        case ir.Addition():
            result = numerics.add(given[layer.a], given[layer.b], layer.factors, dtype=y.dtype)
        case ir.MaxPooling():
            window = layer.window
            result = numerics.max_pool(
                _as_image(given[layer.x]),
                kernel=window.kernel,
                strides=window.strides,
                pads=window.pads,
                dilations=window.dilations,
            )
        case ir.GlobalAverage():
            zero = network.tensors[layer.x].zero_point
            result = numerics.average_globally(_as_image(given[layer.x]), layer.scale, x_zero=zero, y_zero=y.zero_point)
        case ir.Enlargement():
            result = numerics.enlarge(given[layer.x], layer.factors)
    return result.reshape(y.shape)


def _weighted(network: ir.Network, layer: ir.Convolution | ir.Product, x: NDArray[Any]) -> numerics.Bytes:
    y, zero = network.tensors[layer.y], network.tensors[layer.x].zero_point
    if isinstance(layer, ir.Product):
        weights = layer.weights.astype(np.int16) - layer.w_zero
        sums = numerics.multiply_matrices(x, weights, layer.bias, a_zero=zero)
        return numerics.requantise(sums, layer.scale, zero_point=y.zero_point, dtype=y.dtype)
    window = layer.window
    sums = numerics.convolve(
        _as_image(x),
        layer.weights,
        layer.bias,
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
        groups=layer.groups,
        x_zero=zero,
        w_zero=layer.w_zero,
    )
    return numerics.requantise(sums, layer.scale.reshape(-1, 1, 1), zero_point=y.zero_point, dtype=y.dtype)


def _as_image(x: NDArray[Any]) -> NDArray[Any]:
    """Give a sequence `[1, c, l]` a height of one."""
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], 1, *x.shape[2:])
