"""Weight sharing: few values, well placed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from leptonbench.compression.base import Context
from leptonbench.compression.masks import weight_names
from leptonbench.compression.packing import packed_size
from leptonbench.compression.share_weights import ShareWeights, share
from leptonbench.errors import NotApplicable, UsageError
from tests.unit.compression.conftest import Kit


@pytest.mark.parametrize("entries", [2, 4, 16, 256])
def test_values_are_few_near_and_held_by_half_precision(entries: int) -> None:
    values = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    shared = share(values, entries)
    assert len(np.unique(shared)) <= entries
    assert np.array_equal(shared, shared.astype(np.float16).astype(np.float32))
    low, high = values.min(), values.max()
    even = low + np.round((values - low) / (high - low) * (entries - 1)) * (high - low) / (entries - 1)
    assert np.square(shared - values).mean() < 0.9 * np.square(even - values).mean(), "better than even steps"


def test_two_clusters_are_found_exactly() -> None:
    values = np.repeat(np.array([-1.0, 2.0], dtype=np.float32), [900, 100])
    assert np.array_equal(share(values, 2), values)


def test_the_error_is_near_that_of_lloyd_and_max_for_a_normal_distribution() -> None:
    """Max, "Quantizing for Minimum Distortion" (1960), table 1: 16 levels of a unit normal leave 0.009497."""
    values = np.random.default_rng(1).normal(size=200_000).astype(np.float32)
    assert np.square(share(values, 16) - values).mean() == pytest.approx(0.009497, rel=0.1)


def test_zeros_stay_zero_and_nothing_else_becomes_one() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=5000).astype(np.float32) * (random.random(5000) < 0.3)
    shared = share(values, 16)
    assert np.array_equal(shared == 0, values == 0)
    assert len(np.unique(shared)) <= 16


@pytest.mark.parametrize("values", [np.zeros(9, np.float32), np.full(9, 0.5, np.float32), np.zeros(0, np.float32)])
def test_a_layer_of_one_value_is_kept(values: np.ndarray) -> None:
    assert np.array_equal(share(values, 16), values)


def test_a_network_takes_a_quarter_of_the_room(kit: Kit) -> None:
    network = kit.network()
    before = packed_size(network)
    ShareWeights().apply(network, {"entries": 16}, kit.context())
    assert packed_size(network) < 0.4 * before, "vectors stay as they are"
    assert max(len(torch.unique(weight)) for weight in weight_names(network).values()) <= 16
    assert all(0 < error < 0.05 for error in kit.notes["relative_squared_error"].values())
    assert kit.tuned == 0, "it needs no training"


def test_small_layers_and_other_codebooks_are_refused(kit: Kit) -> None:
    context: Context = kit.context()
    with pytest.raises(NotApplicable, match="1024 weights or more"):
        ShareWeights().apply(nn.Linear(8, 8), {"entries": 256}, context)
    with pytest.raises(UsageError, match="cannot take entries = 17"):
        ShareWeights().apply(kit.network(), {"entries": 17}, context)
