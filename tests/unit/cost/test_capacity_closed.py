from __future__ import annotations

import math

import numpy as np
import pytest

from leptonbench.cost.capacity.closed import (
    Wait,
    batch_wait,
    cv2,
    least,
    mdc_mean_wait_s,
    mgc_wait,
    mmc_wait,
)
from leptonbench.stats.queueing import md1_mean_wait_s, mmc_mean_wait_s

EXPONENTIAL = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000)


@pytest.mark.parametrize("engines", [1, 2, 30])
def test_mean_wait_is_erlangs(engines: int) -> None:
    wait = mmc_wait(0.8 * engines, 1.0, engines=engines)
    assert wait.probability * wait.mean_s == pytest.approx(mmc_mean_wait_s(0.8 * engines, 1.0, servers=engines))


def test_hilliers_county_hospital() -> None:
    """Hillier and Lieberman: two patients an hour, three served an hour; one doctor or two."""
    one, two = mmc_wait(2.0, 1 / 3, engines=1), mmc_wait(2.0, 1 / 3, engines=2)
    assert one.probability * one.mean_s == pytest.approx(2 / 3)
    assert two.probability * two.mean_s == pytest.approx(1 / 24)


@pytest.mark.parametrize("load", [0.1, 0.5, 0.8, 0.9])
def test_constant_service_on_one_engine_is_pollaczek_khinchine(load: float) -> None:
    assert mdc_mean_wait_s(load, 1.0, engines=1) == pytest.approx(md1_mean_wait_s(load, 1.0), rel=1e-7)


def test_constant_service_waits_half_as_long_in_heavy_traffic() -> None:
    wait_s = mdc_mean_wait_s(0.93 * 8, 1.0, engines=8)
    assert wait_s / mmc_mean_wait_s(0.93 * 8, 1.0, servers=8) == pytest.approx(0.5, abs=0.03)


def test_time_scales() -> None:
    assert mdc_mean_wait_s(350.0, 0.02, engines=8) == pytest.approx(0.02 * mdc_mean_wait_s(7.0, 1.0, engines=8))


@pytest.mark.parametrize("load", [0.0, 8.0, 9.0])
def test_an_unstable_queue_is_refused(load: float) -> None:
    with pytest.raises(ValueError, match="stable"):
        mdc_mean_wait_s(load, 1.0, engines=8)


def test_the_sojourn_of_one_exponential_engine_is_exponential() -> None:
    wait = mgc_wait(0.8, EXPONENTIAL, engines=1)
    for percentile in (0.5, 0.9, 0.99):
        assert wait.percentile_s(EXPONENTIAL, percentile) == pytest.approx(-math.log(1 - percentile) / 0.2, rel=0.01)


def test_late_and_percentile_are_inverse() -> None:
    times_s = np.array([0.5, 1.0, 2.0])
    wait = Wait(0.4, 0.7)
    assert wait.late(times_s, wait.percentile_s(times_s, 0.97)) == pytest.approx(0.03, abs=1e-9)


def test_nobody_who_never_waits_is_late_but_by_service() -> None:
    assert Wait(0.0, 0.0).late(np.array([1.0, 3.0]), 2.0) == 0.5


def test_scatter_and_bursts_lengthen_the_wait() -> None:
    times_s = np.array([0.5, 1.5])
    assert cv2(times_s) == pytest.approx(0.25)
    assert mgc_wait(1.5, times_s, engines=2).mean_s == pytest.approx(1.25 / 2 * mmc_wait(1.5, 1.0, engines=2).mean_s)
    bursts = mgc_wait(1.5, times_s, engines=2, arrival_cv2=4.0)
    assert bursts.mean_s == pytest.approx(4.25 / 2 * mmc_wait(1.5, 1.0, engines=2).mean_s)


def test_batches_grow_with_the_rate_and_not_beyond_the_largest() -> None:
    pools = {1: np.array([1.0]), 4: np.array([2.0]), 8: np.array([3.0])}
    times = [
        batch_wait(rate, pools, engines=1, max_batch=8, max_wait_s=0.0).times_s.tolist() for rate in (0.3, 1.5, 2.5)
    ]
    assert times == [[1.0], [2.0], [3.0]]
    with pytest.raises(ValueError, match="keep up"):
        batch_wait(8 / 3, pools, engines=1, max_batch=8, max_wait_s=0.0)


@pytest.mark.parametrize("answer", [3, 4, 57, 1000])
def test_the_least_number_is_found(answer: int) -> None:
    assert least(lambda number: number >= answer, 3) == answer


def test_a_condition_that_nothing_meets_has_no_least_number() -> None:
    assert least(lambda number: False, 1) is None
