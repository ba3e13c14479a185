"""What runs under the name `torch-compile` is compiled, whatever shapes come; the compiler itself is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leptonbench.backends import torch_compile
from leptonbench.backends.base import RuntimeOptions
from leptonbench.backends.torch_compile import TorchCompileBackend
from leptonbench.schema import Artifact
from tests.harness_factory import artifact

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """Put torch's own settings back: a worker is a process of its own, the tests are not."""
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    limits = dynamo.patch(fail_on_recompile_limit_hit=False, recompile_limit=8)
    with limits, inductor.patch(freezing=False, fx_graph_cache=True):
        yield


class Compiled:
    """A session on a small module whose graphs are counted and then run as they are."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, made: Artifact, *, batches: tuple[int, ...]) -> None:
        import torch

        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
        torch._dynamo.reset()
        self.graphs = 0
        whole = torch.compile

        class Module(torch.nn.Module):
            def forward(self, x: Any) -> tuple[Any]:
                return (x.mean(dim=1) * 2,)

        def count(graph: Any, _: Any) -> Any:
            self.graphs += 1
            return graph.forward

        patch.setattr(torch_compile, "load_program", lambda artifact, options: (Module(), {}))
        patch.setattr(torch, "compile", lambda module, **asked: whole(module, backend=count, **asked))
        options = RuntimeOptions(threads=1, features=frozenset(), batches=batches, cache=folder)
        self.session = TorchCompileBackend().open(made, options)

    def run(self, rows: int, length: int) -> None:
        """Run one batch, and hold its answer against the module's own."""
        x = np.random.default_rng(length).normal(size=(rows, length, 3)).astype(np.float32)
        (found,) = self.session.run({"x": x})
        np.testing.assert_allclose(found, x.mean(axis=1) * 2, rtol=1e-5, atol=1e-5)


def _artifact(length: int | None) -> Artifact:
    return artifact(inputs=({"name": "x", "shape": (None, length, 3), "dtype": "float32"},))


def test_a_free_length_is_compiled_once_and_not_for_every_recording(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiled = Compiled(monkeypatch, tmp_path, _artifact(None), batches=(1, 2))
    for rows in (1, 2):
        for length in range(20, 60):
            compiled.run(rows, length)
    assert compiled.graphs <= 2, "torch takes a batch of one for a constant"
    assert compiled.session.effective()["compiled_for"] == "every shape"


def test_every_batch_size_that_will_be_run_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sizes = tuple(range(1, 17))
    compiled = Compiled(monkeypatch, tmp_path, _artifact(10), batches=sizes)
    for rows in sizes:
        compiled.run(rows, 10)
    assert compiled.graphs == len(sizes)
    assert compiled.session.effective()["compiled_for"] == "each batch size"


def test_more_shapes_than_can_be_compiled_are_an_error_and_not_run_eagerly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiled = Compiled(monkeypatch, tmp_path, _artifact(10), batches=(1,))
    with pytest.raises(Exception, match="fail_on_recompile_limit_hit"):
        for rows in range(1, 30):
            compiled.run(rows, 10)
