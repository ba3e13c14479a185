"""How compressed weights are stored: one safetensors file, each tensor by the smallest scheme that keeps its values.

| scheme | tensors in the file | for |
|---|---|---|
| `plain` | the tensor, its type unchanged | biases, statistics, integers, and what half precision cannot hold |
| `half` | fp16 | dense weights |
| `sparse` | one bit an element (set where not zero) and the fp16 values that are not zero | pruned weights |
| `shared` | codebook in fp16 and an index of 1, 2, 4 or 8 bits an element | weights that share values |

Weights (two dimensions or more) are rounded to fp16; everything else is kept as it is. What was packed once packs to
the same values again, so a network that was loaded from a packed file is exactly what the file says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leptonbench.errors import UsageError

FORMAT = "leptonbench-packed-1"
_LARGEST_CODEBOOK = 256
_INDEX_BITS = (1, 2, 4, 8)


class Packed(NamedTuple):
    """One tensor as stored.

    Attributes:
        scheme: `plain`, `half`, `sparse` or `shared`.
        shape: Of the tensor.
        dtype: Of the tensor.
        parts: What the file holds for it, by suffix; an empty suffix is the tensor itself.
    """

    scheme: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    parts: dict[str, Tensor]

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the parts, without the file's header."""
        return sum(part.numel() * part.element_size() for part in self.parts.values())


def pack(tensor: Tensor) -> Packed:
    """Store one tensor by the smallest scheme.

    Args:
        tensor: Of any shape and type.
    """
    shape, dtype = tuple(tensor.shape), tensor.dtype
    tensor = tensor.detach().cpu().contiguous()
    plain = Packed("plain", shape, dtype, {"": tensor.clone()})
    if tensor.ndim < 2 or not tensor.is_floating_point() or not tensor.numel():
        return plain
    half = tensor.to(torch.float16)
    if not bool(torch.isfinite(half).all()):
        return plain  # beyond what half precision can hold
    candidates = [Packed("half", shape, dtype, {"": half}), _sparse(half, dtype)]
    shared = _shared(half, dtype)
    if shared is not None:
        candidates.append(shared)
    return min(candidates, key=lambda packed: packed.size_bytes)  # the first, where several are the smallest


def _sparse(half: Tensor, dtype: torch.dtype) -> Packed:
    flat = half.flatten().numpy()
    kept = flat != 0
    parts = {".mask": torch.from_numpy(np.packbits(kept)), ".values": torch.from_numpy(flat[kept])}
    return Packed("sparse", tuple(half.shape), dtype, parts)


def _shared(half: Tensor, dtype: torch.dtype) -> Packed | None:
    flat = half.flatten().numpy()
    if len(np.unique(flat[: 4 * _LARGEST_CODEBOOK])) > _LARGEST_CODEBOOK:
        return None  # the usual case, told by a few values
    codebook, indices = np.unique(flat, return_inverse=True)
    if len(codebook) > _LARGEST_CODEBOOK:
        return None
    bits = next(width for width in _INDEX_BITS if 2**width >= len(codebook))
    parts = {
        ".codebook": torch.from_numpy(codebook),
        ".indices": torch.from_numpy(_pack_indices(indices.astype(np.uint8), bits)),
    }
    return Packed("shared", tuple(half.shape), dtype, parts)


