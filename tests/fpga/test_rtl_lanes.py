"""What does not multiply by a matrix: depthwise, pools, elementwise, tables; through the RTL, as NumPy says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from leptonbench.fpga import isa
from leptonbench.fpga.isa import DrainMode, ExecMode, Target, Unit
from tests.fpga.machine import Bench, Window, blocked, convolve, load, parameters, requantise, unblocked


def _finish(bench: Bench, count: int, **drain: int) -> tuple[int, list[isa.Instruction]]:
    """Return where the result of slice 0 will lie, and the instructions that drain and store it."""
    out = bench.reserve(count * bench.core.shape.rows)
    return out, [
        isa.Drain(take=Unit.EXEC, give=Unit.STORE, count=count, **drain),
        isa.Store(take=Unit.DRAIN, granules=count, dram=out),
    ]


def _one_scale(bench: Bench, scale: float) -> isa.Load:
    cols = bench.core.shape.cols
    params = parameters(np.zeros(cols, np.int32), np.full(cols, scale, np.float32), cols)
    return load(Target.PARAM, bench.put(params), params, bench.core.shape.rows)


def _image(rows: int, height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (rows, height, width), dtype=np.uint8)


@pytest.mark.parametrize(("kernel", "stride", "pad"), [((3, 3), 1, 1), ((3, 3), 2, 1), ((1, 9), 1, 4), ((1, 1), 1, 0)])
def test_a_depthwise_convolution_is_numpys(bench: Bench, kernel: tuple[int, int], stride: int, pad: int) -> None:
    rows, cols = bench.core.shape.rows, bench.core.shape.cols
    rng = np.random.default_rng(1)
    window = Window(height=8, width=9, kernel=kernel, stride=stride, pad=pad)
    image = _image(rows, 8, 9)
    weights = rng.integers(-128, 128, (rows, *kernel), dtype=np.int8)
    bias, scale = rng.integers(-500, 500, rows).astype(np.int32), rng.uniform(1e-3, 1e-2, rows).astype(np.float32)
    planes, taps, params = blocked(image, rows, 90), weights.transpose(1, 2, 0), parameters(bias, scale, cols)
    count = window.out[0] * window.out[1]
    out, tail = _finish(bench, count, zero=17)
    bench.run(
        [
            load(Target.INPUT, bench.put(planes), planes, rows),
            load(Target.PARAM, bench.put(params), params, rows),
            load(Target.WEIGHT, bench.put(taps), taps, rows, dst=5, give=Unit.EXEC),
            isa.Exec(mode=ExecMode.LANES, take=Unit.LOAD, give=Unit.DRAIN, a_zero=90, weights=5, **window.fields(rows)),
            *tail,
        ]
    )
    sums = np.concatenate(
        [convolve(image[c : c + 1], weights[c][None, None], stride=stride, pad=pad, a_zero=90) for c in range(rows)]
    )
    expected = requantise(sums, bias, scale, zero=17)
    assert np.array_equal(unblocked(bench.get(out, count * rows), rows, *window.out, rows), expected)


@pytest.mark.parametrize("signed", [False, True])
def test_a_max_pool_ignores_the_padding(bench: Bench, signed: bool) -> None:
    rows = bench.core.shape.rows
    window = Window(height=7, width=8, kernel=(3, 3), stride=2, pad=1)
    image = _image(rows, 7, 8)
    if signed:
        image = (image.astype(np.int16) - 255).clip(-128, -1).astype(np.int8)  # all below the padding's zero
    out, tail = _finish(bench, window.out[0] * window.out[1], low=-128 if signed else 0, high=127 if signed else 255)
    planes = blocked(image, rows, 0)
    bench.run(
        [
            load(Target.INPUT, bench.put(planes), planes, rows),
            _one_scale(bench, 1.0),
            isa.Load(target=Target.PARAM, dram=0, dst=bench.core.shape.param_granules - 1, give=Unit.EXEC),
            isa.Exec(mode=ExecMode.MAX, take=Unit.LOAD, give=Unit.DRAIN, a_signed=signed, **window.fields(rows)),
            *tail,
        ]
    )
    padded = np.pad(image.astype(int), ((0, 0), (1, 1), (1, 1)), constant_values=-999)
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    got = unblocked(bench.get(out, window.out[0] * window.out[1] * rows).view(image.dtype), rows, *window.out, rows)
    assert np.array_equal(got, views.max(axis=(3, 4)))


@pytest.mark.parametrize("planes", [1, 2, 5])
def test_a_global_average_accumulates_on_a_word_a_plane(bench: Bench, planes: int) -> None:
    rows = bench.core.shape.rows
    image = _image(rows * planes, 5, 7)
    scale = np.float32(0.031 / 35)
    out, tail = _finish(bench, planes, zero=3)
    data = blocked(image, rows, 0)
    bench.run(
        [
            load(Target.INPUT, bench.put(data), data, rows),
            _one_scale(bench, scale),
            isa.Load(target=Target.PARAM, dram=0, dst=bench.core.shape.param_granules - 1, give=Unit.EXEC),
            isa.Exec(
                mode=ExecMode.SUM,
                take=Unit.LOAD,
                give=Unit.DRAIN,
                a_zero=9,
                kx_count=35,
                kx_step=rows,
                oy_count=planes,
                oy_step=35 * rows,
            ),
            *tail,
        ]
    )
    sums = (image.astype(np.int64) - 9).sum(axis=(1, 2))
    expected = requantise(sums, np.zeros(len(sums)), np.full(len(sums), scale), zero=3)
    assert np.array_equal(unblocked(bench.get(out, planes * rows), rows * planes, 1, 1, rows)[:, 0, 0], expected)


def _fma(a: npt.NDArray[np.float64], factor: np.float32, addend: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return float32(a * factor + addend), rounded once: exact in long double, whose 64 bits hold the sum's."""
    exact = a.astype(np.longdouble) * np.longdouble(factor) + addend.astype(np.longdouble)
    return exact.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_an_addition_rounds_as_two_fused_multiply_adds(bench: Bench, signed: bool, seed: int) -> None:
    rows = bench.core.shape.rows
    rng = np.random.default_rng(seed)
    kind = np.int8 if signed else np.uint8
    a, b = (_image(rows, 6, 7, seed=seed + extra).view(kind) for extra in (10, 20))
    # The first pair of factors makes ties of half of the sums.
    factors = [np.float32(0.5), np.float32(0.25), np.float32(11.0)]
    if seed:
        factors = [np.float32(x) for x in (*rng.uniform(0.01, 2.0, 2), rng.uniform(-200, 200))]
    data = np.stack([blocked(a, rows, 0), blocked(b, rows, 0)])
    words = [int(factor.view(np.uint32)) for factor in factors]
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    out, tail = _finish(
        bench, 42, mode=DrainMode.ADD, scale_a=words[0], scale_b=words[1], fixed=words[2], low=low, high=high
    )
    bench.run(
        [
            load(Target.INPUT, bench.put(data), data, rows, give=Unit.EXEC),
            isa.Exec(
                mode=ExecMode.PAIR,
                take=Unit.LOAD,
                give=Unit.DRAIN,
                a_signed=signed,
                w_signed=signed,
                c_count=2,
                c_step=42 * rows,
                oy_count=42,
                oy_step=rows,
            ),
            *tail,
        ]
    )
    inner = _fma(b.astype(np.float64), factors[1], np.full(b.shape, np.float64(factors[2])))
    expected = np.clip(np.rint(_fma(a.astype(np.float64), factors[0], inner)), low, high)
    got = unblocked(bench.get(out, 42 * rows).view(kind), rows, 6, 7, rows)
    assert np.array_equal(got, expected)


