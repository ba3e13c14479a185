"""What a meter is: two calls around a timed window."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from leptonbench.schema import EnergyReading


class Meter(Protocol):
    """Energy of one window.

    No thread runs between the calls. Opening a window may wait for a sensor, for nothing is timed yet; closing one
    takes what has been read.

    Attributes:
        least_window_s: What the harness stretches the window to, so that the meter's own steps are a small part of it.
    """

    @property
    def least_window_s(self) -> float:
        """Return the shortest window whose reading is worth having, in seconds."""

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