def _pack_indices(indices: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Put several indices into each byte, the first in the lowest bits."""
    each = 8 // bits
    padded = np.zeros(math.ceil(len(indices) / each) * each, dtype=np.uint8)
    padded[: len(indices)] = indices
    columns = padded.reshape(-1, each)
    packed = np.zeros(len(columns), dtype=np.uint8)
    for place in range(each):
        packed |= columns[:, place] << np.uint8(bits * place)
    return packed


def _unpack_indices(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    lowest = np.uint8(2**bits - 1)
    columns = [(packed >> np.uint8(bits * place)) & lowest for place in range(8 // bits)]
    return np.stack(columns, axis=1).reshape(-1)[:count]


def unpack(packed: Packed) -> Tensor:
    """Return the tensor that was stored, in its own type."""
    parts, count = packed.parts, math.prod(packed.shape)
    if packed.scheme in ("plain", "half"):
        return parts[""].to(packed.dtype).reshape(packed.shape)
    if packed.scheme == "sparse":
        flat = np.zeros(count, dtype=np.float16)
        flat[np.unpackbits(parts[".mask"].numpy(), count=count).astype(bool)] = parts[".values"].numpy()
    elif packed.scheme == "shared":
        codebook = parts[".codebook"].numpy()
        bits = next(width for width in _INDEX_BITS if 2**width >= len(codebook))
        flat = codebook[_unpack_indices(parts[".indices"].numpy(), bits, count)]
    else:
        raise ValueError(f"unknown scheme {packed.scheme!r}")
    return torch.from_numpy(flat).to(packed.dtype).reshape(packed.shape)


def pack_state(state: Mapping[str, Tensor]) -> dict[str, Packed]:
    """Store a state dict; tensors that share memory (tied weights) are stored once, under their first name."""
    packed: dict[str, Packed] = {}
    owners: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
    for name, tensor in state.items():
        # Address, shape and strides: views of one tensor that differ are different tensors.
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        owner = owners.setdefault(place, name) if tensor.numel() else name
        if owner == name:
            packed[name] = pack(tensor)
    return packed


def packed_size(network: nn.Module) -> int:
    """Return the bytes of a network's weights as `save_packed` would store them, without the file's header."""
    return sum(packed.size_bytes for packed in pack_state(network.state_dict()).values())


def save_packed(network: nn.Module, path: Path) -> int:
    """Write a network's weights as one safetensors file with the schemes in its metadata.

    Returns:
        The file's size in bytes.
    """
    from safetensors.torch import save_file

    state = network.state_dict()
    packed = pack_state(state)
    tied = {
        name: next(other for other in packed if state[other].data_ptr() == state[name].data_ptr())
        for name in state
        if name not in packed
    }
    tensors = {name + suffix: part for name, one in packed.items() for suffix, part in one.parts.items()}
    schemes = {name: [one.scheme, list(one.shape), str(one.dtype)] for name, one in packed.items()}
    metadata = {"format": FORMAT, "schemes": json.dumps(schemes), "tied": json.dumps(tied)}
    save_file(tensors, str(path), metadata=metadata)
    path.chmod(0o644)  # the library's default keeps other users out
    return path.stat().st_size


def load_packed(path: Path) -> dict[str, Tensor]:
    """Read the state dict that `save_packed` wrote.

    Raises:
        UsageError: If the file cannot be read, or another program wrote it.
    """
    from safetensors import safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {metadata.get('format', 'not stated')}, not {FORMAT}")
        schemes: dict[str, list[Any]] = json.loads(metadata["schemes"])
        state = {name: unpack(_stored(name, scheme, tensors)) for name, scheme in schemes.items()}
        return state | {name: state[owner] for name, owner in json.loads(metadata["tied"]).items()}
    except Exception as error:  # safetensors' own class, OSError, KeyError and ValueError
        raise UsageError(
            f"`{path}` cannot be read as packed weights",
            cause=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            hint="the file is damaged or not of leptonbench; remove its folder, so that it is made again",
        ) from error


def _stored(name: str, scheme: list[Any], tensors: Mapping[str, Tensor]) -> Packed:
    kind, shape, dtype = scheme
    suffixes = {"sparse": (".mask", ".values"), "shared": (".codebook", ".indices")}.get(kind, ("",))
    parts = {suffix: tensors[name + suffix] for suffix in suffixes}
    return Packed(kind, tuple(shape), getattr(torch, str(dtype).removeprefix("torch.")), parts)
