"""What a meter is: two calls around a timed window."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from leptonbench.schema import EnergyReading


class Meter(Protocol):
    """Energy of one window. Both calls are cheap (under a millisecond) and no thread runs between them."""

    def begin(self) -> None:
        """Start a window; a window that was open is forgotten."""

    def end(self) -> EnergyReading:
        """Close the window and return what was used in it.

        Raises:
            MeasurementError: If there is no open window, or the reading cannot be trusted.
        """


class Availability(NamedTuple):
    """Whether a meter can be used here and, if not, why and what would help."""

    available: bool
    reason: str = ""
    hint: str = ""
