"""Readings played back from a file, so that nothing downstream needs a counter to be tested."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from leptonbench.errors import MeasurementError, UsageError
from leptonbench.schema import EnergyReading


def _filled(row: dict[str, str]) -> dict[str, Any]:
    """Return the fields of a row that it has."""
    return {name: value for name, value in row.items() if value}


class ReplayMeter:
    """Return recorded readings one after the other, whatever happens in the windows."""

    least_window_s = 0.0

    def __init__(self, readings: Iterable[EnergyReading]) -> None:
        self._readings = list(readings)
        self._next = 0
        self._open = False

    @classmethod
    def from_file(cls, path: Path) -> ReplayMeter:
        """Read a JSON list of readings, or a CSV file with a column a field, empty where a reading has none.

        Raises:
            UsageError: If the file cannot be read or a row is not a reading.
        """
        try:
            text = path.read_text(encoding="utf-8")
            rows: list[dict[str, Any]] = (
                [_filled(row) for row in csv.DictReader(text.splitlines())]
                if path.suffix == ".csv"
                else json.loads(text)
            )
            return cls(EnergyReading.model_validate(row) for row in rows)
        except (OSError, ValidationError, json.JSONDecodeError, TypeError) as error:
            raise UsageError(f"`{path}` does not hold energy readings", cause=str(error)) from error

    def begin(self) -> None:
        """Open a window."""
        self._open = True

    def end(self) -> EnergyReading:
        """Return the next recorded reading.

        Raises:
            MeasurementError: If there is no open window, or no reading is left.
        """
        if not self._open:
            raise MeasurementError("the energy window was closed before it was opened")
        self._open = False
        if self._next == len(self._readings):
            raise MeasurementError(f"all {self._next} recorded readings have been played back")
        self._next += 1
        return self._readings[self._next - 1]
