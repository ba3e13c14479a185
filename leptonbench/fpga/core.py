"""The parameters of one accelerator core: the array's shape, the bus and the buffers."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from leptonbench.errors import UsageError

_MAX_GRANULES = 1 << 16  # buffer addresses are 16-bit fields of an instruction
_MAX_ACC_WORDS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class CoreShape:
    """Say how large a core is.

    A granule is `rows` bytes: one pixel's channel block, and the unit in which buffers are addressed.

    Attributes:
        rows: Multiply-accumulate rows: input channels taken in a cycle. A power of two from 4 to 64.
        cols: Columns: output channels made in a cycle. `rows` times a power of two.
        bus_bytes: Bytes of a data beat between core and DRAM. A power of two, at least `rows` and 16, at most 64.
        input_granules: Size of the input buffer, in granules.
        weight_granules: Size of the weight buffer, in granules.
        acc_words: Size of one of the accumulator's two halves, in words of `cols` int32.
        output_granules: Size of one of the output buffer's `slices`, in granules.
        param_granules: Size of the parameter memory, in granules; a block of `cols` channels takes `8 * slices`.

    Raises:
        UsageError: If a parameter is outside what the RTL can be built for.
    """

    rows: int = 16
    cols: int = 16
    bus_bytes: int = 64
    input_granules: int = 8192
    weight_granules: int = 8192
    acc_words: int = 1024
    output_granules: int = 2048
    param_granules: int = 512

    def __post_init__(self) -> None:
        self._require(_power(self.rows) and 4 <= self.rows <= 64, "rows", "a power of two from 4 to 64")
        self._require(
            self.cols % self.rows == 0 and _power(self.cols // self.rows) and self.cols <= 128,
            "cols",
            "`rows` times a power of two, at most 128",
        )
        self._require(
            _power(self.bus_bytes) and max(self.rows, 16) <= self.bus_bytes <= 64,
            "bus_bytes",
            "a power of two from 16 to 64, and at least `rows`",
        )
        for name in ("input_granules", "weight_granules", "output_granules", "param_granules"):
            value = getattr(self, name)
            self._require(_power(value) and 64 <= value <= _MAX_GRANULES, name, "a power of two from 64 to 65536")
        self._require(_power(self.acc_words) and 16 <= self.acc_words <= _MAX_ACC_WORDS, "acc_words", "a power of two")

    @property
    def slices(self) -> int:
        """How many granules an output word (`cols` bytes) has; each has its own output memory."""
        return self.cols // self.rows

    @property
    def macs_per_cycle(self) -> int:
        """The array's peak, multiply-accumulates a cycle."""
        return self.rows * self.cols

    @property
    def block_granules(self) -> int:
        """How many granules of the weight buffer one block (`rows` x `cols`) takes."""
        return self.cols

    @property
    def param_block_granules(self) -> int:
        """How many granules of the parameter memory one block of `cols` output channels takes."""
        return 8 * self.slices

    def parameters(self) -> dict[str, int]:
        """Return the Verilog parameters, by name in capitals."""
        return {name.upper(): value for name, value in asdict(self).items()}

    def _require(self, holds: bool, name: str, rule: str) -> None:
        if not holds:
            raise UsageError(
                "no core can be built with these parameters",
                cause=f"`{name}` is {getattr(self, name)}",
                hint=f"`{name}` is {rule}",
            )


def _power(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0
