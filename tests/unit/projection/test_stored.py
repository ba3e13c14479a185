"""What ships is what the data give: constants, errors and the page belong to the table beside them."""

from __future__ import annotations

import pytest

from benchmarks.projection_backtest import BEGIN, END, PAGE, page_section
from leptonbench.projection.anchors import Kin, Own
from leptonbench.projection.backtest import PROTOCOLS, claims, leave_out
from leptonbench.projection.fit import START
from leptonbench.projection.model import Likelihood
from leptonbench.projector.published import accelerators, back_test, published_observations, published_table, table_of

GOAL = 0.11


def test_the_stored_errors_are_those_of_the_stored_constants_on_the_table() -> None:
    stored = back_test()
    table = published_table()
    assert stored.observations == len(table.observations)
    found = claims([trial for hide in PROTOCOLS.values() for trial in leave_out(table, hide)])
    assert [(one.own, one.kin, one.by_latency, one.n) for one in found] == [
        (one.own, one.kin, one.by_latency, one.n) for one in stored.claims
    ]
    for one, kept in zip(found, stored.claims, strict=True):
        assert one.mean_abs_error == pytest.approx(kept.mean_abs_error, abs=0.002)
        assert one.factor == pytest.approx(kept.factor, rel=0.01)


def test_devices_with_other_results_meet_the_goal() -> None:
    stored = {(one.own, one.kin): one for one in back_test().claims if not one.by_latency}
    related = [stored[Own.SEVERAL.value, kin.value] for kin in (Kin.CHIP, Kin.ARCHITECTURE)]
    error = sum(one.n * one.mean_abs_error for one in related) / sum(one.n for one in related)
    assert error <= GOAL


def test_the_constants_are_more_likely_than_where_the_search_began() -> None:
    table = table_of(published_observations(), START)
    likelihood = Likelihood(table.points, table.log_rates)
    found = back_test().constants
    reached = likelihood(found)
    assert reached > likelihood(START)
    for name in found._fields:
        for factor in (0.7, 1.3):
            value = getattr(found, name) * factor
            if name in ("family", "kind", "kind_size") and value >= 1:
                continue
            assert likelihood(found._replace(**{name: value})) < reached + 0.5, name


def test_the_page_shows_the_stored_errors() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0] == "\n" + page_section(back_test())


def test_every_published_device_has_relatives_that_the_profiles_name() -> None:
    devices = {one.device for one in published_observations()}
    assert devices <= set(accelerators())
    assert len(devices) > 50
