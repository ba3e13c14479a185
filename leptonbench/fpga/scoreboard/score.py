"""Predictions beside published figures: the error of each, and what the errors of a group come to."""

from __future__ import annotations

import functools
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leptonbench.fpga.scoreboard.accelerators import Accelerator
from leptonbench.fpga.scoreboard.contention import Throughput, throughput
from leptonbench.fpga.scoreboard.estimate import Estimator
from leptonbench.fpga.scoreboard.published import Figure, Figures

#: The one fitted constant: the host's seconds an input pixel, where one thread works on one image at a time.
CALIBRATION_BOARD = "Ultra96"
_FEWEST = 4  # figures from which quartiles are told


@dataclass(frozen=True, kw_only=True)
class HostTime:
    """What the host adds to an image that nothing else overlaps with: decoding, scaling, and what follows the network.

    It is fitted to published pairs of one board, one thread against many, and to no prediction.

    Attributes:
        s_per_pixel: The median over networks.
        low: First quartile.
        high: Third quartile.
        pairs: Networks that it is the median of.
    """

    s_per_pixel: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A published rate and ours.

    Attributes:
        figure: Published.
        frames_per_s: Predicted.
        calibration: Whether the figure took part in fitting the host's time.
        throughput: Of the accelerator alone.
    """

    figure: Figure
    frames_per_s: float
    calibration: bool
    throughput: Throughput

    @property
    def error(self) -> float:
        """Return by how much the prediction is above the published rate, as a share of it."""
        return self.frames_per_s / self.figure.frames_per_s - 1

    @property
    def utilisation(self) -> float:
        """Return the share of the peak that is predicted, of the cores in use."""
        return self._share(self.frames_per_s)

    @property
    def published_utilisation(self) -> float:
        """Return the share of the peak that was published, of the cores in use."""
        return self._share(self.figure.frames_per_s)

    def _share(self, frames_per_s: float) -> float:
        accelerator = self.figure.accelerator
        peak = accelerator.peak_macs_per_s / (accelerator.cores if self.figure.single else 1)
        return frames_per_s * self.throughput.macs / peak


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Signed errors of a group, as shares.

    Attributes:
        name: Of the group.
        calibration: Whether its figures took part in fitting.
        figures: How many, releases of the same counted once.
        rows: Published rows behind them.
        median: Of the errors.
        low: First quartile; `None` of fewer than four.
        high: Third quartile; `None` of fewer than four.
        mean_absolute: Of the errors.
    """

    name: str
    calibration: bool
    figures: int
    rows: int
    median: float
    low: float | None
    high: float | None
    mean_absolute: float


@dataclass(frozen=True, kw_only=True)
class Scoreboard:
    """All of it.

    Attributes:
        predictions: One a figure.
        summaries: One a group; the first two are all that were fitted to nothing, and all with the host's time.
        host: The fitted constant; `None` where the figures have no pair to fit it to.
        figures: What was read and what was left out.
    """

    predictions: tuple[Prediction, ...]
    summaries: tuple[Summary, ...]
    host: HostTime | None
    figures: Figures


def host_time(figures: Figures) -> HostTime | None:
    """Fit the host's time to the pairs of the board that is set aside for it; `None` without two pairs."""
    rates: dict[tuple[str, ...], dict[bool, Figure]] = defaultdict(dict)
    for figure in figures.used:
        if figure.board == CALIBRATION_BOARD:
            rates[figure.system, figure.network][figure.single] = figure
    added = sorted(
        (1 / pair[True].frames_per_s - 1 / pair[False].frames_per_s) / _pixels(pair[True])
        for pair in rates.values()
        if len(pair) == 2
    )
    if len(added) < 2:
        return None
    low, middle, high = statistics.quantiles(added, n=4, method="inclusive")
    return HostTime(s_per_pixel=middle, low=low, high=high, pairs=len(added))


def _pixels(figure: Figure) -> int:
    _, height, width = figure.drawing.tensors[figure.drawing.inputs[0]].image
    return height * width


class Estimators:
    """Makes each estimator once."""

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._made: dict[tuple[object, float], Estimator] = {}

    def of(self, accelerator: Accelerator) -> Estimator:
        """Return the estimator of an accelerator's cores."""
        key = (accelerator.array, accelerator.clock_hz)
        if key not in self._made:
            self._made[key] = Estimator(accelerator.array, accelerator.clock_hz, keep=self._keep)
        return self._made[key]

    def save(self) -> None:
        """Keep all that was scheduled."""
        for estimator in self._made.values():
            estimator.save()


def score(
    figures: Figures,
    host: HostTime | None,
    estimators: Estimators,
    progress: Callable[[str], None] | None = None,
) -> Scoreboard:
    """Predict every figure that the method speaks of.

    Args:
        figures: Published.
        host: The host's time of an image, for figures of one thread; they are left out without it.
        estimators: Of the arrays.
        progress: Is told of each figure whose layers have to be scheduled.
    """
    predictions = []
    for figure in figures.used:
        if figure.single and host is None:
            continue
        accelerator = figure.accelerator
        active = 1 if figure.single else accelerator.cores
        telling = functools.partial(progress, f"scheduling {figure.network} for {figure.system}") if progress else None
        found = throughput(accelerator, estimators.of(accelerator), figure.drawing, active=active, progress=telling)
        rate = found.frames_per_s
        if figure.single and host is not None:
            rate = 1 / (found.frame_s + host.s_per_pixel * _pixels(figure))
        predictions.append(
            Prediction(
                figure=figure,
                frames_per_s=rate,
                calibration=figure.single and figure.board == CALIBRATION_BOARD,
                throughput=found,
            )
        )
        estimators.save()
    return Scoreboard(predictions=tuple(predictions), summaries=_summaries(predictions), host=host, figures=figures)


def _summaries(predictions: Sequence[Prediction]) -> tuple[Summary, ...]:
    groups: dict[tuple[str, bool], list[Prediction]] = {
        ("accelerator alone, all", False): [one for one in predictions if not one.figure.single],
        ("with the host's time, all", False): [one for one in predictions if one.figure.single and not one.calibration],
    }
    for one in predictions:
        threads = "1 thread" if one.figure.single else "all cores"
        name = f"{one.figure.accelerator.family}, {one.figure.board}, {threads}"
        groups.setdefault((name, one.calibration), []).append(one)
    return tuple(_summary(name, calibration, group) for (name, calibration), group in groups.items() if group)


def _summary(name: str, calibration: bool, group: Sequence[Prediction]) -> Summary:
    errors = [one.error for one in group]
    quartiles = statistics.quantiles(errors, n=4, method="inclusive") if len(errors) >= _FEWEST else None
    return Summary(
        name=name,
        calibration=calibration,
        figures=len(group),
        rows=sum(one.figure.releases for one in group),
        median=statistics.median(errors),
        low=quartiles[0] if quartiles else None,
        high=quartiles[2] if quartiles else None,
        mean_absolute=statistics.fmean(map(abs, errors)),
    )
