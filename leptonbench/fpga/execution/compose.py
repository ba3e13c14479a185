"""`composed` mode: the RTL runs the first tiles of each distinct layer, once; the schedule says the rest.

The compiler's schedule expects when each instruction ends, with the DRAM's bandwidth and latency in it. A layer of each
distinct shape is compiled alone, and the RTL runs it, or as many of its tiles as fill a window of cycles; what it took
at its own rate from the middle of the window on is carried to the end of the layer. The difference from what the
schedule expected of the layer alone corrects what the schedule of the whole network says of every layer of that shape.
Cycles depend on no data, so none are needed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from leptonbench.atomic import make_folder, write_atomically
from leptonbench.fpga.compiler import CompiledNetwork, compile_shapes
from leptonbench.fpga.compiler.bound import exec_cycles, traffic
from leptonbench.fpga.compiler.program import DramMap, Program
from leptonbench.fpga.compiler.schedule import Step
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.execution.outcome import CoreOutcome, LayerOutcome
from leptonbench.fpga.isa import Counter, Drain, Exec, Store, Unit, encode_program
from leptonbench.fpga.sim.build import Progress, rtl_digest
from leptonbench.fpga.sim.build import simulator as build_simulator
from leptonbench.fpga.sim.simulator import Dram, Simulator
from leptonbench.paths import cache_dir

WINDOW_CYCLES = 60_000
"""Of a longer layer, the tiles are simulated that are expected to end within about so many cycles."""
ERROR = 0.02
"""By what share composed cycles may differ from those of `full` mode: benchmarks/fpga_networks.py holds them to it."""
_MOST_WORKERS = 4
_REVISION = 2  # raise when what is kept changes its meaning


@dataclass(frozen=True)
class _Work:
    """How much of everything some instructions do: what counters grow with."""

    cycles: float
    vectors: int
    words: int
    read_bytes: int
    written_bytes: int

    @classmethod
    def of(cls, core: CoreShape, steps: Iterable[Step]) -> _Work:
        listed = list(steps)
        execs = [step.instruction for step in listed if isinstance(step.instruction, Exec)]
        words = sum(step.instruction.count for step in listed if isinstance(step.instruction, Drain))
        vectors = sum(exec_cycles(core, one)[0] for one in execs)
        return cls(max(step.end for step in listed), vectors, words, *traffic(listed))


_GROWS_WITH = {
    **dict.fromkeys(
        (Counter.READ_BEATS, Counter.READ_BURSTS, Counter.INPUT_WRITES, Counter.WEIGHT_WRITES), "read_bytes"
    ),
    **dict.fromkeys((Counter.WRITE_BEATS, Counter.WRITE_BURSTS, Counter.OUTPUT_READS), "written_bytes"),
    **dict.fromkeys((Counter.ACC_DRAINS, Counter.OUTPUT_WRITES), "words"),
    **dict.fromkeys(
        (
            Counter.VECTORS,
            Counter.ARRAY_VECTORS,
            Counter.LANE_VECTORS,
            Counter.PADDED,
            Counter.WEIGHT_READS,
            Counter.ACC_WRITES,
        ),
        "vectors",
    ),
}
"""What each counter grows with; the others, stalls, with the cycles."""


@dataclass(frozen=True)
class _Sample:
    """The beginning of a layer's program, or all of it.

    Attributes:
        code: The program.
        address: Where it lies.
        memory_bytes: DRAM that it needs.
        part: What it does.
        whole: What all of the layer's instructions do.
        marks: When a STORE in the middle and the last one are expected to end; the RTL notes when they do. Equal where
            the sample is the whole layer.
    """

    code: bytes
    address: int
    memory_bytes: int
    part: _Work
    whole: _Work
    marks: tuple[float, float]

    @classmethod
    def of(cls, core: CoreShape, program: Program, dram: DramMap) -> _Sample:
        steps = program.schedule.steps
        count = _count(steps)
        part, whole = _Work.of(core, steps[:count]), _Work.of(core, steps)
        stores = [step for step in steps[:count] if step.unit is Unit.STORE]
        middle = next(step for step in stores if step.end >= part.cycles / 2 or step is stores[-1])
        for mark, step in enumerate((middle, stores[-1]), start=1):
            if isinstance(step.instruction, Store):
                step.instruction = replace(step.instruction, stamp=mark)
        code = encode_program(program.schedule.program(count))
        return cls(code, dram.keep(code), dram.size_bytes, part, whole, (middle.end, stores[-1].end))

    def alone(self, seen: _Seen) -> float:
        """Return the cycles of the whole layer by itself."""
        left, (middle, last) = self.whole.cycles - self.part.cycles, self.marks
        if left <= 0 or last <= middle:
            return seen.cycles + left
        return seen.cycles + left * (seen.marks[-1] - seen.marks[0]) / (last - middle)


def _count(steps: list[Step]) -> int:
    """Return how many steps are simulated: up to the first STORE after the window, or all if little more is left."""
    if steps[-1].end < 1.5 * WINDOW_CYCLES:
        return len(steps)
    ends = (at for at, step in enumerate(steps, start=1) if step.unit is Unit.STORE and step.end >= WINDOW_CYCLES)
    return next(ends, len(steps))


@dataclass(frozen=True)
class _Seen:
    """What the RTL said of a sample: cycles, counters, and when its marked STOREs ended."""

    cycles: int
    counters: tuple[int, ...]
    marks: tuple[int, ...]


def compose(
    compiled: CompiledNetwork, dram: Dram, *, cache: Path | None = None, progress: Progress = lambda _: None
) -> CoreOutcome:
    """Return what a network takes on one core.

    Args:
        compiled: With `together`, for the memory that `dram` is.
        dram: That the core sees.
        cache: Folder of what the RTL said before; one in leptonbench's own if left out.
        progress: Is told what takes time.

    Raises:
        SimulationError: If a layer's program does not come to its end.
        PrerequisiteError: If something has to be simulated and a tool is missing.
    """
    core = compiled.core
    samples = {
        program.layers[0].shape: _Sample.of(core, program, memory) for program, memory in compile_shapes(compiled)
    }
    folder = cache or cache_dir() / "fpga" / "layers"
    seen, simulated, cpu_s = _simulate(core, samples, dram, folder=folder, progress=progress)
    layers: list[LayerOutcome] = []
    totals = dict.fromkeys(Counter, 0.0)
    for program in compiled.programs:
        before = 0.0
        for layer in program.layers:
            sample, found = samples[layer.shape], seen[layer.shape]
            end = program.expected_cycles if layer is program.layers[-1] else layer.expected_end
            layers.append(LayerOutcome.of(layer, _corrected(end - before, sample, found)))
            before = end
            for counter, value in _scaled(sample, found).items():
                totals[counter] += value
    cycles = sum(layer.cycles for layer in layers)
    return CoreOutcome(
        core=core,
        layers=tuple(layers),
        cycles=cycles,
        programs=len(compiled.programs),
        counters=totals | {Counter.CYCLES: cycles},
        simulated_cycles=simulated,
        cpu_s=cpu_s,
    )


def _corrected(expected: float, sample: _Sample, seen: _Seen) -> float:
    """Return a layer's cycles in its network, from those expected of it there and from what it takes alone."""
    return expected + sample.alone(seen) - sample.whole.cycles


