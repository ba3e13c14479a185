"""Ranges over calibration samples: exact extremes, thresholds that clip outliers and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from leptonbench.compression.calibrate import (
    METHODS,
    Range,
    Samples,
    _entropy_threshold,
    _percentile_threshold,
    collect_ranges,
)
from leptonbench.errors import UsageError
from tests import graphs


@pytest.fixture
def model(tmp_path: Path) -> onnx.ModelProto:
    return onnx.load(str(graphs.convolutions(tmp_path / "model.onnx")))


def test_extremes_are_those_of_all_samples(model: onnx.ModelProto) -> None:
    ranges, count = collect_ranges(model, ["image", "logits"], Samples(graphs.images, 100), method="minmax")
    values = np.concatenate([sample["image"] for sample in graphs.images()])
    assert count == len(values)
    assert ranges["image"] == Range(values.min(), values.max())


def test_no_more_samples_are_used_than_asked_for(model: onnx.ModelProto) -> None:
    ranges, count = collect_ranges(model, ["image"], Samples(graphs.images, 2), method="minmax")
    values = np.concatenate([sample["image"] for sample in graphs.images(2)])
    assert count == 2
    assert ranges["image"] == Range(values.min(), values.max())


@pytest.mark.parametrize("method", METHODS)
def test_samples_of_different_lengths_and_integer_inputs_calibrate(tmp_path: Path, method: str) -> None:
    model = onnx.load(str(graphs.products(tmp_path / "model.onnx")))
    ranges, count = collect_ranges(model, ["features", "a", "c"], Samples(graphs.frames, 100), method=method)
    assert count == 6
    assert all(span.low < 0 < span.high for span in ranges.values())


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_an_outlier_is_clipped_and_the_rest_kept(model: onnx.ModelProto, method: str) -> None:
    def spiked():
        for sample in graphs.images(12):
            sample["image"][0, 0, 0, 0] = 1000.0
            yield sample

    wide, _ = collect_ranges(model, ["image"], Samples(spiked, 100), method="minmax")
    clipped, _ = collect_ranges(model, ["image"], Samples(spiked, 100), method=method, percentile=99)
    assert wide["image"].high == 1000.0
    assert clipped["image"].high < 500.0
    assert wide["image"].low <= clipped["image"].low < -1.0, "what lies within the threshold is not cut"


def test_a_percentile_of_all_clips_nothing() -> None:
    counts = np.array([5, 0, 3, 0, 1, 1])
    assert _percentile_threshold(100.0)(counts) == 6
    assert _percentile_threshold(80.0)(counts) == 3


def test_entropy_keeps_a_uniform_distribution_whole_and_cuts_a_long_tail() -> None:
    assert _entropy_threshold(np.full(2048, 100)) >= 2000
    tail = (1e6 * np.exp(-np.arange(2048) / 60)).astype(np.int64)
    tail[-1] = 1
    assert _entropy_threshold(tail) < 1000


def test_no_calibration_sample_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(UsageError) as caught:
        collect_ranges(model, ["image"], Samples(lambda: iter(()), 10), method="minmax")
    assert caught.value.cause == "the calibration split has no sample"
    assert caught.value.hint


def test_a_value_that_is_not_finite_is_refused_by_name(model: onnx.ModelProto) -> None:
    def broken():
        yield from graphs.images(1)
        yield {"image": np.full((1, 3, 12, 12), np.inf, dtype=np.float32)}

    with pytest.raises(UsageError) as caught:
        collect_ranges(model, ["image"], Samples(broken, 10), method="minmax")
    assert caught.value.cause == "tensor `image` is not finite on calibration sample 1"
