"""A model in the form an engine loads, addressed by what it was made from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from leptonbench.schema.quantity import Frozen
from leptonbench.schema.spec import StepSpec


class TensorSpec(Frozen):
    """Name, shape (`None` for a free dimension) and NumPy dtype of one input or output."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Artifact(Frozen):
    """One prepared model.

    Attributes:
        format: `torch-export` (a saved `torch.export` program) or `onnx`.
        path: The file that the engine loads; not part of the identity.
        sha256: Of that file.
        recipe: The steps that made it from the source model, in order.
        precision: What its weights and activations are meant to compute in.
        size_bytes: Of everything the engine reads from disk.
        stored_bytes: Of the weights as they are kept between uses (codebooks and indices, masks and non-zeros), where
            that is another form than what the engine reads.
        macs: Multiply-accumulates of one sample.
        parameters: Count of weights.
        facts: What the steps found out: `steps` by technique (what was pruned or left out), `tuned` (when and on what),
            `stored_bytes`.
        follower: A second graph that the task calls once a step, for models of an encoder and a decoder; sizes, counts
            and hash of the whole are the first one's fields.
    """

    format: Literal["torch-export", "onnx"]
    path: str
    sha256: str
    recipe: tuple[StepSpec, ...]
    precision: Literal["fp32", "tf32", "bf16", "fp16", "int8"]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    size_bytes: int
    stored_bytes: int | None = None
    macs: int
    parameters: int
    facts: dict[str, Any] = Field(default_factory=dict)
    follower: Artifact | None = None
