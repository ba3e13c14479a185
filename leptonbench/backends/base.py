"""What an engine owes the harness: say what it supports, open an artifact, run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from numpy.typing import NDArray
from pydantic import Field

from leptonbench.errors import MeasurementError
from leptonbench.schema import Artifact, DeviceProfile, EngineOptions, EventEnergies, Frozen, Notice, Quantity

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
        options: Of the engine; one that it cannot honour is a reason to say no.
    """

    source: Literal["huggingface", "onnx"]
    precision: str
    techniques: tuple[str, ...]
    options: EngineOptions = EngineOptions()


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How an engine is opened.

    Attributes:
        threads: Threads one inference may use.
        features: Instruction set features of the CPU, by their Linux names (`avx512_vnni`, `amx_bf16`).
        batches: Batch sizes that will be run.
        cache: Folder where the engine may keep compiled code between processes.
        inspect: Also find out what each layer truly ran as, where that takes extra time.
        engine: Options that the engine was not found unable to honour.
        profile: Record the time of each operator; such a session is never timed.
    """

    threads: int
    features: frozenset[str]
    batches: tuple[int, ...]
    cache: Path
    inspect: bool = False
    engine: EngineOptions = EngineOptions()
    profile: bool = False


class Session(Protocol):
    """An artifact opened by an engine."""

    def run(self, inputs: Arrays) -> list[NDArray[Any]]:
        """Run one batch; return when the outputs are in host memory."""

    def effective(self) -> dict[str, Any]:
        """Return what was truly set: engine version, precision, threads, kernels, and `options` as read back.

        `executed_precision`, where the engine was opened to be inspected, is the one that most of the products ran in.
        """

    def close(self) -> None:
        """Release the engine's threads and memory."""


class Backend(Protocol):
    """One engine.

    Attributes:
        format: The artifact format that it loads.
        packages: Distributions whose versions decide what it computes.
        device: What it runs on, `cpu` or `gpu`; a backend without it runs on the CPU.
        applies: Techniques on graphs that it applies to a program itself when it opens one; none if it does not say.
    """

    format: Literal["torch-export", "onnx"]
    packages: tuple[str, ...]

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say whether it can run the recipe on a device with these features; imports no engine."""

    def open(self, artifact: Artifact, options: RuntimeOptions) -> Session:
        """Load the artifact.

        Raises:
            LeptonError: If the engine refuses it, or would silently run something else than the label says.
        """


class Estimate(Frozen):
    """What a simulated backend says of one cell: every frame takes the same time, so there is nothing to repeat.

    Attributes:
        latency: Seconds of one frame, nothing else being served.
        busy_latency: Seconds of one frame while all servers are at work.
        throughput: Frames a second in the steady state.
        servers: How many frames are served at the same time.
        counters: What the device did for a frame, by name, as its energy is reckoned from.
        facts: What was simulated, for the record.
        notices: What a reader should know before trusting the figures.
    """

    latency: Quantity
    busy_latency: Quantity
    throughput: Quantity
    servers: int = Field(ge=1)
    counters: dict[str, int] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(default_factory=dict)
    notices: tuple[Notice, ...] = ()


class FrameEnergy(NamedTuple):
    """Joules a frame.

    Attributes:
        total: With what the device draws when idle.
        dynamic: Without.
    """

    total: Quantity
    dynamic: Quantity


class SimulatedBackend(Protocol):
    """A device that is not here: its time is simulated, and its answers are those of an engine that is.

    Attributes:
        format: The artifact format that it runs.
        answers: Name of the backend whose answers it gives, byte for byte.
    """

    format: Literal["torch-export", "onnx"]
    answers: str

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say whether it can run the recipe; imports no engine."""

    def build(self, device: DeviceProfile) -> None:
        """Make what a device is simulated with, whatever it runs; for several devices at the same time.

        Raises:
            LeptonError: If it cannot be made; `simulate` says the same then.
        """

    def simulate(self, artifact: Artifact, device: DeviceProfile, sample: Arrays) -> Estimate:
        """Return what one frame of a sample's size takes on a device.

        Raises:
            LeptonError: If the device cannot run the artifact, with what would help.
        """

    def energy(
        self, estimate: Estimate, device: DeviceProfile, energies: EventEnergies, *, frame: Quantity
    ) -> FrameEnergy:
        """Return joules a frame, given the seconds from one frame's end to the next one's."""


BF16_FEATURES = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
FP16_FEATURES = frozenset({"avx512_fp16", "amx_fp16", "asimdhp"})
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


def refuse_options(options: EngineOptions, reasons: Mapping[str, tuple[str, str]]) -> Support:
    """Say no to the first option that is not at its default and that the engine has no notion of.

    Args:
        options: What is asked.
        reasons: By option: why the engine cannot honour it, and what would help.
    """
    for name, (reason, hint) in reasons.items():
        if getattr(options, name) != getattr(EngineOptions(), name):
            return Support(False, reason, hint)
    return YES


def check_honoured(backend: str, options: EngineOptions, effective: Mapping[str, Any]) -> None:
    """Refuse a session that does not say that it runs with the options asked for.

    Engines from elsewhere need not know options at all: then only the defaults are taken as honoured.

    Args:
        backend: For the error.
        options: What was asked.
        effective: What the session says of itself; its `options` are those read back from the engine.

    Raises:
        MeasurementError: Naming what was asked and what is.
    """
    told = effective.get("options")
    if told is None and options == EngineOptions():
        return
    asked = options.model_dump(mode="json")
    if told != asked:
        wrong = [name for name, value in asked.items() if told is None or told.get(name) != value]
        found = "it reports none" if told is None else ", ".join(f"{name} = {told.get(name)}" for name in wrong)
        raise MeasurementError(
            f"backend `{backend}` does not run with the options asked for",
            cause=f"asked: {', '.join(f'{name} = {asked[name]}' for name in wrong)}; the engine's own word: {found}",
            hint="leave the option out, or use another backend: the cell would be mislabelled",
        )
