"""Ranges of a graph's activations over calibration samples: one sample in memory at a time, whatever its length.

ONNX Runtime's own calibrators are not used. They hold every sample's activations at once; their histograms take
samples of one length only; and entropy, with its defaults of 128 bins of which 128 are kept, has a single candidate, so
that it returns the minimum and maximum.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.tasks.base import Arrays

METHODS = ("minmax", "percentile", "entropy")
_BINS = 2048  # of |x|, as TensorRT's calibrator has (Migacz, 8-bit Inference with TensorRT, GTC 2017)
_LEVELS = 128  # magnitudes that 8 bits tell apart where both signs occur
_STEP = 16  # bins between two candidates of the entropy search: a threshold within 1 % of the maximum
_VALUES = 1 << 16  # of one tensor on one sample that go into its histogram, evenly spread; its extremes are exact
_FLOOR = 1e-4  # of a bin's share that an empty bin is given, so that the divergence is finite


class Range(NamedTuple):
    """Smallest and largest real value that a tensor's codes stand for."""

    low: float
    high: float


class Samples:
    """The first samples of the calibration split, encoded anew at each pass: kept, they could fill the memory.

    Args:
        source: Starts an iteration over the split; samples are in no particular order there.
        count: How many to use at most.
    """

    def __init__(self, source: Callable[[], Iterator[Arrays]], count: int) -> None:
        self._source = source
        self._count = count

    def __iter__(self) -> Iterator[Arrays]:
        return itertools.islice(self._source(), self._count)


def open_graph(model: Any) -> Any:
    """Open a graph in memory on the CPU.

    Args:
        model: An onnx `ModelProto` without external data.

    Returns:
        An `onnxruntime.InferenceSession`.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    # Preparation shares the machine with whatever else runs; threads that spin while they wait would fight over it.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A session this wide, opened to be asked a few times, gains nothing from kernels chosen for constant layouts.
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def float_tensors(model: Any) -> set[str]:
    """Return the names of a graph's fp32 tensors that are not constants; shapes must have been inferred."""
    import onnx

    constants = {tensor.name for tensor in model.graph.initializer}
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    return {name for name, kind in kinds.items() if kind == onnx.TensorProto.FLOAT} - constants


def collect_ranges(
    model: Any, tensors: Sequence[str], samples: Samples, *, method: str, percentile: float = 99.999
) -> tuple[dict[str, Range], int]:
    """Find the range of each tensor over the samples.

    Extremes are exact. `percentile` and `entropy` look at an even spread of each tensor's values and clip: magnitudes
    above a threshold share the last code. The range is then what is left of the extremes within plus and minus the
    threshold.

    Args:
        model: An onnx `ModelProto`.
        tensors: Names of fp32 tensors of the graph.
        samples: Run once for `minmax`, twice for the others.
        method: One of `METHODS`.
        percentile: Share of the magnitudes, in percent, that `percentile` keeps below the threshold.

    Returns:
        The ranges, and how many samples they are from.

    Raises:
        UsageError: If there is no sample, or a tensor is not finite on one.
    """
    ranges, count = _extremes(_reducing(model, tensors), samples)
    if method == "minmax":
        return ranges, count
    counts = _histograms(_probe(model, tensors), samples, ranges)
    find = _entropy_threshold if method == "entropy" else _percentile_threshold(percentile)
    return {name: _clip(ranges[name], counts[name], find) for name in ranges}, count


class _Probe(NamedTuple):
    """A session that returns the tensors, and which inputs are asked for themselves."""

    session: Any
    names: tuple[str, ...]
    inputs: frozenset[str]

    def __call__(self, sample: Arrays) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Yield the tensors' values on one sample."""
        yield from ((name, sample[name]) for name in self.inputs)
        if self.names:  # the engine takes an empty list for all outputs
            yield from zip(self.names, self.session.run(list(self.names), sample), strict=True)


def _probe(model: Any, tensors: Sequence[str]) -> _Probe:
    import onnx

    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    taken = {value.name for value in wide.graph.input}
    given = {value.name for value in wide.graph.output}
    inner = tuple(name for name in tensors if name not in taken)
    wide.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in inner if name not in given
    )
    return _Probe(open_graph(wide), inner, frozenset(tensors) & taken)


