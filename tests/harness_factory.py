"""Small specs, rounds and jobs for the tests of the harness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.harness.jobs import Score, TaskRef
from leptonbench.schema import (
    Artifact,
    CellSpec,
    DataSpec,
    EnergyReading,
    Provenance,
    QualitySpec,
    Quantity,
    RoundRecord,
    Scenario,
    ScenarioSpec,
    Status,
    SuiteSpec,
)

DATA = DataSpec(seed=5, calibration=64, evaluation=64)
QUALITY = QualitySpec(name="top-1", floor=0.9, relative_floor=0.99)


def cell(variant: str = "fp32", backend: str = "onnxruntime", scenario: str = "single-stream", **axes: Any) -> CellSpec:
    """Return a cell of one thread."""
    fixed = {"workload": "inspection", "device": "host-cpu", "threads": 1}
    return CellSpec(variant=variant, backend=backend, scenario=Scenario(scenario), **{**fixed, **axes})


def suite(**changes: Any) -> SuiteSpec:
    """Return a suite of one cell, with changes."""
    fields: dict[str, Any] = {
        "name": "small",
        "title": {"en": "Small", "zh": "小"},
        "description": {"en": "Small", "zh": "小"},
        "workloads": ("inspection",),
        "variants": ("fp32",),
        "backends": ("onnxruntime",),
        "scenarios": ({"kind": "single-stream"},),
        "latency_target_s": 0.1,
        "demand": {
            "description": {"en": "Little", "zh": "少"},
            "rate_per_s": 1,
            "hours_per_day": 8,
            "days_per_week": 5,
        },
        "region": "eu-central",
    }
    return SuiteSpec.model_validate({**fields, **changes})


def scenario(kind: str = "single-stream", **settings: Any) -> ScenarioSpec:
    """Return a scenario's settings."""
    return ScenarioSpec(kind=Scenario(kind), **settings)


def artifact(precision: str = "fp32", **changes: Any) -> Artifact:
    """Return the description of an artifact that is nowhere."""
    fields = {
        "format": "onnx",
        "path": "model.onnx",
        "sha256": "0" * 64,
        "recipe": (),
        "precision": precision,
        "inputs": ({"name": "pixel_values", "shape": (None, 3, 16, 16), "dtype": "float32"},),
        "outputs": ({"name": "logits", "shape": (None, 3), "dtype": "float32"},),
        "size_bytes": 1000,
        "macs": 2000,
        "parameters": 100,
    }
    return Artifact.model_validate({**fields, **changes})


def energy(energy_j: float, low_j: float, high_j: float) -> EnergyReading:
    """Return a reading of a window of one second."""
    return EnergyReading(
        energy_j=energy_j,
        low_j=low_j,
        high_j=high_j,
        idle_j=0.0,
        window_s=1.0,
        boundary="wall",
        method="modelled: a test",
        provenance=Provenance.PROJECTED,
        coverage=1.0,
        samples=2,
    )


def round_record(index: int = 0, status: Status = Status.OK, **fields: Any) -> RoundRecord:
    """Return one round."""
    return RoundRecord(index=index, started="2026-11-03T09:00:00", wall_s=2.0, status=status, **fields)


def server_round(index: int, rate_per_s: float, *, met: bool) -> RoundRecord:
    """Return a server round at a rate."""
    status = Status.OK if met else Status.INVALID
    return round_record(index, status, effective={"target_qps": rate_per_s}, values={"throughput": rate_per_s})


def score(answers: list[int], targets: list[int], **changes: Any) -> Score:
    """Return a score over samples 0, 1, 2, ..."""
    right = sum(a == t for a, t in zip(answers, targets, strict=True))
    fields = {
        "group": "a group",
        "artifact_sha256": "0" * 64,
        "created": "2026-11-03T09:00:00+00:00",
        "quality": Quantity(
            value=right / len(answers), unit="1", provenance=Provenance.MEASURED, name="top-1", method="a count"
        ),
        "answers": dict(enumerate(answers)),
        "targets": dict(enumerate(targets)),
        "effective": {},
    }
    return Score.model_validate({**fields, **changes})


def task(model_dir: Path | None, images: Path | None) -> TaskRef:
    """Return a reference to the inspection task on a user's own images."""
    return TaskRef(
        name="inspection",
        model_dir=str(model_dir) if model_dir else None,
        data=DATA,
        own=str(images) if images else None,
    )


def spread(centre_s: float, count: int) -> NDArray[np.float64]:
    """Return latencies evenly spread by a tenth to both sides of a centre."""
    return np.linspace(0.9 * centre_s, 1.1 * centre_s, count)
