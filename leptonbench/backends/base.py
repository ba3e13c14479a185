"""What an engine owes the harness: say what it supports, open an artifact, run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from numpy.typing import NDArray

from leptonbench.schema import Artifact

Arrays = Mapping[str, NDArray[Any]]


class Support(NamedTuple):
    """Whether an engine can run something, and if not, why and what would help."""

    ok: bool
    reason: str = ""
    hint: str = ""


YES = Support(True)


class Recipe(NamedTuple):
    """What a cell asks of an engine before anything is prepared.

    Attributes:
        source: What the model is given as.
        precision: The variant's precision.
        techniques: The variant's steps, by technique.
    """

    source: Literal["huggingface", "onnx"]
    precision: str
    techniques: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How an engine is opened.

    Attributes:
        threads: Threads one inference may use.
        features: Instruction set features of the CPU, by their Linux names (`avx512_vnni`, `amx_bf16`).
        batches: Batch sizes that will be run.
        cache: Folder where the engine may keep compiled code between processes.
        inspect: Also find out what each layer truly ran as, where that takes extra time.
    """

    threads: int
    features: frozenset[str]
    batches: tuple[int, ...]
    cache: Path
    inspect: bool = False


class Session(Protocol):
    """An artifact opened by an engine."""

    def run(self, inputs: Arrays) -> list[NDArray[Any]]:
        """Run one batch; return when the outputs are in host memory."""

    def effective(self) -> dict[str, Any]:
        """Return what was truly set: engine version, precision, threads, kernels."""

    def close(self) -> None:
        """Release the engine's threads and memory."""


class Backend(Protocol):
    """One engine.

    Attributes:
        format: The artifact format that it loads.
        packages: Distributions whose versions decide what it computes.
    """

    format: Literal["torch-export", "onnx"]
    packages: tuple[str, ...]

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say whether it can run the recipe on a CPU with these features; imports no engine."""

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Load the artifact.

        Raises:
            LeptonError: If the engine refuses it, or would silently run something else than the label says.
        """


BF16_FEATURES = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
VNNI_FEATURES = frozenset({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})


def needs_native_bf16(engine: str, features: frozenset[str]) -> Support:
    """Refuse bf16 on a CPU without bf16 instructions: the engine would emulate it or up-cast to fp32."""
    if features & BF16_FEATURES:
        return YES
    return Support(
        False,
        f"this CPU has no bf16 instructions; {engine} would emulate or silently run fp32",
        "run it on a CPU with avx512_bf16, amx_bf16 or Arm bf16",
    )
