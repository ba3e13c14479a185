"""A run of three workloads through the whole compression axis: about a hundred cells with numbers, more without."""

from __future__ import annotations

from typing import Any

from leptonbench.schema import (
    Artifact,
    Cause,
    CellRecord,
    CellSpec,
    DataSpec,
    Notice,
    Provenance,
    QualitySpec,
    Quantity,
    Reason,
    RunManifest,
    Scenario,
    ScenarioSpec,
    Settings,
    Status,
    StepSpec,
    SuiteSpec,
    TensorSpec,
    VariantSpec,
    WorkloadSpec,
)
from tests.report_factory import M, P, make_manifest, make_rounds, quantity

SINGLE, SERVER = Scenario.SINGLE_STREAM, Scenario.SERVER
BACKENDS = ("torch", "torch-compile", "onnxruntime", "openvino")
TARGETS_S = {"inspection": 0.1, "detection": 0.2, "speech": 0.3}
MAIN = ("fp32", "int8-static")

_STATIC = StepSpec(technique="quantize-static", options={"calibration": "minmax", "per_channel": True})


def _variant(name: str, en: str, zh: str, precision: Any, *steps: StepSpec) -> VariantSpec:
    return VariantSpec(name=name, title={"en": en, "zh": zh}, precision=precision, steps=steps)


_PRUNE50 = StepSpec(technique="prune-channels", options={"ratio": 0.5})
_DISTILL = StepSpec(technique="distill")
VARIANTS = (
    _variant("fp32", "As trained", "原始训练所得", "fp32"),
    _variant("bf16", "bfloat16", "bfloat16", "bf16", StepSpec(technique="cast", options={"dtype": "bf16"})),
    _variant("fp16", "Half precision", "半精度", "fp16", StepSpec(technique="cast", options={"dtype": "fp16"})),
    _variant(
        "int8-dynamic",
        "8 bits, scaled at run time",
        "运行时定标的 8 位",
        "int8",
        StepSpec(technique="quantize-dynamic"),
    ),
    _variant("int8-static", "8 bits, calibrated", "事先校准的 8 位", "int8", _STATIC),
    _variant(
        "int8-static-entropy",
        "8 bits, calibrated by entropy",
        "按熵校准的 8 位",
        "int8",
        StepSpec(technique="quantize-static", options={"calibration": "entropy", "exclude": "measured"}),
    ),
    _variant("int4-weight", "4-bit weights", "4 位权重", "int8", StepSpec(technique="quantize-weights")),
    _variant(
        "prune30-channel",
        "30 % of the channels removed",
        "去掉三成通道",
        "fp32",
        StepSpec(technique="prune-channels", options={"ratio": 0.3}),
    ),
    _variant("prune50-channel", "Half of the channels removed", "去掉一半通道", "fp32", _PRUNE50),
    _variant("prune80-unstructured", "80 % zeros", "八成权重为零", "fp32", StepSpec(technique="prune-weights")),
    _variant("sparse-2:4", "Two of four zeros", "四取二稀疏", "fp32", StepSpec(technique="sparse-2:4")),
    _variant("share16", "16 values a layer", "每层 16 个值", "fp32", StepSpec(technique="share-weights")),
    _variant("share256", "256 values a layer", "每层 256 个值", "fp32", StepSpec(technique="share-weights")),
    _variant("distill-half", "A student of half the width", "半宽学生网络", "fp32", _DISTILL),
    _variant(
        "prune50-channel+int8-static", "Half of the channels, 8 bits", "一半通道加 8 位", "int8", _PRUNE50, _STATIC
    ),
    _variant("distill-half+int8-static", "The student, 8 bits", "学生网络加 8 位", "int8", _DISTILL, _STATIC),
)
SPECS = {variant.name: variant for variant in VARIANTS}

