from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from leptonbench.projection.anchors import Input, Kin, Own, Support, Table, project, support
from leptonbench.projection.fit import START, fit
from leptonbench.projection.model import Likelihood, Likeness, Point, Traits, held_out, predict, prior_mean
from leptonbench.projection.results import Column, Observation, Submission
from leptonbench.schema import Scenario

VENDOR = {"a": "x", "b": "x", "c": "x", "far": "y"}
CHIP = {"a": "one", "b": "one", "c": "two", "far": "three"}


def _traits(device: str, *, sized: bool = True) -> Traits:
    peak = {"int8": math.log(1e14)} if sized else {}
    return Traits(VENDOR[device], VENDOR[device] + "1", CHIP[device], peak, math.log(5e11) if sized else None)


def _column(benchmark: str, scenario: Scenario = Scenario.OFFLINE) -> Column:
    return Column(benchmark, scenario)


def _observation(device: str, column: Column, rate: float) -> Observation:
    one = Submission(device, column, rate, "int8", "v1.0", "someone", "somewhere")
    return Observation(device, column, math.log(rate), (one,))


def _table(rates: dict[tuple[str, str], float], *, sized: bool = True) -> Table:
    observations = tuple(_observation(device, _column(name), rate) for (device, name), rate in rates.items())
    return Table(observations, {name: _traits(name, sized=sized) for name in VENDOR}, START)


@pytest.fixture
def noisy() -> Table:
    random = np.random.default_rng(7)
    names = ("resnet50", "bert-99", "bert-99.9", "rnnt", "retinanet")
    rates = {pair: float(np.exp(random.normal(5, 1))) for pair in product(VENDOR, names)}
    return _table(rates)


@pytest.mark.parametrize("ratio", [0.25, 1.0, 3.0])
def test_a_device_that_is_so_much_faster_elsewhere_is_projected_so_much_faster(ratio: float) -> None:
    names = {"resnet50": 100.0, "bert-99": 10.0, "rnnt": 40.0, "retinanet": 2.0}
    rates = {("b", name): rate for name, rate in names.items()}
    rates |= {("a", name): ratio * rate for name, rate in names.items() if name != "retinanet"}
    found = project(_table(rates, sized=False), "a", _column("retinanet"))
    assert found.rate_per_s == pytest.approx(2.0 * ratio, rel=0.03)
    assert found.support == Support(Own.SEVERAL, Kin.CHIP, False)


def test_the_nearer_relative_weighs_more() -> None:
    names = ("resnet50", "bert-99", "rnnt")
    rates = {(device, name): 10.0 for device in VENDOR for name in names}
    rates |= {("b", "retinanet"): 4.0, ("c", "retinanet"): 2.0, ("far", "retinanet"): 1.0}
    found = project(_table(rates), "a", _column("retinanet"))
    weights = {
        one.observation.device: one.weight for one in found.inputs if one.observation.column.family == "retinanet"
    }
    assert weights["b"] > weights["c"] > weights["far"] > 0
    assert 2.0 < found.rate_per_s < 4.0


def test_the_shown_weights_make_up_the_projection(noisy: Table) -> None:
    column = _column("rnnt")
    found = project(noisy, "a", column)
    base = float(prior_mean([noisy.point("a", column)])[0])
    total = base

    def term(one: Input) -> float:
        known = noisy.point(one.observation.device, one.observation.column)
        return one.weight * (one.observation.log_rate - float(prior_mean([known])[0]))

    total += sum(map(term, found.inputs))
    assert math.log(found.rate_per_s) == pytest.approx(total, abs=1e-9)
    assert [abs(one.weight) for one in found.inputs] == sorted((abs(one.weight) for one in found.inputs), reverse=True)


