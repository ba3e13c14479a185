"""Convolutions and matrix products through the RTL, byte for byte what NumPy says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from leptonbench.fpga import isa
from leptonbench.fpga.isa import Target, Unit
from leptonbench.fpga.sim.simulator import Simulator
from tests.fpga.machine import (
    Bench,
    Window,
    blocked,
    convolve,
    load,
    parameters,
    requantise,
    unblocked,
    weight_blocks,
)

_SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Case:
    channels: int
    outputs: int
    window: Window
    signed: tuple[bool, bool]
    seed: int


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = draw(st.integers(1, 2))
    pad = draw(st.integers(0, 2))
    smallest = max(1, dilation * (max(kernel) - 1) + 1 - 2 * pad)
    window = Window(
        height=draw(st.integers(smallest, smallest + 7)),
        width=draw(st.integers(smallest, smallest + 7)),
        kernel=kernel,
        stride=draw(st.integers(1, 3)),
        pad=pad,
        dilation=dilation,
    )
    signed = (draw(st.booleans()), draw(st.booleans()))
    return Case(draw(st.integers(1, 40)), draw(st.integers(1, 16)), window, signed, draw(st.integers(0, 2**32 - 1)))


def _bytes(rng: np.random.Generator, shape: tuple[int, ...], signed: bool) -> np.ndarray:
    kind = np.int8 if signed else np.uint8
    return rng.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, shape).astype(kind)


@_SLOW
@given(case=_cases())
def test_a_convolution_is_numpys(core: Simulator, case: Case) -> None:
    bench, rows, cols = Bench(core), core.shape.rows, core.shape.cols
    rng = np.random.default_rng(case.seed)
    window = case.window
    image = _bytes(rng, (case.channels, window.height, window.width), case.signed[0])
    kernel = _bytes(rng, (case.outputs, case.channels, *window.kernel), case.signed[1])
    a_zero, w_zero = (int(_bytes(rng, (), signed)) for signed in case.signed)
    bias = rng.integers(-(2**15), 2**15, case.outputs).astype(np.int32)
    scale = (10.0 ** rng.uniform(-5, -1.5, case.outputs)).astype(np.float32)
    zero = int(rng.integers(0, 256))
    planes = blocked(image, rows, a_zero)
    blocks = weight_blocks(kernel, rows, cols, w_zero)
    assume(blocks.nbytes <= core.shape.weight_granules * rows)
    params = parameters(bias, scale, cols)
    height, width = window.out
    pixels = height * width
    slices = -(-case.outputs // rows)
    out = bench.reserve(slices * pixels * rows)
    bench.run(
        [
            load(Target.INPUT, bench.put(planes), planes, rows),
            load(Target.PARAM, bench.put(params), params, rows),
            load(Target.WEIGHT, bench.put(blocks), blocks, rows, give=Unit.EXEC),
            isa.Exec(
                take=Unit.LOAD,
                give=Unit.DRAIN,
                a_signed=case.signed[0],
                w_signed=case.signed[1],
                a_zero=a_zero,
                w_zero=w_zero,
                c_count=len(planes),
                **window.fields(rows),
            ),
            isa.Drain(take=Unit.EXEC, give=Unit.STORE, count=pixels, zero=zero),
            *(
                isa.Store(
                    take=Unit.NONE if index else Unit.DRAIN,
                    slice=index,
                    granules=pixels,
                    dram=out + index * pixels * rows,
                )
                for index in range(slices)
            ),
        ]
    )
    sums = convolve(
        image, kernel, stride=window.stride, pad=window.pad, dilation=window.dilation, a_zero=a_zero, w_zero=w_zero
    )
    expected = requantise(sums, bias, scale, zero=zero)
    got = unblocked(bench.get(out, slices * pixels * rows), case.outputs, height, width, rows)
    assert np.array_equal(got, expected)


def test_a_sum_over_several_instructions_goes_on_where_the_first_ended(bench: Bench) -> None:
    rows, cols = bench.core.shape.rows, bench.core.shape.cols
    rng = np.random.default_rng(3)
    window = Window(height=6, width=5, kernel=(3, 3), pad=1)
    image, kernel = _bytes(rng, (3 * rows, 6, 5), False), _bytes(rng, (cols, 3 * rows, 3, 3), True)
    planes, blocks = blocked(image, rows, 0), weight_blocks(kernel, rows, cols, 0)
    params = parameters(np.zeros(cols, np.int32), np.full(cols, 1e-3, np.float32), cols)
    out = bench.reserve(30 * cols)
    step = 9 * bench.core.shape.block_granules
    execs = [
        isa.Exec(
            take=Unit.NONE if part else Unit.LOAD,
            give=Unit.DRAIN if part == 2 else Unit.NONE,
            half=1,
            accumulate=part > 0,
            acc=7,
            weights=part * step,
            **(window.fields(rows) | {"base": window.fields(rows)["base"] + part * 30 * rows}),
        )
        for part in range(3)
    ]
    bench.run(
        [
            load(Target.INPUT, bench.put(planes), planes, rows),
            load(Target.PARAM, bench.put(params), params, rows, dst=bench.core.shape.param_block_granules),
            load(Target.WEIGHT, bench.put(blocks), blocks, rows, give=Unit.EXEC),
            *execs,
            isa.Drain(
                take=Unit.EXEC,
                give=Unit.STORE,
                half=1,
                acc=7,
                count=30,
                params=bench.core.shape.param_block_granules,
                zero=128,
                dst=11,
            ),
            *(
                isa.Store(take=Unit.NONE if i else Unit.DRAIN, slice=i, src=11, granules=30, dram=out + i * 30 * rows)
                for i in range(cols // rows)
            ),
        ]
    )
    sums = convolve(image, kernel, stride=1, pad=1)
    expected = requantise(sums, np.zeros(cols, np.int32), np.full(cols, 1e-3), zero=128)
    assert np.array_equal(unblocked(bench.get(out, 30 * cols), cols, 6, 5, rows), expected)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", [(1, 16, 40), (7, 5, 3), (23, 16, 64)])
def test_a_product_of_two_activations_is_numpys(bench: Bench, transposed: bool, size: tuple[int, int, int]) -> None:
    rows, cols = bench.core.shape.rows, bench.core.shape.cols
    m, n, k = size
    rng = np.random.default_rng(m)
    a, b = _bytes(rng, (m, k), False), _bytes(rng, (k, n), False)
    a_zero, b_zero = 131, 87
    scale = np.full(n, np.float32(7e-4))
    planes = blocked(a.T[:, :, None], rows, a_zero)
    depth = len(planes)
    if transposed:  # b as an activation tensor whose channels are the summed dimension: a granule is a column
        full = np.full((depth, cols, rows), b_zero, np.uint8)
        full[:, :n] = blocked(b[:, :, None], rows, b_zero)[:, :, 0]
    else:
        full = weight_blocks(b.T[:, :, None, None], rows, cols, b_zero)
    params = parameters(np.zeros(n, np.int32), scale, cols)
    slices = -(-n // rows)
    out = bench.reserve(slices * m * rows)
    bench.run(
        [
            load(Target.INPUT, bench.put(planes), planes, rows),
            load(Target.PARAM, bench.put(params), params, rows),
            load(Target.WEIGHT, bench.put(full), full, rows, give=Unit.EXEC),
            isa.Exec(
                take=Unit.LOAD,
                give=Unit.DRAIN,
                a_zero=a_zero,
                w_zero=b_zero,
                w_signed=False,
                transposed=transposed,
                c_count=depth,
                oy_count=m,
                oy_step=rows,
                c_step=m * rows,
            ),
            isa.Drain(take=Unit.EXEC, give=Unit.STORE, count=m, zero=128),
            *(
                isa.Store(take=Unit.NONE if i else Unit.DRAIN, slice=i, granules=m, dram=out + i * m * rows)
                for i in range(slices)
            ),
        ]
    )
    sums = (a.astype(np.int64) - a_zero) @ (b.astype(np.int64) - b_zero)
    expected = requantise(sums.T, np.zeros(n, np.int32), scale, zero=128)
    assert np.array_equal(unblocked(bench.get(out, slices * m * rows), n, m, 1, rows)[:, :, 0], expected)


@pytest.mark.parametrize(("channels", "kernel", "stride"), [(3, 7, 2), (1, 3, 2), (4, 5, 1), (3, 11, 4)])
def test_a_first_layer_is_walked_over_rows_of_bytes(bench: Bench, channels: int, kernel: int, stride: int) -> None:
    rows, cols = bench.core.shape.rows, bench.core.shape.cols
    rng = np.random.default_rng(kernel)
    height, width, pad, a_zero = 15, 17, kernel // 2, 107
    image, weights = _bytes(rng, (channels, height, width), False), _bytes(rng, (cols, channels, kernel, kernel), True)
    out_h, out_w = Window(height=height, width=width, kernel=(kernel, kernel), stride=stride, pad=pad).out
    pitch = -(-((width + 2 * pad) * channels + rows) // rows) * rows
    lines = np.full((height, pitch), a_zero, np.uint8)
    lines[:, pad * channels : (pad + width) * channels] = image.transpose(1, 2, 0).reshape(height, -1)
    passes = -(-kernel * channels // rows)
    packed = np.zeros((kernel, passes * rows, cols), np.int8)
    packed[:, : kernel * channels] = weights.transpose(2, 3, 1, 0).reshape(kernel, -1, cols)
    params = parameters(np.zeros(cols, np.int32), np.full(cols, 2e-3, np.float32), cols)
    out = bench.reserve(out_h * out_w * cols)
    pixels = out_h * out_w
    bench.run(
        [
            load(Target.INPUT, bench.put(lines), lines, rows),
            load(Target.PARAM, bench.put(params), params, rows),
            load(Target.WEIGHT, bench.put(packed), packed, rows, give=Unit.EXEC),
            isa.Exec(
                take=Unit.LOAD,
                give=Unit.DRAIN,
                a_zero=a_zero,
                base=-pad * pitch,
                ky_count=kernel,
                kx_count=passes,
                oy_count=out_h,
                ox_count=out_w,
                y0=-pad,
                in_h=height,
                oy_dy=stride,
                ky_dy=1,
                ox_step=stride * channels,
                oy_step=stride * pitch,
                kx_step=rows,
                ky_step=pitch,
            ),
            isa.Drain(take=Unit.EXEC, give=Unit.STORE, count=pixels, zero=100),
            *(
                isa.Store(take=Unit.NONE if i else Unit.DRAIN, slice=i, granules=pixels, dram=out + i * pixels * rows)
                for i in range(cols // rows)
            ),
        ]
    )
    sums = convolve(image, weights, stride=stride, pad=pad, a_zero=a_zero)
    expected = requantise(sums, np.zeros(cols, np.int32), np.full(cols, 2e-3), zero=100)
    assert np.array_equal(unblocked(bench.get(out, pixels * cols), cols, out_h, out_w, rows), expected)
