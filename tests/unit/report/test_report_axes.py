from __future__ import annotations

import itertools

import pytest

from leptonbench.report.axes import Box, Label, make_axis, place_labels, text_width


def test_values_map_linearly_and_the_ends_keep_a_margin() -> None:
    axis = make_axis("latency_p50", "s", [0.010, 0.020], 0, 100)
    assert not axis.log
    assert axis.place(0.015) == pytest.approx(50)
    assert 0 < axis.place(0.010) < axis.place(0.020) < 100


def test_a_range_over_ten_times_is_logarithmic() -> None:
    assert not make_axis("latency_p50", "s", [1, 10], 0, 100).log
    axis = make_axis("latency_p50", "s", [0.001, 0.1], 0, 100)
    assert axis.log
    assert axis.place(0.01) == pytest.approx(50)


def test_a_single_value_and_zero_still_make_an_axis() -> None:
    assert make_axis("latency_p50", "s", [0.01], 0, 100).place(0.01) == pytest.approx(50)
    zero = make_axis("energy_per_inference", "J", [0.0, 0.0], 0, 100)
    assert zero.place(0.0) == 0
    assert zero.ticks()


def test_ticks_carry_the_display_unit_and_lie_on_the_axis() -> None:
    axis = make_axis("latency_p50", "s", [0.004, 0.031], 40, 400)
    assert axis.scale.unit == "ms"
    assert [text for _, text in axis.ticks()] == ["10", "20", "30"]
    assert all(40 <= at <= 400 for at, _ in axis.ticks())


def test_an_axis_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        make_axis("latency_p50", "s", [], 0, 1)


def box_of(label: Label, text: str) -> Box:
    left = label.x - {"start": 0.0, "middle": text_width(text) / 2, "end": text_width(text)}[label.anchor]
    middle = label.y - 3.2
    return Box(left, middle - 5.5, left + text_width(text), middle + 5.5)


def test_labels_touch_neither_each_other_nor_a_marker_nor_the_frame() -> None:
    frame = Box(0, 0, 400, 300)
    points = [(60 + 23 * (i % 5), 80 + 17 * (i // 5), f"int8-static · engine {i}") for i in range(15)]
    labels = place_labels(points, frame)
    placed = [(box_of(label, point[2]), point) for label, point in zip(labels, points, strict=True) if label]
    assert len(placed) >= 8
    for (one, _), (other, _) in itertools.combinations(placed, 2):
        assert one.overlap(other) == 0
    for (box, _), (x, y, _) in itertools.product(placed, points):
        assert box.overlap(Box(x - 5, y - 5, x + 5, y + 5)) == 0
        assert box.inside(frame)


def test_a_label_without_room_is_left_out() -> None:
    assert place_labels([(20, 20, "a label far too long for this")], Box(0, 0, 40, 40)) == [None]


def test_cjk_text_is_wider() -> None:
    assert text_width("延迟") > text_width("ab") * 1.5
