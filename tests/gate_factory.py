"""Sides, passes and results for the tests of the gate, with noise that a seed gives."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from leptonbench.gate.model import Answers, Pass, SideCell, SideReport
from leptonbench.harness.system import fingerprint
from leptonbench.schema import CellSpec, Provenance, Quantity, TensorSpec
from tests.harness_factory import cell

SECONDS = 0.02


def measured(
    seed: int = 0, *, n: int = 20, slower: float = 0.0, noise: float = 0.01, control: float = 0.0, scale: float = 1.0
) -> Pass:
    """Return a pass with a drift that is common to each pair.

    Args:
        seed: Of the noise.
        n: Pairs.
        slower: ln(head / base).
        noise: Standard deviation of one pair's log ratio.
        control: ln(control / base).
        scale: Of all times.
    """
    random = np.random.default_rng(seed)
    drift = np.exp(np.cumsum(random.normal(0, 0.02, n)))
    sides = [np.exp(shift + random.normal(0, noise / math.sqrt(2), n)) for shift in (0.0, slower, control)]
    base, head, again = (tuple((scale * SECONDS * drift * side).tolist()) for side in sides)
    return Pass(base_s=base, head_s=head, control_s=again)


def quality(right: int, n: int) -> Quantity:
    """Return a top-1 of so many right."""
    return Quantity(value=right / n, unit="1", n=n, provenance=Provenance.MEASURED, name="top-1", method="counted")


def answers(wrong: int, n: int = 200, *, metric: str = "top-1") -> Answers:
    """Return answers of which the first so many are wrong."""
    given = {index: 1 if index < wrong else 0 for index in range(n)}
    return Answers(metric=metric, quality=quality(n - wrong, n), answers=given, targets=dict.fromkeys(range(n), 0))


def side_cell(spec: CellSpec | None = None, *, wrong: int = 4, **changes: Any) -> SideCell:
    """Return a prepared cell."""
    exact = {"macs": 1_000_000, "parameters": 5000, "model_bytes": 20_480, "nodes": 4, "operators": "Conv:1 Gemm:1"}
    shape = (None, 3, 16, 16)
    fields: dict[str, Any] = {
        "cell": spec or cell(),
        "job": {"mode": "performance", "task": {"name": "inspection", "model_dir": None, "data": _DATA}},
        "exact": exact,
        "inputs": (TensorSpec(name="pixel_values", shape=shape, dtype="float32"),),
        "outputs": (TensorSpec(name="logits", shape=(None, 3), dtype="float32"),),
        "artifact_sha256": "a" * 64,
        "data_sha256": "d" * 64,
        "answers": answers(wrong),
    }
    return SideCell.model_validate({**fields, **changes})


_DATA = {"seed": 5, "calibration": 8, "evaluation": 8}


def report(*cells: SideCell, **changes: Any) -> SideReport:
    """Return what a side prepared."""
    identity = fingerprint().identity
    return SideReport.model_validate(
        {"leptonbench_version": "0", "identity": identity, "cells": cells or (side_cell(),), **changes}
    )


def worker_result(seconds: float, **changes: Any) -> dict[str, Any]:
    """Return what a worker leaves."""
    values = {"latency_p50": seconds, "latency_mean": seconds, "throughput": 1 / seconds, "peak_memory": 1e8}
    return {"values": values, "valid": True, "invalid_reasons": [], "error": None, "energy": None, **changes}


def write(path: Path, text: str) -> Path:
    """Write a file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
