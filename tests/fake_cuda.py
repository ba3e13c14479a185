"""A counterfeit CUDA for torch's CPU build: streams that are one, and graphs that record operators and run them again.

What it shows is what the backend asks of torch and in what order; it says nothing of speed or of real kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Stream:
    """Counts how often it is waited for."""

    made: list[Stream] = []

    def __init__(self) -> None:
        self.waited = 0
        Stream.made.append(self)

    def synchronize(self) -> None:
        self.waited += 1


class _Recorder(TorchDispatchMode):
    def __init__(self, calls: list[Any]) -> None:
        super().__init__()
        self._calls = calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self._calls.append((func, args, kwargs or {}, out))
        return out


class CUDAGraph:
    """Operators in the order they ran, with the tensors that they read and wrote."""

    replays = 0

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def replay(self) -> None:
        CUDAGraph.replays += 1
        for func, args, kwargs, out in self.calls:
            again = func(*args, **kwargs)
            if isinstance(out, torch.Tensor) and again.data_ptr() != out.data_ptr():
                out.copy_(again)


@contextmanager
def _graph(captured: CUDAGraph, *, stream: Stream) -> Iterator[None]:
    with _Recorder(captured.calls):
        yield


@contextmanager
def _stream(one: Stream) -> Iterator[None]:
    yield


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put it in the place of `torch.cuda`."""
    Stream.made, CUDAGraph.replays = [], 0
    for name, stand_in in {
        "Stream": Stream,
        "stream": _stream,
        "CUDAGraph": CUDAGraph,
        "graph": _graph,
        "is_available": lambda: True,
        "get_device_capability": lambda: (8, 9),
        "get_device_name": lambda: "NVIDIA L4",
        "max_memory_reserved": lambda: 4096,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
