"""A hand assembler's bench for the core: places tensors in DRAM, runs instructions, and states each mode in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from leptonbench.fpga import isa
from leptonbench.fpga.sim.simulator import Dram, Run, Simulator

Array = npt.NDArray[np.generic]
_PROGRAM = 0  # where programs lie
_DATA = 1 << 16


@dataclass
class Bench:
    """Memory handed out from the bottom up, and programs run on it."""

    core: Simulator
    at: int = field(default=_DATA)

    def put(self, data: Array) -> int:
        """Copy bytes to DRAM; return their address."""
        raw = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        address = self.reserve(len(raw))
        self.core.memory[address : address + len(raw)] = raw
        return address

    def reserve(self, size: int, *, fill: int = 0xA5) -> int:
        address = self.at
        self.at += -(-size // 64) * 64 + 64
        self.core.memory[address : self.at] = fill
        return address

    def get(self, address: int, size: int) -> npt.NDArray[np.uint8]:
        return self.core.memory[address : address + size].copy()

    def run(self, instructions: list[isa.Instruction], *, dram: Dram | None = None, **options: int) -> Run:
        code = isa.encode_program([*instructions, isa.Halt()])
        assert len(code) <= _DATA
        self.core.memory[_PROGRAM : _PROGRAM + len(code)] = np.frombuffer(code, np.uint8)
        return self.core.run(_PROGRAM, dram=dram, **options)


def blocked(image: Array, rows: int, pad: int) -> Array:
    """Turn `[C, H, W]` bytes into the layout of activations, `[ceil(C / rows), H, W, rows]`."""
    channels, height, width = image.shape
    blocks = -(-channels // rows)
    full = np.full((blocks * rows, height, width), pad, image.dtype)
    full[:channels] = image
    return full.reshape(blocks, rows, height, width).transpose(0, 2, 3, 1)


def unblocked(data: Array, channels: int, height: int, width: int, rows: int) -> Array:
    """Undo `blocked`."""
    blocks = -(-channels // rows)
    return data.reshape(blocks, height, width, rows).transpose(0, 3, 1, 2).reshape(-1, height, width)[:channels]


def weight_blocks(kernel: Array, rows: int, cols: int, pad: int) -> Array:
    """Turn `[cols, C, kh, kw]` bytes of one block of output channels into blocks in the order of the walk."""
    outputs, channels, height, width = kernel.shape
    blocks = -(-channels // rows)
    full = np.full((cols, blocks * rows, height, width), pad, kernel.dtype)
    full[:outputs, :channels] = kernel
    return full.reshape(cols, blocks, rows, height, width).transpose(1, 3, 4, 2, 0)


def parameters(bias: Array, scale: Array, cols: int) -> Array:
    """Return biases and scales of one block of output channels, as bytes."""
    padded = np.zeros((2, cols), np.int32)
    padded[0, : len(bias)] = bias
    padded[1, : len(scale)] = np.asarray(scale, np.float32).view(np.int32)
    return padded


def convolve(
    image: Array, kernel: Array, *, stride: int, pad: int, dilation: int = 1, a_zero: int = 0, w_zero: int = 0
) -> npt.NDArray[np.int64]:
    """Return int64 sums `[outputs, H, W]` of `(image - a_zero) * (kernel - w_zero)`, padded with the zero point."""
    a = np.pad(image.astype(np.int64) - a_zero, ((0, 0), (pad, pad), (pad, pad)))
    w = kernel.astype(np.int64) - w_zero
    reach = dilation * (np.array(w.shape[2:]) - 1) + 1
    height, width = (np.array(a.shape[1:]) - reach) // stride + 1
    out = np.zeros((w.shape[0], height, width), np.int64)
    for y in range(w.shape[2]):
        for x in range(w.shape[3]):
            rows = slice(y * dilation, y * dilation + stride * (height - 1) + 1, stride)
            columns = slice(x * dilation, x * dilation + stride * (width - 1) + 1, stride)
            out += np.einsum("oc,chw->ohw", w[:, :, y, x], a[:, rows, columns])
    return out


def requantise(
    sums: Array, bias: Array, scale: Array, *, zero: int, low: int = 0, high: int = 255
) -> npt.NDArray[np.int64]:
    """Apply ONNX Runtime's requantisation: float32, one product, half to even; channels come first."""
    shape = (-1,) + (1,) * (sums.ndim - 1)
    total = (sums + bias.reshape(shape)).astype(np.int32).astype(np.float32)
    scaled = (total * np.asarray(scale, np.float32).reshape(shape)).astype(np.float64)
    return np.clip(np.rint(scaled).astype(np.int64) + zero, low, high)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A kernel's window over an image of `height` x `width`."""

    height: int
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    pad: int = 0
    dilation: int = 1

    @property
    def out(self) -> tuple[int, int]:
        """Output height and width."""
        reach = [self.dilation * (size - 1) + 1 for size in self.kernel]
        return (
            (self.height + 2 * self.pad - reach[0]) // self.stride + 1,
            (self.width + 2 * self.pad - reach[1]) // self.stride + 1,
        )

    def fields(self, rows: int) -> dict[str, int]:
        """Return the fields of an EXEC that walks it over an image at granule 0, one plane after another."""
        pitch = self.width * rows
        return {
            "base": -self.pad * (pitch + rows),
            "ky_count": self.kernel[0],
            "kx_count": self.kernel[1],
            "oy_count": self.out[0],
            "ox_count": self.out[1],
            "x0": -self.pad,
            "y0": -self.pad,
            "in_w": self.width,
            "in_h": self.height,
            "ox_dx": self.stride,
            "oy_dy": self.stride,
            "kx_dx": self.dilation,
            "ky_dy": self.dilation,
            "ox_step": self.stride * rows,
            "oy_step": self.stride * pitch,
            "kx_step": self.dilation * rows,
            "ky_step": self.dilation * pitch,
            "c_step": self.height * pitch,
        }


def load(target: isa.Target, dram: int, data: Array, rows: int, **fields: int) -> isa.Load:
    """Return a LOAD of a whole array."""
    return isa.Load(target=target, dram=dram, granules=-(-data.nbytes // rows), **fields)
