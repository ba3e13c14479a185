"""What ships is what the data give: constants, errors and the page belong to the table beside them."""

from __future__ import annotations

import pytest

from benchmarks.projection_backtest import BEGIN, END, GOAL_PERCENT, HEADLINE, PAGE, headline, page_section
from leptonbench.projection.backtest import PROTOCOLS, leave_out, under_folds
from leptonbench.projection.claims import Trial, claims
from leptonbench.projection.fit import START
from leptonbench.projection.model import Likelihood
from leptonbench.projector.published import accelerators, back_test, published_observations, published_table, table_of


@pytest.fixture(scope="module")
def trials() -> dict[str, list[Trial]]:
    """Every published result, projected under the stored constants of its fold."""
    table, folds = published_table(), back_test().folds
    return {
        name: under_folds(table, folds, lambda one, devices, hide=hide: leave_out(one, hide, devices))
        for name, hide in PROTOCOLS.items()
    }


def test_the_stored_errors_are_those_of_the_stored_constants_on_the_table(trials: dict[str, list[Trial]]) -> None:
    stored = back_test()
    assert stored.observations == len(published_table().observations)
    found = claims([trial for some in trials.values() for trial in some], stored.widening)
    assert [(one.own, one.kin, one.by_latency, one.n) for one in found] == [
        (one.own, one.kin, one.by_latency, one.n) for one in stored.claims
    ]
    for one, kept in zip(found, stored.claims, strict=True):
        assert one.mean_abs_error == pytest.approx(kept.mean_abs_error, abs=0.002)
        assert one.factor == pytest.approx(kept.factor, rel=0.01)


def test_devices_with_other_results_meet_the_goal(trials: dict[str, list[Trial]]) -> None:
    """With every accuracy target and scenario of the asked model hidden on the device."""
    error = headline(trials[HEADLINE])[0]
    assert error.value <= GOAL_PERCENT
    stored = next(one for one in back_test().checks if one.name == error.name)
    assert (stored.mean_abs_error_percent, stored.n) == (pytest.approx(error.value, abs=0.2), error.n)


def test_no_device_is_projected_under_constants_that_saw_its_chip() -> None:
    stored, traits = back_test(), published_table().traits
    chips = [{(traits[name].vendor, traits[name].chip) for name in fold.devices} for fold in stored.folds]
    assert sum(map(len, chips)) == len(set.union(*chips)), "a chip is in one fold"
    assert {name for fold in stored.folds for name in fold.devices} == {one.device for one in published_observations()}
    assert all(fold.variances != stored.variances for fold in stored.folds)


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