def test_an_elementwise_product_is_requantised(bench: Bench) -> None:
    rows, cols = bench.core.shape.rows, bench.core.shape.cols
    a, b = _image(rows, 6, 7, seed=1), _image(rows, 6, 7, seed=2)
    data = np.stack([blocked(a, rows, 0), blocked(b, rows, 0)])
    out, tail = _finish(bench, 42, mode=DrainMode.MUL, zero=120)
    bench.run(
        [
            load(Target.INPUT, bench.put(data), data, rows),
            load(
                Target.PARAM,
                bench.put(p := parameters(np.zeros(cols), np.full(cols, 3e-3), cols)),
                p,
                rows,
                give=Unit.EXEC,
            ),
            isa.Exec(
                mode=ExecMode.PAIR,
                take=Unit.LOAD,
                give=Unit.DRAIN,
                a_zero=101,
                w_zero=33,
                w_signed=False,
                c_count=2,
                c_step=42 * rows,
                oy_count=42,
                oy_step=rows,
            ),
            *tail,
        ]
    )
    product = (a.astype(np.int64) - 101) * (b.astype(np.int64) - 33)
    expected = requantise(product, np.zeros(rows), np.full(rows, np.float32(3e-3)), zero=120)
    assert np.array_equal(unblocked(bench.get(out, 42 * rows), rows, 6, 7, rows), expected)


def test_bytes_are_looked_up_in_the_table(bench: Bench) -> None:
    rows = bench.core.shape.rows
    entries = np.random.default_rng(5).permutation(256).astype(np.uint8)
    image = np.arange(rows * 42, dtype=np.uint32).astype(np.uint8).reshape(rows, 6, 7)
    data = blocked(image, rows, 0)
    out, tail = _finish(bench, 42, lookup=True)
    bench.run(
        [
            load(Target.TABLE, bench.put(entries), entries, rows),
            _one_scale(bench, 1.0),
            load(Target.INPUT, bench.put(data), data, rows, give=Unit.EXEC),
            isa.Exec(mode=ExecMode.SUM, take=Unit.LOAD, give=Unit.DRAIN, oy_count=42, oy_step=rows),
            *tail,
        ]
    )
    assert np.array_equal(unblocked(bench.get(out, 42 * rows), rows, 6, 7, rows), entries[image])


def test_nearest_upsampling_is_a_walk_that_stands_still(bench: Bench) -> None:
    rows = bench.core.shape.rows
    image = _image(rows, 4, 5)
    data = blocked(image, rows, 0)
    out, tail = _finish(bench, 40)
    bench.run(
        [
            _one_scale(bench, 1.0),
            load(Target.INPUT, bench.put(data), data, rows, give=Unit.EXEC),
            isa.Exec(mode=ExecMode.SUM, take=Unit.LOAD, give=Unit.DRAIN, oy_count=20, oy_step=rows, ox_count=2),
            *tail,
        ]
    )
    assert np.array_equal(unblocked(bench.get(out, 40 * rows), rows, 4, 10, rows), image.repeat(2, axis=2))
