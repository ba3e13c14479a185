"""What a compression technique owes the harness, and what it may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Options = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Context:
    """What a step may use beside the model.

    Attributes:
        calibration: Gives the calibration split as input tensors, one sample (batch of one) at a time.
        input_name: Name of the model's input.
        workdir: Scratch folder, removed afterwards.
    """

    calibration: Callable[[], Iterator[NDArray[np.float32]]]
    input_name: str
    workdir: Path


class Compression(Protocol):
    """One technique.

    Attributes:
        stage: `module` changes a `torch.nn.Module` in place of the model; `graph` turns one ONNX file into another.
            All module steps come before the first graph step.
        uses_calibration: Whether the result depends on the calibration split.
    """

    stage: ClassVar[Literal["module", "graph"]]
    uses_calibration: ClassVar[bool]

    def apply(self, model: Any, options: Options, context: Context) -> Any:
        """Return the compressed model: a module for `module`, the path of a new ONNX file for `graph`.

        Raises:
            UsageError: If an option is unknown or out of range.
        """


def check_options(technique: str, options: Options, allowed: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse an option that the technique does not know, or a value it cannot take.

    Args:
        technique: For the error.
        options: What the variant says.
        allowed: Option name to the values it can take; an empty tuple allows any.

    Raises:
        UsageError: On the first that is wrong.
    """
    from leptonbench.errors import UsageError
    from leptonbench.registry import unknown

    for name, value in options.items():
        if name not in allowed:
            raise unknown(f"option of `{technique}`:", name, allowed)
        values = allowed[name]
        if values and value not in values:
            raise UsageError(
                f"`{technique}` cannot take {name} = {value!r}", hint=f"it takes {', '.join(map(repr, values))}"
            )
