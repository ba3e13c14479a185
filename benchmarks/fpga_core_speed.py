"""How fast is the whole simulated core on a real layer: cycles and multiply-accumulates a second of one processor core?

The layer is ResNet-18's 3 x 3 convolution at 56 x 56 with 64 channels, tiled by hand: four strips of 14 rows, double
buffered, so that load, execute, drain and store all work. Its output is compared with NumPy's. The time is the
simulating process's own processor time, a job an observation; the array's share of cycles at KV260-like bandwidth is
told beside.

Others' published speeds, cycles a second: Gemmini in Verilator 34 thousand (8 threads of a c5.4xlarge) to 120 thousand
(Ryzen 7800X3D), NVlabs/GEM issue 11; VTA's tsim at least 29 thousand, from 228 s for ResNet-18, apache/tvm pull request
4986.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.common import Outcome, of_interval, options, tell
from leptonbench.fpga import isa
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.isa import Counter, Target, Unit
from leptonbench.fpga.sim.simulator import Dram, Run, Simulator

GOAL_CYCLES_PER_S = 0.5e6
GOAL_MACS_PER_S = 100e6
_SIZE, _CHANNELS, _STRIP = 56, 64, 14
MACS = _SIZE * _SIZE * _CHANNELS * _CHANNELS * 9
_ZERO_IN, _ZERO_OUT, _SCALE = 117, 30, np.float32(2.5e-4)
KV260 = Dram(latency_cycles=60, bytes_per_cycle=40.0)  # 300 MHz; 64-bit DDR4-2400 at 62 % of its peak, assumed
PROGRAM, _WEIGHTS, _PARAMS, _INPUT, _OUTPUT, MEMORY = 0, 1 << 16, 1 << 18, 1 << 19, 1 << 20, 1 << 21


def main() -> None:
    """Measure and tell."""
    chosen = options(__doc__ or "", jobs=7)
    shape = CoreShape()
    image, kernel = tensors()
    with Simulator(shape, memory_bytes=MEMORY, progress=print) as core:
        place(core, image, kernel)
        runs = [core.run(PROGRAM, dram=KV260) for _ in range(chosen.jobs)]
        if not np.array_equal(result(core), reference(image, kernel)):
            raise SystemExit("the simulated layer is not what NumPy says")
    tell(
        "fpga_core_speed",
        [
            _rate("cycles simulated", runs, runs[0].cycles, "cycle/s", GOAL_CYCLES_PER_S),
            _rate("multiply-accumulates simulated", runs, MACS, "MAC/s", GOAL_MACS_PER_S),
            Outcome(
                "of the array's peak, on this layer",
                100 * MACS / shape.macs_per_cycle / runs[0].cycles,
                "%",
                70.0,
                at_least=True,
            ),
        ],
        cell="ResNet-18, 3 x 3, 56 x 56 x 64 to 64, 16 x 16 core",
        method="processor time of the simulator's process",
        cycles=runs[0].cycles,
        counters={counter.name: runs[0].counters[counter] for counter in Counter},
        cpu_s=[run.cpu_s for run in runs],
    )


def _rate(name: str, runs: list[Run], count: int, unit: str, goal: float) -> Outcome:
    found = of_interval(name, [count / run.cpu_s for run in runs], unit, goal=goal)
    return Outcome(name, found.value, unit, goal, found.low, found.high, found.n, at_least=True)


def tensors() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
    """Return the input `[C, H, W]` and the kernel `[C, C, 3, 3]`, random."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (_CHANNELS, _SIZE, _SIZE), dtype=np.uint8)
    return image, rng.integers(-128, 128, (_CHANNELS, _CHANNELS, 3, 3), dtype=np.int8)