def _reducing(model: Any, tensors: Sequence[str]) -> Callable[[Arrays], Iterator[tuple[str, Range]]]:
    """Return a session that gives each tensor's extremes: reduced inside, nothing large leaves the engine."""
    import onnx

    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    del wide.graph.output[:]
    for name in tensors:
        for reduce in ("ReduceMin", "ReduceMax"):
            out = f"{name}/{reduce}"
            wide.graph.node.append(onnx.helper.make_node(reduce, [name], [out], keepdims=0))
            wide.graph.output.append(onnx.helper.make_tensor_value_info(out, onnx.TensorProto.FLOAT, []))
    session = open_graph(wide)

    def extremes(sample: Arrays) -> Iterator[tuple[str, Range]]:
        values = session.run(None, sample)
        for index, name in enumerate(tensors):
            yield name, Range(float(values[2 * index]), float(values[2 * index + 1]))

    return extremes


def _extremes(
    extremes: Callable[[Arrays], Iterator[tuple[str, Range]]], samples: Samples
) -> tuple[dict[str, Range], int]:
    ranges: dict[str, Range] = {}
    count = 0
    for sample in samples:
        count += 1
        for name, span in extremes(sample):
            if not np.isfinite(span).all():
                raise UsageError(
                    "the model cannot be calibrated",
                    cause=f"tensor `{name}` is not finite on calibration sample {count - 1}",
                    hint="check the model and its pre-processing in fp32 first",
                )
            seen = ranges.get(name, span)
            ranges[name] = Range(min(span.low, seen.low), max(span.high, seen.high))
    if not count:
        raise UsageError(
            "the model cannot be calibrated",
            cause="the calibration split has no sample",
            hint="give data with at least one calibration sample; a hundred or more are usual",
        )
    return ranges, count


def _histograms(probe: _Probe, samples: Samples, ranges: dict[str, Range]) -> dict[str, NDArray[np.int64]]:
    """Count magnitudes in equal bins from zero to the largest; the first pass has fixed where the bins lie."""
    counts = {name: np.zeros(_BINS, dtype=np.int64) for name in ranges}
    for sample in samples:
        for name, values in probe(sample):
            top = _magnitude(ranges[name]) if name in ranges else 0.0
            if top:
                stride = values.size // _VALUES | 1  # odd, so that no power of two of columns is left out
                scaled = np.abs(values.ravel()[::stride]) * np.float32(_BINS / top)
                bins = np.minimum(scaled.astype(np.int32), _BINS - 1)
                counts[name] += np.bincount(bins, minlength=_BINS)
    return counts


def _magnitude(span: Range) -> float:
    return max(abs(span.low), abs(span.high))


def _clip(span: Range, counts: NDArray[np.int64], find: Callable[[NDArray[np.int64]], int]) -> Range:
    """Return what is left of a range within the threshold, which `find` gives in bins."""
    if not counts.any():
        return span
    threshold = _magnitude(span) * find(counts) / _BINS
    return Range(max(span.low, -threshold), min(span.high, threshold))


def _percentile_threshold(percentile: float) -> Callable[[NDArray[np.int64]], int]:
    def find(counts: NDArray[np.int64]) -> int:
        """Return the least number of bins that hold the share."""
        share = np.cumsum(counts) / counts.sum()
        return min(int(np.searchsorted(share, percentile / 100)) + 1, len(counts))

    return find


def _entropy_threshold(counts: NDArray[np.int64]) -> int:
    """Return the number of bins whose clipped distribution loses least to 8 bits, by Kullback-Leibler divergence.

    The search of TensorRT's calibrator: for each candidate, what lies above goes to the last bin; the bins are merged
    into `_LEVELS` and spread again over those that were not empty; the candidate with the least divergence wins.
    Zeros are left out, since every threshold represents them exactly.
    """
    counts = counts.copy()
    counts[0] = counts[1]
    candidates = range(_LEVELS, len(counts) + 1, _STEP)
    return min(candidates, key=lambda bins: _divergence(counts, bins))


def _divergence(counts: NDArray[np.int64], bins: int) -> float:
    inside = counts[:bins].astype(np.float64)
    reference = inside.copy()
    reference[-1] += counts[bins:].sum()
    level = np.arange(bins) * _LEVELS // bins
    filled = inside > 0
    totals = np.bincount(level, weights=inside, minlength=_LEVELS)
    shared = np.bincount(level, weights=filled, minlength=_LEVELS)
    spread = np.where(filled, (totals / np.maximum(shared, 1))[level], 0.0)
    p, q = _smooth(reference), _smooth(spread)
    return float(np.sum(p * np.log(p / q)))


def _smooth(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    floored = np.maximum(counts, _FLOOR * max(counts.sum() / len(counts), 1e-12))
    normal: NDArray[np.float64] = floored / floored.sum()
    return normal
