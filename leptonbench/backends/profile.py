"""Where an engine spends its time, by kind of operator: asked outside timing, to say why a variant is not faster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from numpy.typing import NDArray

WARM_RUNS = 2  # first runs allocate and pack weights: left out


class OperatorTimes(NamedTuple):
    """An engine's own profile of one inference.

    Attributes:
        seconds: By the engine's name of the operator, the least over the runs: what else the machine does only adds.
            The profiler itself takes time, most of it on short operators: shares are sound, the sum is not a latency.
        counts: How often each ran in one inference.
        runs: Inferences behind it.
    """

    seconds: dict[str, float]
    counts: dict[str, int]
    runs: int

    def as_json(self) -> dict[str, Any]:
        """Return it as a record can hold it, the longest first."""
        longest = sorted(self.seconds, key=lambda name: -self.seconds[name])
        return {
            "seconds": {name: self.seconds[name] for name in longest},
            "counts": {name: self.counts[name] for name in longest},
            "runs": self.runs,
        }


@runtime_checkable
class Profiled(Protocol):
    """A session that can say where its time goes; it was opened with `RuntimeOptions(profile=True)`."""

    def profile(self, samples: Sequence[Mapping[str, NDArray[Any]]]) -> OperatorTimes:
        """Run each sample once, after a few to warm up; the session cannot be run afterwards.

        Raises:
            ValueError: If there is no sample, or the session was opened for timing.
        """


def warmed(samples: Sequence[Mapping[str, NDArray[Any]]]) -> list[Mapping[str, NDArray[Any]]]:
    """Return the samples after those to warm up with."""
    if not samples:
        raise ValueError("a profile needs a sample")
    return [*(samples[i % len(samples)] for i in range(WARM_RUNS)), *samples]


def summarise(runs: Sequence[Iterable[tuple[str, float]]]) -> OperatorTimes:
    """Sum the seconds of each operator in each run, and take the least over the runs.

    Args:
        runs: By run: operator and seconds of each call; those to warm up with come first and are left out.
    """
    sums: list[Counter[str]] = []
    counts: Counter[str] = Counter()
    for run in runs[WARM_RUNS:]:
        calls = list(run)
        total: Counter[str] = Counter()
        for name, seconds in calls:
            total[name] += seconds  # type: ignore[assignment]  # a Counter of floats
        sums.append(total)
        counts = Counter(name for name, _ in calls)
    names = sorted({name for total in sums for name in total})
    seconds_by = {name: min(float(total[name]) for total in sums) for name in names}
    return OperatorTimes(seconds_by, {name: counts[name] for name in names}, len(sums))