def place(core: Simulator, image: npt.NDArray[np.uint8], kernel: npt.NDArray[np.int8]) -> None:
    """Put program, weights, parameters and input where they belong, in the layouts of docs/fpga.md."""
    rows, cols = core.shape.rows, core.shape.cols
    blocks = _CHANNELS // cols
    weights = kernel.reshape(blocks, cols, _CHANNELS // rows, rows, 3, 3).transpose(0, 2, 4, 5, 3, 1)
    scales = np.full((blocks, cols), _SCALE).view(np.int32)
    params = np.stack([np.zeros_like(scales), scales], axis=1)
    planes = image.reshape(-1, rows, _SIZE, _SIZE).transpose(0, 2, 3, 1)
    code = np.frombuffer(isa.encode_program(_program(core.shape)), np.uint8)
    for address, data in ((PROGRAM, code), (_WEIGHTS, weights), (_PARAMS, params), (_INPUT, planes)):
        raw = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        core.memory[address : address + len(raw)] = raw


def _program(shape: CoreShape) -> list[isa.Instruction]:
    blocks, strips = _CHANNELS // shape.cols, _SIZE // _STRIP
    weight_granules = blocks * (_CHANNELS // shape.rows) * 9 * shape.block_granules
    code: list[isa.Instruction] = [
        isa.Load(target=Target.PARAM, dram=_PARAMS, granules=blocks * shape.param_block_granules),
        isa.Load(target=Target.WEIGHT, dram=_WEIGHTS, granules=weight_granules),
        _load(shape, 0),
        _load(shape, 1),
    ]
    for strip in range(strips):
        for block in range(blocks):
            code += _tile(shape, strip, block, last=block == blocks - 1, strips=strips)
        if strip + 2 < strips:
            code.append(_load(shape, strip + 2))
    return [*code, isa.Halt()]


def _rows_of(strip: int) -> tuple[int, int]:
    """Return the first input row of a strip and how many it has, with those above and below that exist."""
    first, end = max(0, strip * _STRIP - 1), min(_SIZE, (strip + 1) * _STRIP + 1)
    return first, end - first


def _load(shape: CoreShape, strip: int) -> isa.Load:
    first, count = _rows_of(strip)
    planes = _CHANNELS // shape.rows
    return isa.Load(
        take=Unit.EXEC if strip >= 2 else Unit.NONE,
        give=Unit.EXEC,
        dram=_INPUT + first * _SIZE * shape.rows,
        dst=_half(shape, strip),
        granules=count * _SIZE,
        y_count=planes,
        dram_y=_SIZE * _SIZE * shape.rows,
        dst_y=count * _SIZE,
    )


def _half(shape: CoreShape, strip: int) -> int:
    return strip % 2 * shape.input_granules // 2


def _tile(shape: CoreShape, strip: int, block: int, *, last: bool, strips: int) -> list[isa.Instruction]:
    """Return what makes one strip of one block of output channels; `number` alternates halves of the buffers."""
    number = strip * (_CHANNELS // shape.cols) + block
    first, count = _rows_of(strip)
    pitch, pixels = _SIZE * shape.rows, _STRIP * _SIZE
    above = strip * _STRIP - 1 - first  # -1 where the row above is padding
    reused = Unit.LOAD if last and strip + 2 < strips else Unit.NONE
    return [
        isa.Exec(
            take=(Unit.LOAD if block == 0 else Unit.NONE) | (Unit.DRAIN if number >= 2 else Unit.NONE),
            give=Unit.DRAIN | reused,
            half=number % 2,
            a_zero=_ZERO_IN,
            base=_half(shape, strip) * shape.rows + above * pitch - shape.rows,
            weights=block * (_CHANNELS // shape.rows) * 9 * shape.block_granules,
            c_count=_CHANNELS // shape.rows,
            ky_count=3,
            kx_count=3,
            oy_count=_STRIP,
            ox_count=_SIZE,
            x0=-1,
            y0=above,
            in_w=_SIZE,
            in_h=count,
            ox_dx=1,
            oy_dy=1,
            kx_dx=1,
            ky_dy=1,
            ox_step=shape.rows,
            oy_step=pitch,
            kx_step=shape.rows,
            ky_step=pitch,
            c_step=count * pitch,
        ),
        isa.Drain(
            take=Unit.EXEC | (Unit.STORE if number >= 2 else Unit.NONE),
            give=Unit.STORE | Unit.EXEC,
            half=number % 2,
            count=pixels,
            dst=number % 2 * shape.output_granules // 2,
            params=block * shape.param_block_granules,
            zero=_ZERO_OUT,
        ),
        isa.Store(
            take=Unit.DRAIN,
            give=Unit.DRAIN,
            granules=pixels,
            src=number % 2 * shape.output_granules // 2,
            dram=_OUTPUT + (block * _SIZE * _SIZE + strip * pixels) * shape.rows,
        ),
    ]


def result(core: Simulator) -> npt.NDArray[np.uint8]:
    """Return the output that lies in DRAM, `[C, H, W]`."""
    size = _CHANNELS * _SIZE * _SIZE
    stored = core.memory[_OUTPUT : _OUTPUT + size].reshape(-1, _SIZE, _SIZE, core.shape.cols)
    return stored.transpose(0, 3, 1, 2).reshape(_CHANNELS, _SIZE, _SIZE)


def reference(image: npt.NDArray[np.uint8], kernel: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    """Return the output that NumPy computes, `[C, H, W]`."""
    padded = np.pad(image.astype(np.float64) - _ZERO_IN, ((0, 0), (1, 1), (1, 1)))  # float64 holds these sums exactly
    sums = np.zeros((_CHANNELS, _SIZE * _SIZE))
    for y in range(3):
        for x in range(3):
            window = padded[:, y : y + _SIZE, x : x + _SIZE].reshape(_CHANNELS, -1)
            sums += kernel[:, :, y, x].astype(np.float64) @ window
    scaled = np.rint((sums.astype(np.float32) * _SCALE).astype(np.float64)) + _ZERO_OUT
    return scaled.clip(0, 255).astype(np.int64).reshape(_CHANNELS, _SIZE, _SIZE)


if __name__ == "__main__":
    main()