# variant -> speedup, share of the size, stored share (or None), MACs share, quality difference by workload
_TRAITS: dict[str, tuple[float, float, float | None, float, tuple[float, float, float]]] = {
    "fp32": (1.0, 1.0, None, 1.0, (0.0, 0.0, 0.0)),
    "bf16": (1.31, 0.5, None, 1.0, (0.0005, -0.0002, 0.0)),
    "fp16": (0.82, 0.5, None, 1.0, (0.0, 0.0, 0.0)),
    "int8-dynamic": (0.64, 0.26, None, 1.0, (-0.002, -0.011, -0.004)),
    "int8-static": (2.61, 0.26, None, 1.0, (-0.004, -0.009, -0.021)),
    "int8-static-entropy": (2.55, 0.27, None, 1.0, (-0.001, -0.004, -0.006)),
    "int4-weight": (1.12, 0.19, None, 1.0, (0.0, 0.0, -0.009)),
    "prune30-channel": (1.52, 0.52, 0.26, 0.51, (-0.001, -0.003, -0.005)),
    "prune50-channel": (2.31, 0.27, 0.13, 0.27, (-0.006, -0.021, -0.024)),
    "prune80-unstructured": (1.0, 1.0, 0.13, 1.0, (-0.003, -0.006, -0.008)),
    "sparse-2:4": (1.01, 1.0, 0.28, 1.0, (-0.001, -0.002, -0.003)),
    "share16": (0.99, 1.0, 0.13, 1.0, (-0.005, -0.013, -0.009)),
    "share256": (1.0, 1.0, 0.25, 1.0, (0.0, 0.0, 0.0)),
    "distill-half": (3.05, 0.26, 0.13, 0.26, (-0.003, -0.034, -0.031)),
    "prune50-channel+int8-static": (4.6, 0.08, None, 0.27, (-0.009, -0.026, -0.041)),
    "distill-half+int8-static": (5.9, 0.08, None, 0.26, (-0.008, -0.039, -0.052)),
}
# workload -> fp32 latency on torch, size, MACs, quality, metric, allowed loss by floor, engine factors
_BASE: dict[str, tuple[float, float, float, float, str]] = {
    "inspection": (0.031, 44_795_112, 1.814e9, 0.934, "top-1"),
    "detection": (0.082, 56_102_004, 4.52e9, 0.612, "mAP@[.5:.95]"),
    "speech": (0.024, 20_711_900, 0.61e9, 0.931, "1 - WER"),
}
_ENGINE = {"torch": 1.0, "torch-compile": 0.86, "onnxruntime": 0.6, "openvino": 0.57}
_HALF_WIDTH = {"inspection": 0.006, "detection": 0.004, "speech": 0.007}

_FACTS: dict[str, dict[str, Any]] = {
    "quantize-static": {"calibration": "minmax", "calibration_samples": 128, "products_quantised": 19},
    "prune-channels": {
        "removed": {"layer1.0.conv1": "64 -> 32 channels"},
        "parameters_before": 11_180_103,
        "parameters_after": 2_801_159,
        "quality_uncompressed": 0.936,
        "quality_before_tuning": 0.412,
        "quality_after_tuning": 0.931,
        "tuning": {
            "steps": 180,
            "planned_steps": 240,
            "cut_by_budget": True,
            "loss": 0.031,
            "wall_s": 61.2,
            "bf16": True,
        },
    },
    "prune-weights": {
        "zeros": {"layer1.0.conv1": 0.71, "layer4.1.conv2": 0.86},
        "quality_uncompressed": 0.936,
        "quality_before_tuning": 0.702,
        "quality_after_tuning": 0.933,
    },
    "sparse-2:4": {"left_dense": ["embedder.convolution"], "zeros": {"layer1.0.conv1": 0.5}},
    "share-weights": {"shared_weights": 11_157_504, "relative_squared_error": {"fc": 0.0012}},
    "distill": {
        "teacher": "the uncompressed network",
        "start": "every other channel of the network's own weights",
        "parameters_before": 11_180_103,
        "parameters_after": 2_801_159,
        "quality_uncompressed": 0.936,
        "quality_before_tuning": 0.311,
        "quality_without_teacher": 0.914,
        "quality_after_tuning": 0.929,
    },
    "quantize-weights": {"products_quantised": 96, "share_of_weights": 0.94, "block": 32, "symmetric": True},
}
_SENSITIVITY = {
    "judged_by": "answers",
    "loss_all_quantised": 0.164,
    "loss_after_exclusion": [0.121, 0.083],
    "excluded": ["/head/heat/Conv", "/backbone/embedder/Conv"],
    "most_sensitive": {"/head/heat/Conv": 0.11},
    "nodes_measured": 21,
    "complete": True,
    "samples": 16,
    "seconds": 11.4,
}
_CAUSES = {
    "int8-dynamic": Cause(
        code="dynamic-overhead", values={"share": "31 %", "operators": "DynamicQuantizeLinear 18 %, Mul 9 %"}
    ),
    "prune80-unstructured": Cause(code="dense-kernels", values={"products": "21", "macs": "1.81e+09"}),
    "share16": Cause(code="shared-weights", values={"products": "21", "macs": "1.81e+09"}),
    "fp16": Cause(code="upcast", values={"label": "fp16", "executed": "fp32"}),
}


