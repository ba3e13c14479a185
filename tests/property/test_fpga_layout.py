"""Tensors in the core's layouts: there and back, and what lies where no element does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from leptonbench.fpga import ir
from leptonbench.fpga.compiler.layout import Blocked, RowPacked, View, parameter_blocks, weight_blocks
from leptonbench.fpga.core import CoreShape

SIDES = st.integers(1, 9)
ROWS = st.sampled_from([4, 8, 16])
SEEDS = st.integers(0, 2**32 - 1)


def _tensor(shape: tuple[int, ...], seed: int) -> tuple[ir.Tensor, np.ndarray]:
    # Never the zero point, so that padding can be told from elements.
    codes = np.random.default_rng(seed).integers(8, 256, shape).astype(np.uint8)
    return ir.Tensor(name="x", shape=shape, dtype="uint8", scale=1.0, zero_point=7), codes


@given(st.sampled_from(View), st.lists(SIDES, min_size=3, max_size=4), ROWS, SEEDS)
def test_blocks_of_channels_hold_every_element_once_and_the_zero_point_elsewhere(view, sides, rows, seed):
    shape = (1, *sides[1:]) if view is View.FIRST else tuple(sides)
    tensor, codes = _tensor(shape, seed)
    layout = Blocked(rows=rows, view=view, image=view.image(tensor))
    data = layout.pack(codes, tensor.zero_point)
    assert len(data) == layout.granules * rows
    np.testing.assert_array_equal(layout.unpack(data, tensor), codes)
    assert sorted(data) == sorted([*codes.tobytes(), *[7] * (len(data) - codes.size)])


@given(st.sampled_from(View), st.lists(SIDES, min_size=3, max_size=3), ROWS, SEEDS)
def test_a_granule_is_one_pixels_channels(view, sides, rows, seed):
    shape = (1, *sides[1:]) if view is View.FIRST else tuple(sides)
    tensor, codes = _tensor(shape, seed)
    channels, height, width = view.image(tensor)
    layout = Blocked(rows=rows, view=view, image=(channels, height, width))
    data = np.frombuffer(layout.pack(codes, 7), np.uint8).reshape(layout.blocks, height, width, rows)
    places = {
        View.FIRST: lambda c, y, x: codes.reshape(channels, height, width)[c, y, x],
        View.LAST: lambda c, y, x: codes.reshape(height, width, channels)[y, x, c],
        View.BEFORE_LAST: lambda c, y, x: codes.reshape(height, channels, width)[y, c, x],
    }
    for c, y, x in np.ndindex(channels, height, width):
        assert data[c // rows, y, x, c % rows] == places[view](c, y, x)


@given(st.integers(1, 4), SIDES, SIDES, st.integers(0, 3), st.integers(0, 3), ROWS, SEEDS)
def test_packed_rows_hold_pixels_side_by_side_between_their_padding(channels, height, width, left, right, rows, seed):
    tensor, codes = _tensor((1, channels, height, width), seed)
    layout = RowPacked(rows=rows, image=(channels, height, width), left=left, right=right)
    data = layout.pack(codes, tensor.zero_point)
    np.testing.assert_array_equal(layout.unpack(data, tensor), codes)
    lines = np.frombuffer(data, np.uint8).reshape(height, layout.row_granules * rows)
    for y in range(height):
        pixels = codes[0, :, y].T.tobytes()
        line = bytes([7] * left * channels) + pixels + bytes([7] * right * channels)
        assert lines[y].tobytes() == line.ljust(lines.shape[1], b"\7")


@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 4), SEEDS)
def test_a_block_of_weights_has_a_row_for_each_input(outputs, taps, inputs, seed):
    codes = np.random.default_rng(seed).integers(1, 100, (outputs, taps, inputs)).astype(np.int8)
    data = weight_blocks(codes, rows=4, cols=8, w_zero=-3)
    blocks = np.frombuffer(data, np.int8).reshape(taps, 4, 8)
    np.testing.assert_array_equal(blocks[:, :inputs, :outputs], codes.transpose(1, 2, 0))
    assert (blocks[:, inputs:] == -3).all()
    assert (blocks[:, :, outputs:] == -3).all()


def test_parameters_of_a_block_are_its_biases_and_then_its_scales():
    data = parameter_blocks(np.arange(10, dtype=np.int32), np.arange(10, dtype=np.float32) / 4, 8)
    core = CoreShape(rows=8, cols=8)
    assert len(data) == 2 * core.param_block_granules * core.rows
    words = np.frombuffer(data, np.int32).reshape(2, 2, 8)
    np.testing.assert_array_equal(words[1, 0], [8, 9, *[0] * 6])
    np.testing.assert_array_equal(words[0, 1].view(np.float32), np.arange(8) / 4)
