"""The float32 lanes against NumPy's float32, value by value: ties, saturation, sums beyond 2^24, subnormal scales."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leptonbench.fpga import isa
from leptonbench.fpga.isa import DrainMode, ExecMode, Target, Unit
from leptonbench.fpga.sim.simulator import Simulator
from tests.fpga.machine import Bench, load

_SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_BATCH = 4  # drains a program; each rounds one value a lane

_EDGES = [0, 1, -1, 2**24 - 1, 2**24, 2**24 + 1, 2**24 + 3, 2**25 + 2, 2**31 - 1, -(2**31), -(2**24) - 1, 2**30 + 64]
_INTEGERS = (
    st.sampled_from(_EDGES)
    | st.integers(-(2**31), 2**31 - 1)
    | st.integers(-3000, 3000)
    | st.integers(0, 30).flatmap(lambda bits: st.integers(-(2**bits), 2**bits))
)
_SCALES = (
    st.floats(2.0**-20, 1.0, width=32)
    | st.integers(-30, 4).map(lambda power: 2.0**power)  # exact ties
    | st.integers(1, 4000).map(lambda n: float(np.float32(1 / n)))
    | st.floats(0.0, 2.0**-126, width=32)  # subnormal
    | st.sampled_from([0.0, 2.0**127, 2.0**-126, 1.5, 0.5, -0.25])
)
_FACTORS = st.floats(2.0**-10, 4.0, width=32) | st.integers(-9, 3).map(lambda power: 2.0**power)
_ADDENDS = (
    st.floats(-600, 600, width=32).filter(lambda value: value == 0 or abs(value) > 1e-30)
    | st.integers(-400, 400).map(lambda value: value / 2)
    | st.sampled_from([0.0, 2.0**-40, -(2.0**-60), 1e-30])
)


def _clear(bench: Bench, words: int) -> list[isa.Instruction]:
    """Write zeros to the first words of half 0."""
    return [isa.Exec(mode=ExecMode.SUM, in_w=0, oy_count=words, give=Unit.DRAIN)]


@_SLOW
@given(data=st.data(), zero=st.integers(-128, 255), limits=st.sampled_from([(0, 255), (-128, 127), (3, 90)]))
def test_requantisation_rounds_as_float32_does(
    core: Simulator, data: st.DataObject, zero: int, limits: tuple[int, int]
) -> None:
    bench, shape = Bench(core), core.shape
    size = _BATCH * shape.cols
    sums = np.array(data.draw(st.lists(_INTEGERS, min_size=size, max_size=size)), np.int64).astype(np.int32)
    scales = np.array(data.draw(st.lists(_SCALES, min_size=size, max_size=size)), np.float32)
    params = np.stack([sums.reshape(_BATCH, -1), scales.view(np.int32).reshape(_BATCH, -1)], axis=1)
    out = bench.reserve(size)
    drains = [
        isa.Drain(
            take=Unit.NONE if index else Unit.EXEC | Unit.LOAD,
            give=Unit.STORE if index == _BATCH - 1 else Unit.NONE,
            params=index * shape.param_block_granules,
            dst=index,
            zero=zero,
            low=limits[0],
            high=limits[1],
        )
        for index in range(_BATCH)
    ]
    bench.run(
        [
            load(Target.PARAM, bench.put(params), params, shape.rows, give=Unit.DRAIN),
            *_clear(bench, 1),
            *drains,
            *(
                isa.Store(
                    take=Unit.NONE if piece else Unit.DRAIN,
                    slice=piece,
                    granules=_BATCH,
                    dram=out + piece * _BATCH * shape.rows,
                )
                for piece in range(shape.slices)
            ),
        ]
    )
    with np.errstate(over="ignore"):
        scaled = (sums.astype(np.float32) * scales).astype(np.float64)
    expected = (np.rint(np.clip(scaled, -1e6, 1e6)) + zero).clip(*limits).astype(np.int64) & 0xFF
    got = bench.get(out, size).reshape(shape.slices, _BATCH, shape.rows).transpose(1, 0, 2).reshape(-1)
    wrong = np.flatnonzero(got != expected)
    assert not len(wrong), (sums[wrong], scales[wrong], got[wrong], expected[wrong])


def _fma(a: npt.NDArray[np.float64], factor: float, addend: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return float32(a * factor + addend), rounded once.

    The product has 33 bits, so it is exact in float64; their sum is rounded to odd there (Boldo and Melquiond), after
    which rounding to float32 is as if it were the first.
    """
    product = a * factor
    total = product + addend
    virtual = total - product
    error = (product - (total - virtual)) + (addend - virtual)  # exact: Knuth's two-sum
    even = (total.view(np.int64) & 1) == 0
    away = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where((error != 0) & even, total.view(np.int64) + away, total.view(np.int64)).view(np.float64)
    return odd.astype(np.float32).astype(np.float64)


@_SLOW
@given(
    factor_a=_FACTORS,
    factor_b=_FACTORS,
    addend=_ADDENDS,
    seed=st.integers(0, 2**32 - 1),
    signed=st.booleans(),
)
def test_additions_round_as_fused_float32_does(
    core: Simulator, factor_a: float, factor_b: float, addend: float, seed: int, signed: bool
) -> None:
    bench, shape = Bench(core), core.shape
    kind = np.int8 if signed else np.uint8
    words = 64
    pair = np.random.default_rng(seed).integers(0, 256, (2, words, shape.rows)).astype(np.uint8).view(kind)
    bits = [int(np.float32(value).view(np.uint32)) for value in (factor_a, factor_b, addend)]
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    out = bench.reserve(words * shape.rows)
    bench.run(
        [
            load(Target.INPUT, bench.put(pair), pair, shape.rows, give=Unit.EXEC),
            isa.Exec(
                mode=ExecMode.PAIR,
                take=Unit.LOAD,
                give=Unit.DRAIN,
                a_signed=signed,
                w_signed=signed,
                c_count=2,
                c_step=words * shape.rows,
                oy_count=words,
                oy_step=shape.rows,
            ),
            isa.Drain(
                mode=DrainMode.ADD,
                take=Unit.EXEC,
                give=Unit.STORE,
                count=words,
                low=low,
                high=high,
                scale_a=bits[0],
                scale_b=bits[1],
                fixed=bits[2],
            ),
            isa.Store(take=Unit.DRAIN, granules=words, dram=out),
        ]
    )
    a, b = pair.astype(np.float64)
    inner = _fma(b, factor_b, np.full(b.shape, addend))
    expected = np.rint(_fma(a, factor_a, inner)).clip(low, high)
    assert np.array_equal(bench.get(out, words * shape.rows).view(kind).reshape(words, -1), expected)