def _artifact(workload: str, variant: str, backend: str) -> Artifact:
    _, size, macs, *_ = _BASE[workload]
    _, share, stored, mac_share, _ = _TRAITS[variant]
    spec = SPECS[variant]
    told = {step.technique: _FACTS[step.technique] for step in spec.steps if step.technique in _FACTS}
    if variant == "int8-static-entropy":
        told["quantize-static"] = told["quantize-static"] | {"calibration": "entropy", "sensitivity": _SENSITIVITY}
    return Artifact(
        format="torch-export" if backend.startswith("torch") else "onnx",
        path="artifacts/model.onnx",
        sha256=f"{sum(map(ord, workload + variant + backend)):064x}",
        recipe=spec.steps,
        precision=spec.precision,
        inputs=(TensorSpec(name="pixel_values", shape=(None, 3, 224, 224), dtype="float32"),),
        outputs=(TensorSpec(name="logits", shape=(None, 6), dtype="float32"),),
        size_bytes=int(size * share),
        stored_bytes=None if stored is None else int(size * stored),
        macs=int(macs * mac_share),
        parameters=int(11_180_103 * mac_share),
        facts={"steps": told} if told else {},
    )


def _cell(workload: str, variant: str, backend: str, scenario: Scenario) -> CellSpec:
    batch = 4 if scenario is SERVER else 1
    return CellSpec(
        workload=workload,
        variant=variant,
        backend=backend,
        device="host-cpu",
        scenario=scenario,
        threads=2,
        batch=batch,
    )


def _speedup(variant: str, backend: str) -> float:
    gain = _TRAITS[variant][0]
    return 1 + (gain - 1) * (0.9 if backend == "openvino" else 1.0)


