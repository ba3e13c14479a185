"""What a compression technique owes the harness, and what it may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from numpy.typing import NDArray

from leptonbench.stats.interval import Interval
from leptonbench.tasks.base import Arrays, Lesson

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network

Options = Mapping[str, str | int | float | bool]
Outputs = Sequence[Sequence[NDArray[Any]]]
"""By sample, the network's outputs in their order."""
Difference = Callable[[Outputs, Outputs], Interval]


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a technique trains a network.

    Attributes:
        lesson: Batches and losses of the task.
        seed: Of the order of batches and of everything random in the technique.
        checkpoints: Folder that survives an interruption; a technique finds its own last checkpoint there.
        budget_s: Training stops after so long, the learning rate having come down by then; `None` trains the
            technique's full number of steps.
        score: Gives a network's quality by the task's metric on samples that it is not tuned on, for the record;
            `None` where nobody asked. Nothing is chosen by it.
    """

    lesson: Lesson
    seed: int
    checkpoints: Path
    budget_s: float | None = None
    score: Callable[[Network], float] | None = None


def _unheard(name: str, value: Any) -> None:
    """Take a fact that nobody keeps."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a step may use beside the model.

    Attributes:
        calibration: Gives the calibration split as input tensors by the model's own names, batches of one.
        tuning: Asked for only by techniques that train: reading the data takes time.
        load_network: Loads a Hugging Face folder as the task's network; without weights, builds it untrained.
        source: The Hugging Face folder that the model came from.
        workdir: Scratch folder, removed afterwards.
        say: Told what takes long, a line at a time.
        difference: By how much the task's metric changes from the answers behind the second outputs to those behind the
            first: both of the first calibration samples, in their order. `None` where outputs alone are no answers.
        note: Told facts worth keeping beside the result (what was removed, how far training came), as JSON can hold
            them.
    """

    calibration: Callable[[], Iterator[Arrays]]
    tuning: Callable[[], Tuning]
    load_network: Callable[[Path, bool], Network]
    source: Path
    workdir: Path
    say: Callable[[str], None]
    difference: Difference | None = None
    note: Callable[[str, Any], None] = _unheard


class Compression(Protocol):
    """One technique.

    Attributes:
        stage: `module` changes a network; `graph` turns one ONNX file into another.
        order: Steps of a recipe come in rising order, each at most once: a student first, then channels, then single
            weights, then codebooks, then narrower numbers.
        uses_calibration: Whether the result depends on the calibration split.
        tunes: Whether it trains, so that its result is worth keeping; it is then found again by the hash of the model,
            the data and the steps, or among the weights that ship with a workload.
    """

    stage: ClassVar[Literal["module", "graph"]]
    order: ClassVar[int]
    uses_calibration: ClassVar[bool]
    tunes: ClassVar[bool]

    def apply(self, model: Any, options: Options, context: Context) -> Any:
        """Return the compressed model: a `Network` for `module`, the path of a new ONNX file for `graph`.

        Raises:
            UsageError: If an option is unknown or out of range, or the model has nothing to apply it to.
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
