"""Networks drawn for their shapes, and their schedules on arrays of any shape."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest

from leptonbench.fpga import ir
from leptonbench.fpga.compiler import compile_network
from leptonbench.fpga.compiler.program import DramMap
from leptonbench.fpga.compiler.schedule import Memory
from leptonbench.fpga.core import CoreShape
from leptonbench.fpga.scoreboard import estimate
from leptonbench.fpga.scoreboard.accelerators import load_catalogue
from leptonbench.fpga.scoreboard.estimate import ArrayShape, Estimate, Estimator, Supply
from leptonbench.fpga.scoreboard.networks import agrees, draw, operations
from leptonbench.fpga.scoreboard.networks.drawing import Drawing
from leptonbench.fpga.scoreboard.published import load_figures

ARRAY = ArrayShape(pixels=8, lane_pixels=4, rows=16, cols=16, on_chip_bytes=1 << 20, row_wise=False)
PLENTY = Supply(bytes_per_s=1e13, latency_s=1e-9)
catalogue = functools.cache(load_catalogue)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTONBENCH_CACHE", str(tmp_path / "cache"))


def _small() -> ir.Network:
    """A network with each kind of layer that drawings have."""
    net = Drawing((3, 32, 32))
    x = net.pool(net.convolve(net.source, 24, 7, stride=2), 3, stride=2)
    wide = net.convolve(x, 48)
    y = net.convolve(net.depthwise(wide), 24)
    x = net.join(net.add(x, y), net.enlarge(net.convolve(net.pool(x, 2, stride=2), 8)))
    net.dense(net.mean(x), 10)
    return net.network()


# ---- drawings


def test_every_drawing_has_the_operations_of_its_source() -> None:
    found = load_figures(catalogue())
    assert len({figure.network for figure in found.used}) >= 35
    for figure in found.used:
        assert figure.drawing is draw(figure.network)
    # The sources give EfficientNet-EdgeTPU a fifth to a quarter more operations than its authors' description has.
    disagreeing = [reason for reason in found.left_out if reason.startswith("our drawing")]
    assert len(disagreeing) == 3
    assert agrees(draw("cf_resnet50_imagenet_224_224_7.7G"), 7.7)  # type: ignore[arg-type]
    assert not agrees(draw("cf_resnet50_imagenet_224_224_7.7G"), 7.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "gmacs"),
    [
        # As their papers count them: He 2015 (VGG-19: its table 1), Howard 2017 table 8, Sandler 2018 table 4.
        ("cf_resnet18_imagenet_224_224_3.65G", 1.8),
        ("cf_resnet50_imagenet_224_224_7.7G", 3.8),
        ("tf_vgg19_imagenet_224_224_39.28G", 19.6),
        ("tf_mobilenetv1_1.0_imagenet_224_224_1.14G", 0.569),
        ("tf_mobilenetv2_1.0_imagenet_224_224_0.59G", 0.300),
    ],
)
def test_drawings_have_the_multiply_accumulates_of_their_papers(name: str, gmacs: float) -> None:
    network = draw(name)
    assert network is not None
    assert operations(network) / 2e9 == pytest.approx(gmacs, rel=0.02)


def test_a_drawing_refuses_shapes_that_do_not_fit() -> None:
    net = Drawing((8, 8, 8))
    half = net.pool(net.source, 2, stride=2)
    with pytest.raises(ValueError, match="cannot be added"):
        net.add(net.source, half)
    with pytest.raises(ValueError, match="cannot be joined"):
        net.join(net.source, half)
    with pytest.raises(ValueError, match="cannot be rearranged"):
        net.rearrange(half, (8, 8, 8))


@pytest.mark.parametrize(("size", "ceil", "out"), [(55, False, 27), (113, True, 56), (27, True, 13), (28, True, 14)])
def test_caffe_rounds_a_pooling_up(size: int, ceil: bool, out: int) -> None:
    net = Drawing((8, size, size))
    assert net.image(net.pool(net.source, 3, stride=2, pad="valid", ceil=ceil)) == (8, out, out)


# ---- schedules


def test_a_schedule_without_weights_is_the_compilers_own() -> None:
    network, core, memory = _small(), CoreShape(), Memory()
    compiled = compile_network(network, core, memory)
    produced = frozenset(network.tensors) - {*network.inputs}
    for layer, program in zip(network.layers, compiled.programs, strict=True):
        outline = estimate._Outline(core, network.tensors, produced, DramMap())
        found = estimate._schedule(outline, layer, memory)
        assert found["cycles"] == program.expected_cycles
        assert (found["read_bytes"], found["written_bytes"]) == (
            program.layers[0].read_bytes,
            program.layers[0].written_bytes,
        )


def test_no_array_is_faster_than_its_peak() -> None:
    network = _small()
    for array in (ARRAY, dataclasses.replace(ARRAY, rows=10, cols=10), dataclasses.replace(ARRAY, row_wise=True)):
        found = Estimator(array, 300e6, keep=False).network(network, PLENTY)
        assert found.macs == sum(network.macs(layer) for layer in network.layers)
        assert found.seconds > found.macs / (array.macs_per_cycle * 300e6)


def test_pixels_at_once_are_time_saved_and_bytes_are_not() -> None:
    net = Drawing((64, 64, 64))
    net.convolve(net.source, 64, 3)
    network = net.network()
    one = Estimator(dataclasses.replace(ARRAY, pixels=1), 300e6, keep=False).network(network, PLENTY)
    eight = Estimator(ARRAY, 300e6, keep=False).network(network, PLENTY)
    assert one.seconds / eight.seconds == pytest.approx(8, rel=0.01)
    slow = Supply(bytes_per_s=1e8, latency_s=1e-7)
    starved = Estimator(ARRAY, 300e6, keep=False).network(network, slow)
    assert starved.seconds >= eight.dram_bytes / slow.bytes_per_s
    assert starved.seconds == pytest.approx(starved.dram_bytes / slow.bytes_per_s, rel=0.1)


@pytest.mark.parametrize(("width", "pixels"), [(56, 8), (28, 7), (14, 7), (7, 7), (1, 1)])
def test_the_last_pixels_of_a_row_may_be_fewer(width: int, pixels: float) -> None:
    net = Drawing((16, width, width))
    net.convolve(net.source, 16)
    assert dataclasses.replace(ARRAY, row_wise=True).pixels_a_cycle(net.layers[0], width) == pixels
    assert ARRAY.pixels_a_cycle(net.layers[0], width) == 8


def test_schedules_are_kept_and_a_broken_file_counts_as_none(tmp_path: Path) -> None:
    scheduled: list[int] = []
    supply = Supply(bytes_per_s=1e10, latency_s=1e-7)

    def run() -> Estimate:
        estimator = Estimator(ARRAY, 300e6)
        found = estimator.network(_small(), supply, progress=lambda: scheduled.append(1))
        estimator.save()
        return found

    first = run()
    kept = sorted((tmp_path / "cache" / "fpga-schedules").glob("*.json"))
    written = [path.stat().st_ino for path in kept]
    assert run() == first
    assert len(scheduled) == 1
    assert [path.stat().st_ino for path in kept] == written  # what was known is not written again
    for path in (tmp_path / "cache" / "fpga-schedules").glob("*.json"):
        path.write_text('{"')
    assert run() == first
    assert len(scheduled) == 2
