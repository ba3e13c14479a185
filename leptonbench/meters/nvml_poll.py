"""Read a GPU's power at a steady pace, in a process of its own, so that the one that is measured has no second thread.

`python -m leptonbench.meters.nvml_poll INDEX FIELD PERIOD_S` prints `ready` after the first reading and, when its
standard input is closed, a JSON list of [monotonic nanoseconds, watts]; or an error, in the same words as everywhere.
Losing its parent closes its input, so it never outlives a measurement.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable

from leptonbench.errors import LeptonError, MeasurementError
from leptonbench.meters.gpu import Gpu

_READY = "ready"
_START_S = 30.0  # a first contact with the driver takes seconds where nothing keeps it loaded


class ProcessSampler:
    """A child process that reads power until it is asked for what it read.

    Args:
        command: Of the child.
    """

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[str] | None = None

    @classmethod
    def of_gpu(cls, index: int, *, instant: bool, period_s: float) -> ProcessSampler:
        """Return the sampler of a GPU."""
        field = "instant" if instant else "usage"
        return cls([sys.executable, "-m", "leptonbench.meters.nvml_poll", str(index), field, str(period_s)])

    def start(self) -> None:
        """Start the child and wait for its first reading.

        Raises:
            MeasurementError: If none comes.
        """
        child = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._child = child
        if child.stdout is None or child.stdin is None:
            raise ValueError("the child has no pipes")
        readable, _, _ = select.select([child.stdout], [], [], _START_S)
        line = child.stdout.readline().strip() if readable else ""
        if line != _READY:
            self._child = None
            child.kill()
            child.communicate()
            raise MeasurementError(
                "the GPU's power cannot be polled",
                cause=line or f"no reading within {_START_S:g} s",
                hint="see whether `nvidia-smi` answers",
            )

    def stop(self) -> list[tuple[int, float]]:
        """Close the child's input and return its readings.

        Raises:
            MeasurementError: If it was not started, or died on the way.
        """
        if self._child is None:
            raise MeasurementError("the readings were stopped before they were started")
        child, self._child = self._child, None
        said, _ = child.communicate()
        try:
            return [(int(at_ns), float(watts)) for at_ns, watts in json.loads(said)]
        except (ValueError, TypeError) as error:
            raise MeasurementError("polling the GPU's power failed", cause=said.strip() or str(error)) from error


def poll(read_w: Callable[[], float], *, period_s: float) -> list[tuple[int, float]]:
    """Read until standard input closes; waiting for that is also the pace."""
    readings: list[tuple[int, float]] = []
    due_s = time.perf_counter()
    while True:
        watts = read_w()
        readings.append((time.perf_counter_ns(), watts))
        if len(readings) == 1:
            _say(_READY)
        due_s += period_s
        closed, _, _ = select.select([sys.stdin], [], [], max(0.0, due_s - time.perf_counter()))
        if closed:
            return readings


def _say(text: str) -> None:
    """Write a line to the parent."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """Poll the GPU that the arguments name."""
    index, field, period_s = int(arguments[0]), arguments[1], float(arguments[2])
    try:
        gpu = Gpu(index)
        readings = poll(gpu.instant_w if field == "instant" else gpu.usage_w, period_s=period_s)
    except LeptonError as error:
        _say(f"{error.message}: {error.cause}")
        return
    _say(json.dumps(readings))


if __name__ == "__main__":
    main(sys.argv[1:])