def test_a_projection_does_not_see_the_result_it_is_asked_for(noisy: Table) -> None:
    column = _column("rnnt")
    changed = tuple(
        _observation("a", column, 1e6) if (one.device, one.column) == ("a", column) else one
        for one in noisy.observations
    )
    other = Table(changed, noisy.traits, noisy.variances)
    assert project(noisy, "a", column).rate_per_s == project(other, "a", column).rate_per_s


@pytest.mark.parametrize("hidden", [[0], [3, 4], [0, 1, 2, 3, 4], [1, 6, 11]])
def test_the_short_cut_of_leaving_out_equals_leaving_out(noisy: Table, hidden: list[int]) -> None:
    (errors,) = held_out(noisy.points, noisy.log_rates, [hidden], START)
    rest = [index for index in range(len(noisy.points)) if index not in hidden]
    asked = [noisy.points[index] for index in hidden]
    found = predict([noisy.points[index] for index in rest], noisy.log_rates[rest], asked, START)
    direct = [one.mean - noisy.log_rates[index] for one, index in zip(found, hidden, strict=True)]
    np.testing.assert_allclose(errors, direct, atol=1e-8)


def test_the_likelihood_is_the_normal_distributions(noisy: Table) -> None:
    points, rates = noisy.points, noisy.log_rates
    inside = Likeness(points, points).covariance(START) + START.submission * np.eye(len(points))
    rest = rates - prior_mean(points)
    expected = -0.5 * rest @ np.linalg.inv(inside) @ rest - 0.5 * np.linalg.slogdet(inside)[1]
    assert Likelihood(points, rates)(START) == pytest.approx(expected, abs=1e-5)


def test_covariance_is_symmetric_and_positive(noisy: Table) -> None:
    kinds = (Scenario.OFFLINE, Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM)
    points = [noisy.point(device, _column("rnnt", kind)) for device in VENDOR for kind in kinds]
    inside = Likeness(points, points).covariance(START)
    np.testing.assert_allclose(inside, inside.T)
    assert np.linalg.eigvalsh(inside).min() > 0


def test_fitting_raises_the_likelihood_and_stays_in_bounds(noisy: Table) -> None:
    found = fit(noisy)
    likelihood = Likelihood(noisy.points, noisy.log_rates)
    assert likelihood(found) > likelihood(START)
    assert all(value > 0 for value in found)
    assert 0 < found.family < 1
    assert 0 < found.kind < 1
    assert 0 < found.kind_size < 1


def test_support_says_what_is_known_of_the_device_and_of_its_relatives() -> None:
    def point(device: str, name: str, scenario: Scenario = Scenario.OFFLINE) -> Point:
        return Point(device, _column(name, scenario), _traits(device), "int8")

    asked = point("a", "bert-99")
    assert support(asked, [point("a", "bert-99.9"), point("b", "bert-99")]) == Support(Own.MODEL, Kin.CHIP, False)
    shared = [point("a", "rnnt"), point("c", "bert-99"), point("c", "rnnt")]
    assert support(asked, shared) == Support(Own.FEW, Kin.ARCHITECTURE, False)
    assert support(asked, [point("far", "bert-99.9")]) == Support(Own.NOTHING, Kin.NONE, False)
    streamed = point("a", "rnnt", Scenario.SINGLE_STREAM)
    assert support(asked, [streamed, *shared[1:]]).own is Own.NOTHING


def test_results_that_no_device_of_the_asked_model_shares_are_no_support() -> None:
    def point(device: str, name: str, *, sized: bool = True) -> Point:
        return Point(device, _column(name), _traits(device, sized=sized), "int8")

    apart = [point("a", "gptj-99"), point("far", "gptj-99"), point("b", "bert-99"), point("b", "rnnt")]
    assert support(point("a", "bert-99"), apart) == Support(Own.NOTHING, Kin.CHIP, False)
    blind = [point("a", "gptj-99"), point("b", "bert-99", sized=False)]
    assert support(point("a", "bert-99"), blind) == Support(Own.NOTHING, Kin.NONE, False)
