"""The instruction set in NumPy, one instruction after the other: what a program computes, if its order is right.

It checks that every token is there when it is taken and that no counter overflows, but not that the tokens suffice when
units run ahead of one another: the simulated core shows that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.isa import (
    INSTRUCTION_BYTES,
    MAX_TOKENS,
    Drain,
    DrainMode,
    Exec,
    ExecMode,
    Halt,
    Instruction,
    Load,
    Store,
    Target,
    Unit,
    decode,
)
from leptonbench.fpga.numerics import AddFactors, add

_UNITS = {Load: Unit.LOAD, Exec: Unit.EXEC, Drain: Unit.DRAIN, Store: Unit.STORE}


class Interpreter:
    """A core and its DRAM, uint8."""

    def __init__(self, core: CoreShape, size_bytes: int) -> None:
        self.core = core
        self.memory = np.full(size_bytes, 0x5A, np.uint8)
        sizes = {
            Target.INPUT: core.input_granules,
            Target.WEIGHT: core.weight_granules,
            Target.PARAM: core.param_granules,
            Target.TABLE: 256 // core.rows,
        }
        random = np.random.default_rng(0)  # what was never written must not matter
        self.buffers = {
            target: random.integers(0, 256, (size, core.rows), dtype=np.uint8) for target, size in sizes.items()
        }
        self.acc = random.integers(-(2**20), 2**20, (2, core.acc_words, core.cols)).astype(np.int64)
        self.output = random.integers(0, 256, (core.slices, core.output_granules, core.rows), dtype=np.uint8)
        self.tokens: Counter[tuple[Unit, Unit]] = Counter()

    def run(self, program: int) -> None:
        """Run the program at an address, and leave no token behind that another program could take."""
        self.tokens.clear()
        for instruction in self._fetch(program):
            unit = _UNITS[type(instruction)]
            for other in _UNITS.values():
                if instruction.take & other:
                    assert self.tokens[other, unit] > 0, f"{instruction} would wait for ever"
                    self.tokens[other, unit] -= 1
            getattr(self, type(instruction).__name__.lower())(instruction)
            for other in _UNITS.values():
                if instruction.give & other:
                    self.tokens[unit, other] += 1
                    assert self.tokens[unit, other] <= MAX_TOKENS

    def _fetch(self, address: int) -> Iterator[Instruction]:
        while not isinstance(instruction := decode(self.memory[address : address + INSTRUCTION_BYTES].tobytes()), Halt):
            yield instruction
            address += INSTRUCTION_BYTES

    def load(self, do: Load) -> None:
        buffer = self.buffers[do.target]
        z, y, i = np.meshgrid(np.arange(do.z_count), np.arange(do.y_count), np.arange(do.granules), indexing="ij")
        at = do.dram + z * do.dram_z + y * do.dram_y + i * self.core.rows
        to = (do.dst + z * do.dst_z + y * do.dst_y + i) % len(buffer)
        buffer[to.reshape(-1)] = self.memory[at.reshape(-1, 1) + np.arange(self.core.rows)]

    def exec(self, do: Exec) -> None:
        words = do.acc + np.arange(do.oy_count * do.ox_count)
        assert words[-1] < self.core.acc_words
        lanes = self.core.cols if do.mode is ExecMode.ARRAY else self.core.rows
        number = 0
        for c in range(do.c_count):
            for ky in range(do.ky_count):
                for kx in range(do.kx_count):
                    vectors, padded = self._vectors(do, c, ky, kx, second=do.mode is ExecMode.PAIR and number == 1)
                    old = self.acc[do.half, words, :lanes]
                    fresh = number == 0 and not do.accumulate
                    self.acc[do.half, words, :lanes] = self._step(do, number, vectors, padded, old * (not fresh), fresh)
                    number += 1
        if do.mode is ExecMode.PAIR:
            assert number == 2

    def _vectors(self, do: Exec, c: int, ky: int, kx: int, *, second: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        oy, ox = np.meshgrid(np.arange(do.oy_count), np.arange(do.ox_count), indexing="ij")
        x = do.x0 + kx * do.kx_dx + ox * do.ox_dx
        y = do.y0 + ky * do.ky_dy + oy * do.oy_dy
        at = do.base + c * do.c_step + ky * do.ky_step + kx * do.kx_step + oy * do.oy_step + ox * do.ox_step
        flat = self.buffers[Target.INPUT].reshape(-1)
        raw = flat[(at.reshape(-1, 1) + np.arange(self.core.rows)) % flat.size]
        zero, signed = (do.w_zero, do.w_signed) if second else (do.a_zero, do.a_signed)
        values = raw.view(np.int8 if signed else np.uint8).astype(np.int64) - zero
        padded = ((x < 0) | (x >= do.in_w) | (y < 0) | (y >= do.in_h)).reshape(-1, 1)
        return np.where(padded, 0, values), padded

    def _step(
        self, do: Exec, number: int, vectors: NDArray[Any], padded: NDArray[Any], old: NDArray[Any], fresh: bool
    ) -> NDArray[Any]:
        match do.mode:
            case ExecMode.ARRAY:
                assert do.weights % self.core.slices == 0
                return old + vectors @ self._block(do, number)
            case ExecMode.LANES:
                return old + vectors * self._weights(do, do.weights + number, 1).reshape(-1)
            case ExecMode.SUM:
                return old + vectors
            case ExecMode.MAX:
                candidates = np.where(padded, -32768, vectors)
                return candidates if fresh else np.maximum(old, candidates)
            case ExecMode.PAIR:
                return vectors & 0xFFFF if number == 0 else old | vectors << 16

    def _weights(self, do: Exec, first: int, count: int) -> NDArray[Any]:
        buffer = self.buffers[Target.WEIGHT]
        raw = buffer[(first + np.arange(count)) % len(buffer)]
        return raw.view(np.int8 if do.w_signed else np.uint8).astype(np.int64) - do.w_zero

    def _block(self, do: Exec, number: int) -> NDArray[Any]:
        block = self._weights(do, do.weights + number * self.core.cols, self.core.cols)
        return block.T if do.transposed else block.reshape(self.core.rows, self.core.cols)

    def drain(self, do: Drain) -> None:
        words = self.acc[do.half, do.acc : do.acc + do.count]
        assert len(words) == do.count
        assert (np.abs(words) < 2**32).all()
        if do.mode is DrainMode.ADD:
            a, b = (words & 0xFFFF).astype(np.uint16).view(np.int16), (words >> 16).astype(np.int16)
            factors = AddFactors(*(np.uint32(code).view(np.float32) for code in (do.scale_a, do.scale_b, do.fixed)))
            wide = add(a, b, factors, dtype=np.int16).astype(np.int64)
        else:
            bias, scale = self._params(do.params)
            sums = (words + bias).astype(np.int32).astype(np.float32)
            wide = np.rint((sums * scale).astype(np.float64)).astype(np.int64)
        codes = np.clip(wide + do.zero, do.low, do.high).astype(np.uint8)
        to = (do.dst + np.arange(do.count)) % self.core.output_granules
        for part in range(self.core.slices):
            self.output[part, to] = codes[:, part * self.core.rows : (part + 1) * self.core.rows]

    def _params(self, first: int) -> tuple[NDArray[Any], NDArray[Any]]:
        buffer = self.buffers[Target.PARAM]
        raw = buffer[(first + np.arange(self.core.param_block_granules)) % len(buffer)].reshape(-1)
        half = 4 * self.core.cols
        return raw[:half].view(np.int32).astype(np.int64), raw[half:].view(np.float32)

    def store(self, do: Store) -> None:
        z, y, i = np.meshgrid(np.arange(do.z_count), np.arange(do.y_count), np.arange(do.granules), indexing="ij")
        at = do.dram + z * do.dram_z + y * do.dram_y + i * self.core.rows
        source = (do.src + z * do.src_z + y * do.src_y + i) % self.core.output_granules
        self.memory[at.reshape(-1, 1) + np.arange(self.core.rows)] = self.output[do.slice, source.reshape(-1)]