def _measured(workload: str, variant: str, backend: str, scenario: Scenario) -> CellRecord:
    base_s, _, _, base_quality, metric = _BASE[workload]
    _, _, _, mac_share, losses = _TRAITS[variant]
    spec, artifact = SPECS[variant], _artifact(workload, variant, backend)
    gain = _speedup(variant, backend)
    p50 = base_s * _ENGINE[backend] / gain
    delta = losses[list(_BASE).index(workload)]
    half = _HALF_WIDTH[workload]
    queries = int(3 * 1.5 / p50)
    late = "server latencies" if scenario is SERVER else "pooled over 3 rounds"
    metrics: dict[str, Quantity] = {
        "latency_p50": quantity(p50, "s", 0.012, 3),
        "latency_p90": quantity(p50 * 1.07, "s", 0.03, queries, method=late),
        "latency_p99": quantity(p50 * 1.3, "s", 0.05, queries)
        if queries >= 662
        else Quantity.null("s", f"{queries} queries; p99 needs 662"),
        "throughput": quantity((0.8 if scenario is SERVER else 1) / p50, "1/s", 0.012, 3),
        "peak_memory": quantity(2.1e8 + 2 * artifact.size_bytes, "B", 0.004, 3),
        "model_size": Quantity(value=artifact.size_bytes, unit="B", n=1, provenance=M, method="size of the file"),
        "macs": Quantity(value=artifact.macs, unit="1", n=1, provenance=M, method="counted on the graph"),
        "quality": Quantity(
            value=base_quality + delta,
            unit="1",
            low=base_quality + delta - 0.022,
            high=base_quality + delta + 0.02,
            n=500,
            confidence=0.95,
            provenance=M,
            name=metric,
            method="bootstrap over the samples",
        ),
        "energy_per_inference": quantity(p50 * 21.5, "J", 0.14, 3, P, method="modelled"),
        "cost_per_million": quantity(p50 * 13.4, "USD", 0.022, 3, method="0.0680 USD/h, 60 % utilised"),
    }
    if workload == "speech":
        metrics["real_time_factor"] = quantity(p50 / 2.9, "1", 0.012, 3)
    if artifact.stored_bytes is not None:
        metrics["stored_size"] = Quantity(
            value=artifact.stored_bytes, unit="B", n=1, provenance=M, method="size of the weights as kept"
        )
    warnings: list[Notice] = []
    floor = -0.01 * base_quality
    meets = delta >= floor
    if variant == "fp32":
        metrics |= {tag: Quantity.null("1", "this is the baseline") for tag in ("speedup", "theoretical_speedup")}
        metrics["quality_delta"] = Quantity.null("1", "this is the baseline")
    else:
        ratio = {"int8": 4.0, "bf16": 2.0, "fp16": 1.0}.get(spec.precision, 1.0)
        metrics["speedup"] = quantity(gain, "1", 0.021, 3, method="ratio of medians over paired rounds")
        metrics["theoretical_speedup"] = Quantity(
            value=ratio / mac_share, unit="1", provenance=P, method=f"MACs ratio {1 / mac_share:.3g} x {ratio:g}"
        )
        metrics["quality_delta"] = Quantity(
            value=delta,
            unit="1",
            low=delta - half,
            high=delta + half,
            n=500,
            confidence=0.95,
            provenance=M,
            name=metric,
        )
        if delta - half < floor <= delta + half:
            warnings.append(
                Notice(
                    code="quality-uncertain",
                    message="500 samples cannot tell for sure whether it keeps 99% of fp32's quality",
                    hint="it is judged by the value itself",
                )
            )
    effective: dict[str, Any] = {"engine": backend, "threads": 2, "precision": spec.precision}
    if variant == "fp16":
        effective["executed_precision"] = "fp32"
    return CellRecord(
        cell=_cell(workload, variant, backend, scenario),
        status=Status.OK,
        metrics=metrics,
        rounds=make_rounds(p50, M, count=3),
        artifact=artifact,
        settings=Settings(requested={"min_queries": 64}, effective=effective),
        warnings=tuple(warnings),
        causes=(_CAUSES[variant],) if variant in _CAUSES else (),
        meets_target=p50 * 1.07 <= TARGETS_S[workload],
        meets_quality=meets,
    )


_NOT_APPLICABLE = Reason(
    code="not-applicable",
    message="97 % of the weights are in convolutions; block quantisation applies to matrix products",
    hint="use int8-static",
)
_EXCLUDED = {
    "torch-compile": Reason(code="excluded", message="compiling and starting it takes over a minute"),
    "server": Reason(code="excluded", message="single-stream shows whether it pays"),
    "engines": Reason(code="excluded", message="the main variants show how the engines differ"),
}


def _absence(workload: str, variant: str, backend: str, scenario: Scenario) -> Reason | None:
    """Return why a cell of the matrix is not measured, `None` if it is."""
    if variant == "int4-weight" and workload != "speech":
        return _NOT_APPLICABLE
    if "int" in variant and backend.startswith("torch"):
        return Reason(
            code="unsupported",
            message=f"{backend} cannot run a quantised ONNX graph",
            hint="use --backend onnxruntime or openvino",
        )
    if variant == "bf16" and backend == "onnxruntime":
        return Reason(code="unsupported", message="onnxruntime has no bf16 convolution on CPUs", hint="use openvino")
    if backend == "torch-compile" and variant not in MAIN:
        return _EXCLUDED["torch-compile"]
    if scenario is SERVER and variant not in MAIN:
        return _EXCLUDED["server"]
    if variant not in MAIN and backend != "onnxruntime" and not (variant == "bf16" and backend == "openvino"):
        return _EXCLUDED["engines"]
    return None


