"""Power by published servers: the neighbours, their error on CPUs left out, and what has no neighbours."""

from __future__ import annotations

import statistics

import pytest

from leptonbench.errors import UsageError
from leptonbench.meters.server_power import (
    LATER_BAND,
    LIKE_BAND,
    SAME_BAND,
    PublishedServer,
    nearest,
    power_like,
    read_results,
    same_cpu,
)
from leptonbench.schema import ServerSpec

RESULTS = read_results()
MILAN = ServerSpec(tdp_w=280, sockets=2, cores=128, threads=256, ram_gb=256, year=2021, freq_mhz=2450)


def _published(watts: float, **changes: float) -> PublishedServer:
    server = MILAN.model_copy(update=changes)
    return PublishedServer("a-cpu", server, tuple(watts + 10.0 * step for step in range(11)))


def test_the_table_is_whole():
    assert len(RESULTS) == 395
    assert all(list(result.watts) == sorted(result.watts) for result in RESULTS if result.cpu.startswith("epyc"))


def test_a_server_that_is_in_the_table_has_nearly_its_own_curve():
    own = next(result for result in RESULTS if result.cpu == "epyc7763")
    assert nearest(own.server, RESULTS, neighbours=2).watts[-1] == pytest.approx(own.watts[-1], rel=0.15)


def test_the_nearest_count_and_the_closer_one_counts_more():
    near, far = _published(100.0), _published(400.0, cores=16)
    away = [_published(1000.0, tdp_w=20, cores=4, threads=8, year=2008, ram_gb=4) for _ in range(5)]
    found = nearest(MILAN, [far, *away, near], neighbours=2)
    assert found.results == (near, far)
    assert found.watts[0] == pytest.approx(100.0, rel=0.05)


def test_too_few_results_are_refused():
    with pytest.raises(UsageError, match="too few"):
        nearest(MILAN, RESULTS[:3])


def test_cpus_left_out_are_predicted_within_what_the_band_states():
    """A sample of the CPUs; `benchmarks/cpu_power_model.py` does all."""
    errors = []
    for cpu in sorted({result.cpu for result in RESULTS})[::2]:
        others = [result for result in RESULTS if result.cpu != cpu]
        held = next(result for result in RESULTS if result.cpu == cpu)
        watts = nearest(held.server, others).watts
        errors.append(sum(watts) / sum(held.watts) - 1.0)
    assert statistics.mean(map(abs, errors)) < 0.19
    assert sum(abs(error) <= LIKE_BAND for error in errors) >= 0.8 * len(errors)


def test_a_profile_by_neighbours_says_what_it_is_made_of():
    power = power_like(MILAN, RESULTS)
    assert power.hardware_threads == 256
    assert power.band == LIKE_BAND
    later = power_like(MILAN.model_copy(update={"year": 2025}), RESULTS)
    assert later.band == LATER_BAND > LIKE_BAND
    assert "nearest 7 of 395 SPECpower results" in power.full_w.source
    assert (power.idle_w.low or 0) <= power.idle_w.value <= (power.idle_w.high or 0)
    assert power.shape[0] == 0.0 and power.shape[-1] == 1.0 and list(power.shape) == sorted(power.shape)


def test_a_server_beyond_the_table_is_refused_with_what_to_do():
    with pytest.raises(UsageError, match="no published server is like this one") as caught:
        power_like(MILAN.model_copy(update={"tdp_w": 500.0}), RESULTS)
    assert "measure its power" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "cpu"),
    [
        ("AMD EPYC 7763 64-Core Processor", "epyc7763"),
        ("Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz", "xeonplatinum8280"),
        ("Intel(R) Xeon(R) CPU E5-2699 v4 @ 2.20GHz", "xeone5-2699v4"),
    ],
)
def test_the_very_cpu_is_found_by_what_it_calls_itself(name, cpu):
    power = same_cpu(name, RESULTS)
    assert power is not None
    assert cpu in power.full_w.source
    assert power.band == SAME_BAND


@pytest.mark.parametrize("name", ["AMD EPYC 9R14", "", "Neoverse-V1", "Intel Xeon Processor"])
def test_a_cpu_without_results_is_not_guessed(name):
    assert same_cpu(name, RESULTS) is None


def test_a_table_that_is_none_is_refused(tmp_path):
    path = tmp_path / "servers.csv"
    path.write_text("cpu,tdp_w\nepyc,many\n")
    with pytest.raises(UsageError, match="no table of servers"):
        read_results(path)
