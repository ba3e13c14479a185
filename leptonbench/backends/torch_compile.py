"""PyTorch with `torch.compile` (inductor, frozen weights); compiled code is kept between processes.

Left alone, torch gives up compiling after eight shapes and runs the rest eagerly without an error. Here that is one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from leptonbench.backends.base import Recipe, RuntimeOptions, Session, Support, refuse_options
from leptonbench.backends.torch_eager import NO_MEMORY_OPTIONS, TorchSession, load_program, torch_support
from leptonbench.schema import Artifact, EngineOptions

_LEVELS = ("basic", "all")
_SPARE = 8  # programs beyond one a batch size: an offline query's remainder is a size of its own


def compile_support(options: EngineOptions) -> Support:
    """Say which options inductor has: it fuses always, and folds and packs weights (`all`) or leaves them (`basic`)."""
    if options.graph_optimisation not in _LEVELS:
        return Support(
            False,
            f"torch.compile has no graph optimisation level `{options.graph_optimisation}`: inductor always fuses",
            "use `basic` (weights left as they are), or the `torch` backend for no optimisation at all",
        )
    return refuse_options(options, NO_MEMORY_OPTIONS)


def has_free_length(artifact: Artifact) -> bool:
    """Say whether samples differ in length: compiled for each, a few dozen recordings are a few dozen programs."""
    return any(size is None for spec in artifact.inputs for size in spec.shape[1:])


def compile_program(
    artifact: Artifact, options: RuntimeOptions, load: Callable[[], tuple[Any, dict[str, Any]]]
) -> tuple[Any, dict[str, Any]]:
    """Return a program that inductor compiles at the first run of each shape, and what is known of it.

    Args:
        artifact: The program.
        options: For batches, threads and the cache.
        load: Loads the program, after torch is told where to cache.
    """
    level = options.engine.graph_optimisation
    form = "" if level == "all" else f"-{level}"
    cache = options.cache / f"inductor-{artifact.sha256[:16]}-t{options.threads}{form}"
    warm = cache.is_dir() and any(cache.iterdir())
    cache.mkdir(parents=True, exist_ok=True)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    import torch
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    # A shape too many must fail its cell: run eagerly it would be measured under the wrong name.
    dynamo.fail_on_recompile_limit_hit = True
    dynamo.recompile_limit = max(dynamo.recompile_limit, _SPARE + len(options.batches))
    # Frozen weights let inductor fold batch normalisation and pack convolution weights; the cache of frozen
    # graphs is what makes a fresh process start in seconds instead of compiling anew.
    inductor.freezing = level == "all"
    inductor.fx_graph_cache = True
    module, facts = load()
    free = has_free_length(artifact)
    done = EngineOptions(graph_optimisation="all" if inductor.freezing else "basic")
    facts |= {
        "compiler": "inductor, freezing" if inductor.freezing else "inductor",
        "compile_cache": "warm" if warm else "cold",
        "compiled_for": "every shape" if free else "each batch size",
        "options": done.model_dump(mode="json"),
    }
    return torch.compile(module, dynamic=free), facts


class TorchCompileBackend:
    """PyTorch compiled for each batch size that is run, or once for every shape where a sample's length is free."""

    format: ClassVar[Literal["torch-export", "onnx"]] = "torch-export"
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say whether torch can run the recipe."""
        honoured = compile_support(recipe.options)
        return torch_support(recipe, features) if honoured.ok else honoured

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Load the program; compilation itself happens at the first run of each shape that needs it."""
        module, facts = compile_program(artifact, options, lambda: load_program(artifact, options))
        return TorchSession(module, artifact, facts)
