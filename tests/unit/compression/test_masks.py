"""Masks: the share, the pattern and the magnitudes they keep."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from leptonbench.compression import masks
from leptonbench.compression.base import Tuning
from leptonbench.compression.finetune import Course, Trained
from leptonbench.compression.masks import magnitude_mask, pattern_mask, two_of_four, weight_names, zeros_by_layer
from leptonbench.compression.packing import pack
from leptonbench.compression.prune_weights import PruneWeights
from leptonbench.compression.sparse24 import Sparse24
from leptonbench.errors import NotApplicable
from leptonbench.tasks.network import Network
from tests.unit.compression.conftest import Kit


@pytest.mark.parametrize(("kept", "near"), [(1.0, True), (0.05, False)])
def test_a_network_that_lost_much_is_tuned_at_the_full_rate(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, kept: float, near: bool
) -> None:
    """One that is nearly right moves little, its normalisation held; another has to learn anew."""
    courses: list[Course] = []

    def train(network: Network, tuning: Tuning, course: Course, *, say: object) -> Trained:
        courses.append(course)
        return Trained(1, 1, 0.0, 0.0, bf16=False)

    monkeypatch.setattr(masks, "train", train)
    network = kit.network()
    random = torch.Generator().manual_seed(1)
    mask = {name: torch.rand(w.shape, generator=random) < kept for name, w in weight_names(network).items()}
    masks.tune_masked(network, mask, 1, "masked", kit.context())
    (course,) = courses
    assert course.steady is near
    assert (course.rate_factor < 1) is near


@pytest.mark.parametrize("sparsity", [0.2, 0.5, 0.8])
def test_the_share_holds_over_the_network_and_the_largest_stay(kit: Kit, sparsity: float) -> None:
    network = kit.network()
    mask = magnitude_mask(network, sparsity)
    weights = weight_names(network)
    assert mask.keys() == weights.keys()
    kept = torch.cat([weights[name].detach()[mask[name]].abs() for name in mask])
    gone = torch.cat([weights[name].detach()[~mask[name]].abs() for name in mask])
    assert len(gone) / (len(gone) + len(kept)) == pytest.approx(sparsity, abs=0.005)
    assert kept.min() >= gone.max() - 1e-7


def test_a_layer_of_small_weights_keeps_one() -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    with torch.no_grad():
        network[0].weight.mul_(1e-6)
    mask = magnitude_mask(network, 0.5)
    assert int(mask["0.weight"].sum()) == 1


def test_no_weights_are_not_applicable() -> None:
    with pytest.raises(NotApplicable):
        magnitude_mask(nn.LayerNorm(4), 0.5)
    with pytest.raises(NotApplicable, match="multiple of four"):
        pattern_mask(nn.Linear(6, 8))


@given(
    hnp.arrays(
        "float32",
        st.tuples(st.integers(1, 5), st.integers(1, 4).map(lambda n: 4 * n), st.integers(1, 3), st.integers(1, 3)),
        elements=st.sampled_from([0.0, -1.0, 1.0, 0.5, -2.0, 3.0]),
    )
)
def test_two_of_every_four_inputs_stay_and_they_are_the_larger(array: object) -> None:
    weight = torch.from_numpy(array)
    mask = two_of_four(weight)
    assert mask.shape == weight.shape
    # As a kernel reads it: outputs x (height x width x inputs), four neighbours at a time.
    kept = mask.permute(0, 2, 3, 1).reshape(-1, 4)
    size = weight.abs().permute(0, 2, 3, 1).reshape(-1, 4)
    assert bool((kept.sum(dim=1) == 2).all())
    smallest_kept = size.masked_fill(~kept, float("inf")).min(dim=1).values
    largest_gone = size.masked_fill(kept, -1).max(dim=1).values
    assert bool((smallest_kept >= largest_gone).all())


def test_layers_that_the_pattern_does_not_fit_are_listed(kit: Kit) -> None:
    mask, dense = pattern_mask(kit.network())
    assert dense == ["model.resnet.embedder.embedder.convolution.weight"], "three colours"
    assert set(mask) | set(dense) == set(weight_names(kit.network()))


def test_unstructured_pruning_ends_with_its_share_of_zeros(kit: Kit) -> None:
    network = PruneWeights().apply(kit.network(), {"sparsity": 0.8, "steps": 3}, kit.context())
    weights = weight_names(network)
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    assert zeros / sum(weight.numel() for weight in weights.values()) == pytest.approx(0.8, abs=0.01)
    assert kit.notes["zeros"] == zeros_by_layer(network)
    assert all(pack(weight).scheme == "sparse" for name, weight in weights.items() if kit.notes["zeros"][name] > 0.3)


def test_the_pattern_survives_tuning(kit: Kit) -> None:
    before = {name: weight.detach().clone() for name, weight in weight_names(kit.network()).items()}
    network = Sparse24().apply(kit.network(), {"steps": 3}, kit.context())
    for name, weight in weight_names(network).items():
        if name in kit.notes["left_dense"]:
            continue
        groups = (weight != 0).movedim(1, -1).reshape(-1, 4).sum(dim=1)
        assert bool((groups <= 2).all())
        assert not torch.equal(weight[weight != 0], before[name][weight != 0]), "the others were tuned"
