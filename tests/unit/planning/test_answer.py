"""What a user writes, turned into a question: defaults from the suite, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leptonbench.cost.capacity import Target
from leptonbench.errors import UsageError
from leptonbench.planning import make_request
from leptonbench.planning.request import parse_availability, parse_horizon, parse_terms
from leptonbench.schema.prices import Terms
from tests.plan_factory import DAY
from tests.report_factory import make_manifest, make_records

MANIFEST = make_manifest(make_records())


def asked(**changes: Any) -> Any:
    return make_request(MANIFEST, **{"workload": "inspection", "today": DAY} | changes)


def test_what_is_left_out_is_the_suite_s() -> None:
    request = asked()
    assert request.target == Target(0.99, 0.05)
    assert request.region == "eu-central"
    assert max(request.demand.rates_per_s) == 40
    assert sum(rate > 0 for rate in request.demand.rates_per_s) == 96
    assert request.as_of == DAY
    assert request.spare_nodes == 0


def test_several_workloads_want_one_named() -> None:
    with pytest.raises(UsageError) as caught:
        asked(workload=None)
    assert "--workload inspection" in caught.value.hint
    with pytest.raises(UsageError, match="no workload `speech`"):
        asked(workload="speech")


@pytest.mark.parametrize(("text", "spare"), [("n", 0), ("n+1", 1), ("N + 2", 2)])
def test_availability(text: str, spare: int) -> None:
    assert parse_availability(text) == spare


@pytest.mark.parametrize(("text", "years"), [("3y", 3), ("18 months", 1.5), ("5", 5), ("2 years", 2)])
def test_horizon(text: str, years: float) -> None:
    assert parse_horizon(text) == years


def test_terms_keep_their_order_once() -> None:
    assert parse_terms("owned, spot,owned") == (Terms.OWNED, Terms.SPOT)


@pytest.mark.parametrize(
    "changes",
    [
        {"availability": "99.9%"},
        {"horizon": "0y"},
        {"horizon": "40y"},
        {"horizon": "soon"},
        {"terms": "rented"},
        {"terms": ","},
        {"as_of": "yesterday"},
        {"demand": "nowhere.csv"},
        {"demand": "30/s, 16 h"},
        {"share_servers": True, "terms": "on-demand"},
        {"hosting": "own", "terms": "on-demand,spot"},
    ],
)
def test_wrong_and_contradictory_options_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        asked(**changes)
    assert caught.value.message
    assert caught.value.cause or caught.value.hint


def test_a_curve_and_a_grid_are_read_from_files(tmp_path: Path) -> None:
    for name, column in (("demand.csv", "rate_per_s"), ("grid.csv", "g_per_kwh")):
        rows = "".join(f"{hour},{hour}\n" for hour in range(24))
        (tmp_path / name).write_text(f"hour,{column}\n{rows}", encoding="utf-8")
    request = asked(demand=str(tmp_path / "demand.csv"), grid=tmp_path / "grid.csv")
    assert max(request.demand.rates_per_s) == 23
    assert request.grid_g_per_kwh is not None
    assert request.grid_g_per_kwh[:3] == (0, 1, 2)
    (tmp_path / "demand.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not text"):
        asked(demand=str(tmp_path / "demand.csv"))
