"""Predictions of other people's accelerators beside what they published.

What is tested is the method, not our core: other designs, other compilers. Their arrays are scheduled by our compiler
as if they were ours, with their channels, pixels, clock, block RAM, ports and DRAM.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from leptonbench.errors import UsageError
from leptonbench.fpga.scoreboard.accelerators import load_catalogue
from leptonbench.fpga.scoreboard.published import load_figures
from leptonbench.fpga.scoreboard.scaling import CorePoint, SizePoint, by_cores, by_size
from leptonbench.fpga.scoreboard.score import Estimators, Prediction, Scoreboard, host_time, score

#: What the figures are, said wherever they are shown.
STATEMENT = (
    "Predictions of other people's accelerators by our method: the compiler's schedule of each layer on an array of "
    "their shape, with their clock, block RAM, ports and DRAM. It tests the method on other designs and compilers, not "
    "our core. Rates of all cores are compared with the accelerator alone, which the host may hold back; rates of one "
    "thread include the host's part of each image, whose time an input pixel is the one fitted constant."
)
#: Whose scaling is shown: those whose traffic is published.
SCALED = (
    "cf_inceptionv1_imagenet_224_224_3.16G",
    "cf_resnet50_imagenet_224_224_7.7G",
    "dk_yolov3_voc_416_416_65.42G",
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Scores, and, where asked for, how rates scale."""

    board: Scoreboard
    sizes: tuple[SizePoint, ...]
    cores: tuple[CorePoint, ...]


def report(
    *,
    published: Path | None = None,
    system: str = "",
    scaling: bool = False,
    progress: Callable[[str], None] | None = None,
    keep: bool = True,
) -> Report:
    """Predict all published figures that the method speaks of.

    Args:
        published: A file of figures in place of those that come with leptonbench.
        system: Only systems and boards whose names contain this.
        scaling: Whether to predict how rates go with the array's size and the number of cores, too.
        progress: Is told what is being predicted.
        keep: Whether schedules are kept in the cache folder.

    Raises:
        UsageError: If the file is not right, or nothing in it can be predicted.
    """
    catalogue, estimators = load_catalogue(), Estimators(keep=keep)
    ours = load_figures(catalogue)
    figures = load_figures(catalogue, published) if published else ours
    wanted = tuple(one for one in figures.used if system.lower() in f"{one.system}, {one.board}".lower())
    if not wanted:
        raise UsageError(
            "there is nothing to predict",
            cause=f"no figure is of a system like `{system}`" if system else "the method speaks of none of the figures",
            hint="`leptonbench fpga scoreboard` shows all of them, and why others are left out",
        )
    board = score(replace(figures, used=wanted), host_time(ours), estimators, progress)
    names = SCALED if scaling else ()
    if progress is not None and names:
        progress("scheduling what shows how rates scale")
    sizes = tuple(by_size(catalogue, estimators, names))
    cores = tuple(by_cores(catalogue, estimators, names))
    estimators.save()
    return Report(board=board, sizes=sizes, cores=cores)


def document(found: Report) -> dict[str, Any]:
    """Return a report as plain data; rates in 1/s, traffic in bytes a second, errors and shares as fractions."""
    board = found.board
    return {
        "statement": STATEMENT,
        "provenance": "simulated",
        "published_rows": board.figures.rows,
        "left_out": board.figures.left_out,
        "fitted": {"host_s_per_pixel": asdict(board.host) if board.host else None},
        "summaries": [asdict(summary) for summary in board.summaries],
        "figures": [_row(one) for one in board.predictions],
        "by_size": [asdict(point) for point in found.sizes],
        "by_cores": [asdict(point) for point in found.cores],
    }


def _row(one: Prediction) -> dict[str, Any]:
    figure = one.figure
    return {
        "system": figure.system,
        "board": figure.board,
        "network": figure.network,
        "threads": figure.threads,
        "clock_mhz": figure.clock_mhz,
        "releases": figure.releases,
        "published_frames_per_s": figure.frames_per_s,
        "predicted_frames_per_s": one.frames_per_s,
        "error": one.error,
        "published_utilisation": one.published_utilisation,
        "predicted_utilisation": one.utilisation,
        "sharing": one.throughput.sharing,
        "dram_bytes": one.throughput.dram_bytes,
        "calibration": one.calibration,
        "sources": list(figure.sources),
    }