def suite_records() -> list[CellRecord]:
    """Return every cell of the matrix, measured or skipped; one failed and one is invalid."""
    records = []
    for workload in _BASE:
        for variant in SPECS:
            for backend in BACKENDS:
                for scenario in (SINGLE, SERVER):
                    why = _absence(workload, variant, backend, scenario)
                    if why is None:
                        records.append(_measured(workload, variant, backend, scenario))
                    else:
                        cell = _cell(workload, variant, backend, scenario)
                        records.append(CellRecord(cell=cell, status=Status.SKIPPED, reason=why))
    return [_spoiled(record) for record in records]


def _spoiled(record: CellRecord) -> CellRecord:
    cell = record.cell
    place = (cell.workload, cell.variant, cell.backend, cell.scenario)
    if place == ("detection", "share16", "onnxruntime", SINGLE):
        reason = Reason(code="out-of-memory", message="the worker was killed for memory", hint="free some memory")
        return CellRecord(cell=cell, status=Status.FAILED, reason=reason)
    if place == ("speech", "share256", "onnxruntime", SINGLE):
        reason = Reason(code="answers-differ", message="only 91.0% of the timed answers equal the scored ones")
        return record.model_copy(update={"status": Status.INVALID, "reason": reason})
    return record


def _workload(name: str, en: str, zh: str, metric: str, floor: float) -> WorkloadSpec:
    return WorkloadSpec(
        name=name,
        title={"en": en, "zh": zh},
        description={"en": f"{en}.", "zh": f"{zh}。"},
        task=name,
        model="model",
        data=DataSpec(seed=7, calibration=128, evaluation=1000),
        quality=QualitySpec(name=metric, floor=floor, relative_floor=0.99),
    )


def suite_manifest(records: list[CellRecord]) -> RunManifest:
    """Return the manifest of the run that spans `records`."""
    manifest = make_manifest(records)
    suite = SuiteSpec(
        name="manufacturing",
        title={"en": "A manufacturing line", "zh": "生产线"},
        description={
            "en": "Cameras, pickers and spoken commands: which compression and engine answer them for the least money?",
            "zh": "相机、拣选与语音指令：哪种压缩、哪个引擎最省钱？",
        },
        workloads=tuple(_BASE),
        variants=tuple(SPECS),
        backends=BACKENDS,
        scenarios=(
            ScenarioSpec(kind=SINGLE),
            ScenarioSpec(kind=SERVER, percentile=0.9, max_batch=4, max_wait_s=0.002),
        ),
        rounds=3,
        latency_target_s=0.1,
        latency_targets_s=TARGETS_S,
        latency_percentile=0.9,
        demand=manifest.suite.demand,
        region="eu-central",
    )
    workloads = (
        _workload("inspection", "Surface inspection", "表面缺陷检测", "top-1", 0.85),
        _workload("detection", "Part detection", "零件检测", "mAP@[.5:.95]", 0.5),
        _workload("speech", "Shop-floor speech", "车间语音", "1 - WER", 0.85),
    )
    return manifest.model_copy(
        update={
            "suite": suite,
            "workloads": workloads,
            "variants": VARIANTS,
            "cells": tuple(record.cell for record in records),
            "assumptions": manifest.assumptions[:2],
        }
    )


def make_suite_run() -> tuple[RunManifest, list[CellRecord]]:
    """Return the manifest and the records of the run."""
    records = suite_records()
    return suite_manifest(records), records


__all__ = ["BACKENDS", "SPECS", "VARIANTS", "Provenance", "make_suite_run", "suite_manifest", "suite_records"]
