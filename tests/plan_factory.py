"""A small run to plan with: measured CPU cells, a simulated board, a projected card, and cells that do not fit."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from leptonbench import catalog
from leptonbench.cost.capacity import Arrivals, ServiceModel, Sizing, Target, size
from leptonbench.cost.demand import parse_demand
from leptonbench.planning import PlanRequest, build_plan
from leptonbench.schema import (
    CellRecord,
    DeviceProfile,
    Fact,
    OwnedPrice,
    PowerProfile,
    Provenance,
    Quantity,
    RoundRecord,
    Scenario,
    Status,
)
from leptonbench.schema.plan import PlanDocument
from leptonbench.store import RunStore
from tests.report_factory import make_manifest, ok_record

DAY = date(2026, 11, 23)
MEDIANS_S = {"fp32": 0.016, "int8-static": 0.006}
SINGLE, SERVER, OFFLINE = Scenario.SINGLE_STREAM, Scenario.SERVER, Scenario.OFFLINE


def fact(value: float, unit: str = "1", low: float | None = None, high: float | None = None) -> Fact:
    return Fact(value=value, unit=unit, low=low, high=high, source="a test", date="2026-11", assumed=True)


def board() -> DeviceProfile:
    """Return a board of 10 W and 250 USD, like a KV260."""
    return DeviceProfile(
        name="kv260",
        kind="fpga",
        title={"en": "A board"},
        power=PowerProfile(
            idle_w=fact(9.0, "W"),
            full_w=fact(10.0, "W"),
            hardware_threads=1,
            shape=tuple(step / 10 for step in range(11)),
            shape_source="a test",
        ),
        owned=OwnedPrice(
            server_usd=fact(250.0, "USD", 200.0, 350.0),
            hardware_threads=1,
            lifetime_years=fact(4.0, "a", 3.0, 6.0),
            residual_fraction=fact(0.0),
            interest_rate=fact(0.06, "1/a"),
            hosting_usd_per_kw_month=fact(0.0, "USD/(kW month)"),
            maintenance_fraction_per_year=fact(0.05, "1/a", 0.03, 0.1),
        ),
    )


def devices() -> tuple[DeviceProfile, ...]:
    milan = next(profile for profile in catalog.load_profiles("cpu") if profile.name == "amd-epyc-milan")
    card = DeviceProfile(name="nvidia-t4", kind="gpu", title={"en": "NVIDIA T4"})
    return milan, board(), card


def one_round(index: int, **changes: Any) -> RoundRecord:
    fields = {"index": index, "started": "2026-11-23T00:00:00Z", "wall_s": 3.0, "status": Status.OK, "queries": 200}
    return RoundRecord.model_validate(fields | changes)


def records() -> list[CellRecord]:
    """Return cells of every kind that a run folder may hold."""
    streams = [
        ok_record(variant, "onnxruntime", SINGLE, p50).model_copy(
            update={"rounds": tuple(one_round(index) for index in range(3))}
        )
        for variant, p50 in MEDIANS_S.items()
    ]
    times = {"1": 0.006, "4": 0.014}
    rounds = tuple(one_round(index, effective={"service_time_s": times, "target_qps": 150.0}) for index in range(3))
    server = ok_record("int8-static", "onnxruntime", SERVER, 0.006)
    server = server.model_copy(
        update={"rounds": rounds, "cell": server.cell.model_copy(update={"batch": 4, "max_wait_s": 0.002})}
    )
    simulated = ok_record("int8-static", "fpga", SINGLE, 0.0118, provenance=Provenance.SIMULATED, device="kv260")
    return [*streams, server, simulated, card(), ok_record("int8-static", "onnxruntime", OFFLINE, 0.005), below()]


def card() -> CellRecord:
    """Return a card's cell as a projection gives it: one latency with the projection's band, and no samples."""
    record = ok_record("int8-static", "torch-cuda", SINGLE, 0.002, provenance=Provenance.PROJECTED, device="nvidia-t4")
    band = Quantity(value=0.002, unit="s", low=0.0016, high=0.0026, provenance=Provenance.PROJECTED, method="anchors")
    return record.model_copy(update={"metrics": record.metrics | {"latency_mean": band}})


def below() -> CellRecord:
    """Return a fast cell that misses the quality floor."""
    return ok_record("distill-half", "onnxruntime", SINGLE, 0.0039)


def write_run(path: Path, found: list[CellRecord] | None = None, *, samples: bool = True) -> RunStore:
    """Write a run folder of these records; single-stream rounds on the CPU have 200 latencies each."""
    found = records() if found is None else found
    manifest = make_manifest(found).model_copy(update={"devices": devices()})
    rng = np.random.default_rng(5)
    with RunStore.create(path, manifest) as store:
        for record in found:
            store.write_record(record)
            if record.cell.scenario is SINGLE and record.rounds and samples:
                p50 = MEDIANS_S.get(record.cell.variant, 0.01)
                for one in record.rounds:
                    latencies = p50 * rng.lognormal(0.0, 0.05, size=one.queries)
                    store.write_round(record.cell.key, one, latencies)
    return RunStore.open(path)


def request(**changes: Any) -> PlanRequest:
    """Return a question about forty lines in two shifts."""
    fields: dict[str, Any] = {
        "workload": "inspection",
        "demand": parse_demand("40 lines x 30/s, 16 h x 5 d", date=DAY.isoformat()),
        "target": Target(0.99, 0.05),
        "region": "eu-central",
        "as_of": DAY,
        "spare_nodes": 1,
    }
    return PlanRequest(**fields | changes)


_SIZES: dict[tuple[object, ...], Sizing] = {}


def remembered(service: ServiceModel, arrivals: Arrivals, target: Target, *, seed: int = 0) -> Sizing:
    """Size as `size` does, once a session for equal inputs: it is deterministic and most of a plan's time."""
    rounds = tuple((size, times.tobytes()) for one in service.rounds for size, times in sorted(one.items()))
    settings = (service.provenance, service.method, service.instances, service.max_batch, service.max_wait_s)
    band = (service.scale_low, service.scale_high)
    key = (rounds, settings, band, arrivals.rates_per_s, target, seed)
    if key not in _SIZES:
        _SIZES[key] = size(service, arrivals, target, seed=seed)
    return _SIZES[key]


def planned(store: RunStore, question: PlanRequest) -> PlanDocument:
    """Build a plan, sizing nothing twice."""
    with patch("leptonbench.planning.build.size", remembered):
        return build_plan(store, question)
