"""The FPGA accelerator: its cycles are simulated, its answers are ONNX Runtime's, which it equals byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from leptonbench.backends.base import YES, Arrays, Estimate, FrameEnergy, Recipe, Support
from leptonbench.errors import UsageError
from leptonbench.schema import (
    Artifact,
    Board,
    DeviceProfile,
    EngineOptions,
    EventEnergies,
    Notice,
    Provenance,
    Quantity,
    weakest,
)

if TYPE_CHECKING:
    from leptonbench.fpga.execution import Simulation, Span

_STATIC = "quantize-static"


class FpgaBackend:
    """An int8 accelerator on a board, in `composed` mode."""

    format: ClassVar[Literal["torch-export", "onnx"]] = "onnx"
    answers: ClassVar[str] = "onnxruntime"
    device: ClassVar[str] = "fpga"

    def supports(self, recipe: Recipe, features: frozenset[str]) -> Support:
        """Say no to everything but 8-bit codes that were fixed beforehand; imports no engine."""
        if recipe.source != "onnx" and _STATIC not in recipe.techniques:
            return Support(
                False,
                "the accelerator runs 8-bit codes whose scales were fixed beforehand",
                "take `int8-static`, alone or after pruning or distillation",
            )
        if recipe.options != EngineOptions():
            return Support(False, "the accelerator has no options of an engine", "leave them out")
        return YES

    def build(self, device: DeviceProfile) -> None:
        """Build the simulator of a board's core, unless the cache has it.

        Raises:
            UsageError: If the device is no board.
            PrerequisiteError: If a tool is missing.
            BuildError: If a tool fails.
        """
        from leptonbench.fpga.boards import core_shape
        from leptonbench.fpga.sim.build import simulator

        simulator(core_shape(_board(device)))

    def simulate(self, artifact: Artifact, device: DeviceProfile, sample: Arrays) -> Estimate:
        """Simulate one frame of the sample's size.

        Args:
            artifact: That the `onnxruntime` backend runs, too.
            device: A board.
            sample: Inputs by name, for the lengths of free dimensions.

        Raises:
            UsageError: If the model cannot run on the board.
            PrerequisiteError: If a tool is missing.
            SimulationError: If the simulated core does not come to its end.
        """
        from pathlib import Path

        from leptonbench.fpga.execution import simulate

        board = _board(device)
        if artifact.follower is not None:
            raise UsageError(
                "the accelerator runs one graph a frame",
                cause="the model is an encoder and a decoder that is called in a loop",
                hint="take a model of one graph",
            )
        found = simulate(Path(artifact.path), board, feeds=sample)
        return Estimate(
            latency=_seconds(found, found.latency_s, found.alone.cycles),
            busy_latency=_seconds(found, found.crowded_s.plus(found.host_s), found.crowded.cycles),
            throughput=_rate(found),
            servers=board.cores,
            counters={counter.name: round(count) for counter, count in found.alone.counters.items()},
            facts=_facts(found, board),
            notices=_notices(found),
        )

    def energy(
        self, estimate: Estimate, device: DeviceProfile, energies: EventEnergies, *, frame: Quantity
    ) -> FrameEnergy:
        """Return joules a frame: the board's idle power over its time, and an energy for each event."""
        from leptonbench.fpga import power
        from leptonbench.fpga.isa import Counter

        if device.board is None or device.power is None:
            return _no_energy(f"the profile `{device.name}` has no idle power")
        if frame.value is None or frame.provenance is None:
            return _no_energy(frame.why_null or "the time of a frame is not known")
        counters = {Counter[name]: count for name, count in estimate.counters.items()}
        found = power.energy(device.board, device.power, energies, counters=counters, time_s=frame)
        origin = weakest((Provenance.SIMULATED, frame.provenance))
        lacks = "; what the host's operators draw above idle is not in it" if estimate.facts.get("host_s") else ""
        total, dynamic = (
            part.model_copy(update={"provenance": origin, "method": f"{part.method}{lacks}"})
            for part in (found.total, found.dynamic)
        )
        return FrameEnergy(total, dynamic)


def _board(device: DeviceProfile) -> Board:
    if device.board is None:
        raise UsageError(f"`{device.name}` is no board", hint="see `leptonbench list devices`")
    return device.board


def _no_energy(why: str) -> FrameEnergy:
    return FrameEnergy(Quantity.null("J", why), Quantity.null("J", why))


def _origin(found: Simulation) -> Provenance:
    return weakest((Provenance.SIMULATED, Provenance.PROJECTED)) if found.host is not None else Provenance.SIMULATED


def _seconds(found: Simulation, span: Span, cycles: float) -> Quantity:
    clock = found.board.clock_hz
    host = f"; {found.host_s.value:.3g} s of it on the host, projected" if found.host is not None else ""
    return Quantity(
        value=span.value,
        unit="s",
        low=span.low,
        high=span.high,
        n=1,
        provenance=_origin(found),
        method=f"{cycles:.0f} cycles, {found.mode.value} from RTL, at {clock.value / 1e6:g} MHz"
        f"{' (assumed)' if clock.assumed else ''}{host}; every frame takes as long; no driver; "
        "the DRAM's range is left out",
    )


def _rate(found: Simulation) -> Quantity:
    span = found.throughput_per_s
    limited = "the host" if found.host_bound else f"{found.board.cores} core{'s' if found.board.cores > 1 else ''}"
    return Quantity(
        value=span.value,
        unit="1/s",
        low=span.low,
        high=span.high,
        n=1,
        provenance=_origin(found),
        method=f"steady state with all cores at work on the shared memory, limited by {limited}",
    )


def _facts(found: Simulation, board: Board) -> dict[str, Any]:
    """Return what is worth knowing of a simulation, for the record."""
    clock = board.clock_hz
    facts: dict[str, Any] = {
        "engine": "fpga",
        "mode": found.mode.value,
        "array": f"{found.alone.core.rows} x {found.alone.core.cols}",
        "cores": board.cores,
        "clock_hz": clock.value,
        "clock_assumed": clock.assumed,
        "cycles": round(found.alone.cycles),
        "programs": found.alone.programs,
        "array_utilisation": round(found.alone.utilisation, 4),
        "bound_by": {name: round(share, 3) for name, share in found.alone.binding().items()},
        "dram_bytes": found.dram_bytes,
        "accelerator_s": found.accelerator_s.value,
        "host_s": found.host_s.value if found.host is not None else None,
    }
    if found.host is not None:
        total_s = found.host.total_s
        facts["host_share"] = round(found.host_s.value / found.latency_s.value, 4)
        facts["host_operators"] = _shares(found.host.seconds, total_s)
    return facts


def _shares(seconds: Mapping[str, float], total_s: float) -> dict[str, str]:
    return {name: f"{spent / total_s:.1%} of the host's time" for name, spent in seconds.items() if total_s}


def _notices(found: Simulation) -> tuple[Notice, ...]:
    notices = []
    if found.host is None:
        notices.append(
            Notice(
                code="codes-in-and-out",
                message="the board has no processor: inputs arrive as 8-bit codes and outputs leave as codes",
                hint="who sends the input quantises it; that time is not in the figures",
            )
        )
    if found.repacked:
        names = ", ".join(found.repacked)
        notices.append(
            Notice(code="repacked", message=f"the host lays these tensors out anew, untimed: {names}", hint="")
        )
    return tuple(notices)
