"""PyTorch with `torch.compile` (inductor, frozen weights); compiled code is kept between processes."""

from __future__ import annotations

import os
from typing import ClassVar, Literal

from leptonbench.backends.base import Recipe, RuntimeOptions, Session, Support
from leptonbench.backends.torch_eager import TorchSession, load_program, torch_support
from leptonbench.schema import Artifact


class TorchCompileBackend:
    """PyTorch compiled for each batch shape that is run."""

    format: ClassVar[Literal["torch-export", "onnx"]] = "torch-export"
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say whether torch can run the recipe."""
        return torch_support(recipe, features)

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Load the program; compilation itself happens at the first run of each batch shape."""
        cache = options.cache / f"inductor-{artifact.sha256[:16]}-t{options.threads}"
        warm = cache.is_dir() and any(cache.iterdir())
        cache.mkdir(parents=True, exist_ok=True)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
        import torch
        import torch._inductor.config as inductor

        # Frozen weights let inductor fold batch normalisation and pack convolution weights; the cache of frozen
        # graphs is what makes a fresh process start in seconds instead of compiling anew.
        inductor.freezing = True
        inductor.fx_graph_cache = True
        module, facts = load_program(artifact, options)
        facts |= {"compiler": "inductor, freezing", "compile_cache": "warm" if warm else "cold"}
        return TorchSession(torch.compile(module, dynamic=False), artifact, facts)