def _scaled(sample: _Sample, seen: _Seen) -> dict[Counter, float]:
    """Return the counters of a whole layer, from those of its beginning."""
    part, whole = asdict(sample.part), asdict(sample.whole)
    factors = {name: whole[name] / part[name] if part[name] else 1.0 for name in whole}
    return {counter: seen.counters[counter] * factors[_GROWS_WITH.get(counter, "cycles")] for counter in Counter}


def _simulate(
    core: CoreShape, samples: Mapping[Hashable, _Sample], dram: Dram, *, folder: Path, progress: Progress
) -> tuple[dict[Hashable, _Seen], int, float]:
    """Return what the RTL says of each sample, from the cache where it is known; and the cycles and seconds spent."""
    settings = [_REVISION, rtl_digest(), core.parameters(), asdict(dram)]
    paths = {shape: _cache_path(folder, sample, settings) for shape, sample in samples.items()}
    seen = {shape: found for shape, path in paths.items() if (found := _read(path)) is not None}
    waiting = deque(sorted((s for s in samples if s not in seen), key=lambda shape: -samples[shape].part.cycles))
    if not waiting:
        return seen, 0, 0.0
    progress(f"simulating {len(waiting)} of {len(samples)} distinct layers")
    build_simulator(core, progress=progress)
    make_folder(folder)
    largest = max(samples[shape].memory_bytes for shape in waiting)

    def work() -> tuple[int, float]:
        cycles, cpu_s = 0, 0.0
        with Simulator(core, memory_bytes=largest) as simulator:
            while waiting:
                try:
                    shape = waiting.popleft()
                except IndexError:  # another worker took the last one
                    break
                sample = samples[shape]
                end = sample.address + len(sample.code)
                simulator.memory[sample.address : end] = np.frombuffer(sample.code, dtype=np.uint8)
                run = simulator.run(sample.address, dram=dram)
                counters = tuple(run.counters[counter] for counter in Counter)
                seen[shape] = _Seen(run.cycles, counters, tuple(cycle for _, cycle in run.stamps))
                write_atomically(paths[shape], json.dumps(asdict(seen[shape])).encode())
                cycles, cpu_s = cycles + run.cycles, cpu_s + run.cpu_s
        return cycles, cpu_s

    workers = min(len(waiting), _MOST_WORKERS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(workers) as pool:  # each waits for a process of its own
        done = [future.result() for future in [pool.submit(work) for _ in range(workers)]]
    return seen, sum(cycles for cycles, _ in done), sum(cpu_s for _, cpu_s in done)


def _cache_path(folder: Path, sample: _Sample, settings: list[object]) -> Path:
    digest = hashlib.sha256(json.dumps([*settings, sample.address], sort_keys=True).encode())
    digest.update(sample.code)
    return folder / f"{digest.hexdigest()[:32]}.json"


def _read(path: Path) -> _Seen | None:
    """Return what was kept; a damaged file counts as none and is written anew."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        counters, marks = (tuple(int(value) for value in kept[name]) for name in ("counters", "marks"))
        seen = _Seen(int(kept["cycles"]), counters, marks)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seen if len(counters) == len(Counter) and marks and seen.cycles > 0 else None
