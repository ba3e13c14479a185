"""Packed weights: exact round trips, the smallest scheme, and files that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import save_file
from torch import nn

from leptonbench.compression.packing import load_packed, pack, packed_size, save_packed, unpack
from leptonbench.errors import UsageError

_halves = hnp.arrays(
    np.float16,
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=9),
    elements=st.floats(width=16, allow_nan=False, allow_infinity=False),
)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)


@given(_halves)
def test_weights_that_half_precision_holds_come_back_exactly(array: np.ndarray) -> None:
    tensor = torch.from_numpy(array).float()
    assert _same(unpack(pack(tensor)), tensor)


@given(_halves, st.floats(0, 1), st.integers(0, 2**31))
def test_sparse_weights_come_back_exactly(array: np.ndarray, density: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    tensor = torch.from_numpy(array * (random.random(array.shape) < density)).float()
    assert _same(unpack(pack(tensor)), tensor)


@given(st.integers(1, 300), hnp.array_shapes(min_dims=2, max_dims=3, max_side=40), st.integers(0, 2**31))
def test_shared_weights_come_back_exactly(entries: int, shape: tuple[int, ...], seed: int) -> None:
    random = np.random.default_rng(seed)
    codebook = random.normal(size=entries).astype(np.float16)
    tensor = torch.from_numpy(codebook[random.integers(entries, size=shape)]).float()
    assert _same(unpack(pack(tensor)), tensor)


@given(hnp.arrays(np.float32, (3, 5), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)))
def test_any_weights_come_back_rounded_once(array: np.ndarray) -> None:
    """What half precision cannot hold is kept as it is; the rest is rounded, and packs to the same values again."""
    tensor = torch.from_numpy(array)
    once = unpack(pack(tensor))
    expected = tensor.half().float()
    assert torch.equal(once.isfinite(), tensor.isfinite())
    if bool(expected.isfinite().all()):
        assert _same(once, expected)
    assert torch.equal(unpack(pack(once)).nan_to_num(), once.nan_to_num())


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool, torch.bfloat16])
def test_vectors_and_integers_are_kept_as_they_are(dtype: torch.dtype) -> None:
    tensor = (torch.rand(17) * 3e5).to(dtype)
    packed = pack(tensor)
    assert packed.scheme == "plain"
    assert _same(unpack(packed), tensor)


def test_each_kind_of_weight_takes_its_own_scheme_and_size() -> None:
    torch.manual_seed(0)
    dense = torch.randn(64, 64)
    sparse = dense * (torch.rand(64, 64) < 0.2)
    shared = torch.randn(16).half().float()[torch.randint(16, (64, 64))]
    wide = torch.randn(200).half().float()[torch.randint(200, (64, 64))]
    assert [pack(t).scheme for t in (dense, sparse, shared, wide)] == ["half", "sparse", "shared", "shared"]
    assert pack(dense).size_bytes == 64 * 64 * 2
    assert pack(sparse).size_bytes == 64 * 64 / 8 + int((sparse.half() != 0).sum()) * 2
    assert pack(shared).size_bytes == 64 * 64 / 2 + 16 * 2
    assert pack(wide).size_bytes == 64 * 64 + len(torch.unique(wide)) * 2


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(8)


def test_a_network_comes_back_from_its_file(tmp_path: Path) -> None:
    network = _Tied()
    network.load_state_dict({name: t.half().to(t.dtype) for name, t in network.state_dict().items()})
    written = save_packed(network, tmp_path / "weights.safetensors")
    state = load_packed(tmp_path / "weights.safetensors")
    assert state.keys() == network.state_dict().keys()
    assert all(_same(state[name], tensor) for name, tensor in network.state_dict().items())
    assert written == (tmp_path / "weights.safetensors").stat().st_size
    assert packed_size(network) < written < packed_size(network) + 2000, "the rest is the header"


def test_tied_weights_are_stored_once() -> None:
    tied, apart = _Tied(), _Tied()
    apart.second = nn.Linear(8, 8)
    assert packed_size(apart) - packed_size(tied) == 8 * 8 * 2


def test_a_view_of_a_tensor_is_not_taken_for_the_tensor(tmp_path: Path) -> None:
    network = nn.Module()
    whole = torch.arange(16.0).reshape(4, 4)
    network.register_buffer("whole", whole)
    network.register_buffer("turned", whole.T)
    save_packed(network, tmp_path / "weights.safetensors")
    state = load_packed(tmp_path / "weights.safetensors")
    assert _same(state["whole"], whole)
    assert _same(state["turned"], whole.T.contiguous())


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_packed(nn.Linear(4, 4), path)
    sound = path.read_bytes()
    path.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(UsageError, match="cannot be read as packed weights") as damaged:
        load_packed(path)
    assert damaged.value.cause and "remove" in damaged.value.hint
    save_file({"weight": torch.zeros(2)}, str(path))
    with pytest.raises(UsageError, match="cannot be read as packed weights") as foreign:
        load_packed(path)
    assert "format is not stated" in foreign.value.cause
