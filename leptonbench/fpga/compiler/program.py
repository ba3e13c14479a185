"""Where things lie in DRAM, and what a compiled layer is."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.fpga.compiler.bound import Bound
from leptonbench.fpga.compiler.layout import Layout
from leptonbench.fpga.compiler.schedule import Schedule
from leptonbench.fpga.ir import Tensor
from leptonbench.fpga.isa import Instruction

_ALIGN = 128  # at least the widest bus
_LIMIT = 1 << 32  # addresses are 32-bit fields of an instruction


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a tensor lies.

    Attributes:
        address: Of its first byte.
        layout: Of its elements.
    """

    address: int
    layout: Layout

    def pack(self, array: NDArray[Any], tensor: Tensor) -> bytes:
        """Return the bytes of a tensor in this layout."""
        return self.layout.pack(array, tensor.zero_point)

    @property
    def size_bytes(self) -> int:
        """Return how many bytes it takes."""
        return self.layout.granules * self.layout.rows


@dataclass
class DramMap:
    """Hands out DRAM, and remembers what is constant in it.

    Attributes:
        placements: Of tensors, by name and layout.
        constants: Address and bytes of weights and parameters.
    """

    placements: dict[tuple[str, Layout], Placement] = field(default_factory=dict)
    constants: list[tuple[int, bytes]] = field(default_factory=list)
    _top: int = 0

    @property
    def size_bytes(self) -> int:
        """Return how much is in use."""
        return self._top

    def reserve(self, size_bytes: int) -> int:
        """Return the address of so many new bytes.

        Raises:
            UsageError: If the network does not fit into the core's address space.
        """
        address, self._top = self._top, self._top + -(-size_bytes // _ALIGN) * _ALIGN
        if self._top > _LIMIT:
            raise UsageError(
                "the network is too large for the accelerator",
                cause=f"its tensors and weights take {self._top} bytes; addresses have 32 bits",
                hint="compile fewer layers at a time",
            )
        return address

    def place(self, name: str, layout: Layout, *, spare_granules: int = 0) -> Placement:
        """Return where a tensor lies in a layout; a tensor read in two layouts lies there twice.

        Args:
            name: Of the tensor.
            layout: Of its elements.
            spare_granules: What may be read beyond its end.
        """
        key = (name, layout)
        if key not in self.placements:
            address = self.reserve((layout.granules + spare_granules) * layout.rows)
            self.placements[key] = Placement(address=address, layout=layout)
        return self.placements[key]

    def keep(self, data: bytes) -> int:
        """Return the address of constant bytes."""
        address = self.reserve(len(data))
        self.constants.append((address, data))
        return address


@dataclass(frozen=True, kw_only=True)
class CompiledLayer:
    """One layer as it was compiled.

    Attributes:
        name: Of the layer.
        kind: Of the layer: the name of its class in the intermediate representation.
        reads: Tensors that it reads, and where from.
        writes: The tensor that it writes, and where to.
        macs: Multiply-accumulates of the layer itself, without what padding to blocks adds.
        bound: Cycles that each resource needs at least.
        expected_end: Cycle of its program in which it is expected to end.
        read_bytes: From DRAM, instructions apart.
        written_bytes: To DRAM.
        tiling: How it was cut, in words.
        stamp: Number by which the simulator notes the end of its last STORE.
        shape: Equal for layers that take equally long.
    """

    name: str
    kind: str
    reads: tuple[tuple[str, Placement], ...]
    writes: tuple[str, Placement]
    macs: int
    bound: Bound
    expected_end: float
    read_bytes: int
    written_bytes: int
    tiling: str
    stamp: int
    shape: Hashable


@dataclass(frozen=True, kw_only=True)
class Program:
    """What the core runs at one go.

    Attributes:
        layers: Of the program, in order.
        instructions: With tokens, the last one a Halt.
        address: Of the first instruction in DRAM.
        expected_cycles: What it is expected to take.
        schedule: That the instructions come from.
    """

    layers: tuple[CompiledLayer, ...]
    instructions: tuple[Instruction, ...] = field(repr=False)
    address: int
    expected_cycles: float
    schedule: Schedule = field(repr=False, compare=False)

    @property
    def reads(self) -> tuple[tuple[str, Placement], ...]:
        """Return the tensors that must be in DRAM before it starts, and where."""
        written: set[str] = set()
        found: dict[tuple[str, Placement], None] = {}
        for layer in self.layers:
            found |= {read: None for read in layer.reads if read[0] not in written}
            written.add(layer.writes[0])
        return tuple(found)
