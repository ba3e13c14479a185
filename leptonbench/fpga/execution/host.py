"""What the board's processor does for a network, in ONNX Runtime on this machine: its results and its time.

The time on the board is projected from it: times here over the relative speed of the board's processor.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.fpga import ir
from leptonbench.fpga.compiler import CompiledNetwork
from leptonbench.fpga.lowering.execute import Arrays

LAYOUT = "layout"
"""Name of what is no operator: putting a tensor into the accelerator's layout, or taking it out."""
REFERENCE_THREADS = 2
"""That operators are timed with here: a board's `relative_speed` is over that of two hardware threads of a server."""
_WARM_RUNS, _RUNS = 2, 7
_EXACT = "session.x64quantprecision"  # kernels whose sums do not saturate, as the accelerator's do not


@dataclass(frozen=True, kw_only=True)
class HostTimes:
    """Seconds of one frame on this machine, by kind of operator.

    Attributes:
        seconds: Median over the runs of each segment, divided among its operators as the engine's profile does.
        counts: How many of each there are in the network.
        threads: That the engine used.
    """

    seconds: Mapping[str, float]
    counts: Mapping[str, int]
    threads: int

    @property
    def total_s(self) -> float:
        """Return the seconds of all of them."""
        return sum(self.seconds.values())


class HostSessions:
    """A network's host segments, opened in ONNX Runtime.

    Args:
        network: Whose segments they are.
        threads: That one operator may use.
    """

    def __init__(self, network: ir.Network, *, threads: int) -> None:
        self._network = network
        self._threads = threads
        self._sessions: dict[str, Any] = {}

    def run(self, segment: ir.HostSegment, given: Arrays) -> Arrays:
        """Return a segment's outputs, by name."""
        session = self._session(segment)
        return dict(zip(segment.outputs, session.run(list(segment.outputs), dict(given)), strict=True))

    def time(self, compiled: CompiledNetwork) -> HostTimes:
        """Time every segment, and what crosses between host and accelerator.

        Inputs are random, of the right shapes and types: what these operators take does not depend on values.
        """
        seconds: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        rng = np.random.default_rng(0)
        for segment in self._network.segments:
            given = {name: random_values(self._network.tensors[name], rng) for name in segment.inputs}
            taken_s = _median_s(partial(self.run, segment, given))
            for name, share in self._shares(segment, given).items():
                seconds[name] += taken_s * share  # type: ignore[assignment]  # a Counter of floats
            counts.update(operator.op_type for operator in segment.operators)
        crossings = _crossings(compiled)
        for move in crossings:
            seconds[LAYOUT] += _median_s(move)  # type: ignore[assignment]
        counts[LAYOUT] = len(crossings)
        times = {name: float(seconds[name]) for name in sorted(seconds, key=lambda one: -seconds[one])}
        return HostTimes(seconds=times, counts=dict(counts), threads=self._threads)

    def _session(self, segment: ir.HostSegment) -> Any:
        if segment.name not in self._sessions:
            self._sessions[segment.name] = _open(segment, self._threads)
        return self._sessions[segment.name]

    def _shares(self, segment: ir.HostSegment, given: Arrays) -> dict[str, float]:
        """Return each kind of operator's share of a segment's time, by the engine's profile of its kernels."""
        kinds = {operator.op_type for operator in segment.operators}
        if len(kinds) == 1:
            return {kinds.pop(): 1.0}
        with TemporaryDirectory() as scratch:
            session = _open(segment, self._threads, profile_to=Path(scratch) / "host")
            for _ in range(_WARM_RUNS + _RUNS):
                session.run(list(segment.outputs), dict(given))
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        spent: Counter[str] = Counter()
        for event in events:
            if event.get("cat") == "Node" and event.get("name", "").endswith("_kernel_time"):
                spent[_own_name(event["args"]["op_name"], kinds)] += event["dur"]
        total = sum(spent.values())
        return {name: spent[name] / total for name in spent} if total else {name: 1 / len(kinds) for name in kinds}


def _own_name(kernel: str, kinds: set[str]) -> str:
    """Return the name that an operator has in the model; the engine's where it fused it with others."""
    plain = kernel.removeprefix("QLinear")
    return plain if plain in kinds else kernel


def _open(segment: ir.HostSegment, threads: int, *, profile_to: Path | None = None) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    settings.add_session_config_entry(_EXACT, "1")
    if profile_to is not None:
        settings.enable_profiling = True
        settings.profile_file_prefix = str(profile_to)
    return onnxruntime.InferenceSession(segment.model, settings, providers=["CPUExecutionProvider"])


def _crossings(compiled: CompiledNetwork) -> list[Callable[[], object]]:
    """Return what is done to each tensor that a program reads from the host or the host reads from a program."""
    network = compiled.network
    rng = np.random.default_rng(0)
    moves: list[Callable[[], object]] = []
    wanted = set(network.outputs).union(*(segment.inputs for segment in network.segments))
    written = {layer.writes for layer in compiled.layers}
    for program in compiled.programs:
        for name, place in program.reads:
            if (name, place) in written:
                continue  # it lies there already
            tensor = network.tensors[name]
            array = random_values(tensor, rng)
            moves.append(partial(place.pack, array, tensor))
        for layer in program.layers:
            name, place = layer.writes
            if name in wanted:
                tensor = network.tensors[name]
                data = bytes(place.size_bytes)
                moves.append(partial(place.layout.unpack, data, tensor))
    return moves


def random_values(tensor: ir.Tensor, rng: np.random.Generator) -> NDArray[Any]:
    """Return values of a tensor's shape and type: codes over their whole range, floats around 0, other integers 0."""
    kind = np.dtype(tensor.dtype)
    if tensor.dtype in ("uint8", "int8"):
        info = np.iinfo(kind)
        return rng.integers(info.min, info.max + 1, tensor.shape, dtype=kind)
    if kind.kind == "f":
        return rng.standard_normal(tensor.shape).astype(kind)
    return np.zeros(tensor.shape, dtype=kind)


def _median_s(call: Callable[[], object]) -> float:
    times = []
    for run in range(_WARM_RUNS + _RUNS):
        started = time.perf_counter_ns()
        call()
        if run >= _WARM_RUNS:
            times.append((time.perf_counter_ns() - started) / 1e9)
    return statistics.median(times)
