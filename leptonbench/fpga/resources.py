"""What an accelerator takes of its part, by module, and whether that can be placed and routed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leptonbench.errors import UsageError
from leptonbench.fpga.boards import core_shape
from leptonbench.fpga.synthesis import Synthesised, Target, Use, synthesise, target_of
from leptonbench.fpga.units import Unit, units
from leptonbench.schema import RESOURCES, Board

Progress = Callable[[str], None]
Synthesise = Callable[[Unit, Target], Synthesised]

_XILINX = {"lut": 0.7, "ff": 0.5, "dsp": 0.8, "bram": 0.8, "uram": 0.8}
#: Share of each resource that may be used where the clock is to be met, by family. Xilinx's are its own recommendation,
#: as in FINN (src/finn/util/platforms.py, DEFAULT_RES_LIMITS). Lattice's are assumed the same for want of a published
#: one, but for multipliers: they stand in rows of their own, and there are few.
LIMITS = {"xc7": _XILINX, "xcup": _XILINX, "ecp5": _XILINX | {"dsp": 0.9}}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One resource of the part.

    Attributes:
        resource: One of `RESOURCES`.
        used: By all cores; `None` where a piece could not be synthesised.
        at_least: By the pieces of all cores that could.
        available: On the part.
        limit: Share of them that may be used.
    """

    resource: str
    used: float | None
    at_least: float
    available: int
    limit: float

    @property
    def share(self) -> float | None:
        """Return the used share; `None` where it is not known or the part has none of it."""
        return None if self.used is None or not self.available else self.used / self.available

    @property
    def fits(self) -> bool | None:
        """Tell whether the limit is kept; `None` where what is known keeps it, and something is not known."""
        if self.at_least > self.limit * self.available:
            return False
        return None if self.used is None else True


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a board's cores take.

    Attributes:
        board: That they are on.
        pieces: Of one core, each with what one of it takes.
    """

    board: Board
    pieces: tuple[tuple[Unit, Synthesised], ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Say of every piece without a figure why it has none."""
        return tuple(f"{unit.name}: {found.why_null}" for unit, found in self.pieces if found.use is None)

    @property
    def core(self) -> Use | None:
        """Return what one core takes, `None` where a piece is missing."""
        return None if self.missing else self.known

    @property
    def known(self) -> Use:
        """Return what the pieces of one core take that have a figure; a module that lacks one in part is left out."""
        lacking = {unit.module for unit, found in self.pieces if found.use is None}
        total = Use()
        for unit, found in self.pieces:
            if found.use is not None and unit.module not in lacking:
                total += found.use.times(unit.count)
        return total

    @property
    def fits(self) -> tuple[Fit, ...]:
        """Hold all cores against the part, resource by resource."""
        known, available, cores = self.known, self.board.part.available(), self.board.cores
        return tuple(
            Fit(
                resource=name,
                used=None if self.missing else getattr(known, name) * cores,
                at_least=getattr(known, name) * cores,
                available=available[name],
                limit=LIMITS[self.board.part.family][name],
            )
            for name in RESOURCES
        )

    def largest(self, resource: str) -> Unit:
        """Return the piece that takes most of a resource."""
        taken = [(getattr(found.use, resource) * unit.count, unit) for unit, found in self.pieces if found.use]
        return max(taken, key=lambda pair: pair[0])[1]

    def require(self, name: str) -> None:
        """Refuse a design that does not fit.

        Args:
            name: The board's, for the message.

        Raises:
            UsageError: If a limit is exceeded; says which piece takes most, and what to shrink.
        """
        over = [fit for fit in self.fits if fit.fits is False]
        if not over:
            return
        hints = []
        for fit in over:
            unit = self.largest(fit.resource)
            hints.append(f"{fit.resource}: the {unit.name} takes most; {_advice(unit, self.board.cores)}")
        raise UsageError(
            f"the accelerator does not fit on `{name}`",
            cause="; ".join(
                f"{fit.resource}: {fit.at_least:,.0f} of {fit.available:,}, of which {fit.limit:.0%} can be used"
                for fit in over
            ),
            hint="\n        ".join(hints),
        )


def resources(board: Board, *, synthesised: Synthesise = synthesise) -> Resources:
    """Return what a board's cores take, from shipped or cached results or from Yosys.

    Args:
        board: Says the core and the part.
        synthesised: Where a piece's figure comes from.

    Raises:
        UsageError: If no core can be built with its parameters.
        PrerequisiteError: If Yosys is needed and not installed.
        SynthesisError: If Yosys fails.
    """
    target = target_of(board.part)
    return Resources(
        board=board,
        pieces=tuple((unit, synthesised(unit, target)) for unit in units(core_shape(board))),
    )


def _advice(unit: Unit, cores: int) -> str:
    smaller = f"halve `{unit.shrink}`" if unit.shrink else "take a smaller array"
    return f"{smaller}, or build fewer `cores`" if cores > 1 else smaller
