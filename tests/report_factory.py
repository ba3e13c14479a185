"""A realistic, deterministic run for tests of whatever reads records: all statuses, all provenances, nulls."""

from __future__ import annotations

from typing import Any

from leptonbench.schema import (
    Artifact,
    Assumption,
    Boundary,
    CellRecord,
    CellSpec,
    DataSpec,
    DemandSpec,
    DeviceProfile,
    EnergyReading,
    Fingerprint,
    Identity,
    Notice,
    Provenance,
    QualitySpec,
    Quantity,
    Reason,
    RoundRecord,
    RunManifest,
    Scenario,
    ScenarioSpec,
    Settings,
    State,
    Status,
    StepSpec,
    SuiteSpec,
    TensorSpec,
    VariantSpec,
    WorkloadSpec,
)

M, S, P, A = Provenance.MEASURED, Provenance.SIMULATED, Provenance.PROJECTED, Provenance.ASSUMED
SINGLE, SERVER, OFFLINE = Scenario.SINGLE_STREAM, Scenario.SERVER, Scenario.OFFLINE

VARIANTS = (
    VariantSpec(name="fp32", title={"en": "fp32", "zh": "fp32"}, precision="fp32"),
    VariantSpec(
        name="int8-static",
        title={"en": "INT8, static", "zh": "INT8 静态量化"},
        steps=(StepSpec(technique="quantize-static", options={"per_channel": True, "calibration": "minmax"}),),
        precision="int8",
    ),
    VariantSpec(
        name="prune50",
        title={"en": "Half the channels", "zh": "通道剪枝一半"},
        steps=(StepSpec(technique="prune-channels", options={"fraction": 0.5, "finetune_epochs": 2}),),
        precision="fp32",
    ),
    VariantSpec(
        name="prune50+int8-static",
        title={"en": "Half the channels, INT8", "zh": "剪枝一半并 INT8 量化"},
        steps=(
            StepSpec(technique="prune-channels", options={"fraction": 0.5, "finetune_epochs": 2}),
            StepSpec(technique="quantize-static", options={"per_channel": True, "calibration": "minmax"}),
        ),
        precision="int8",
    ),
    VariantSpec(
        name="distill-half",
        title={"en": "Distilled to half", "zh": "蒸馏到一半"},
        steps=(StepSpec(technique="distill", options={"width": 0.5, "temperature": 4.0}),),
        precision="fp32",
    ),
)

# variant -> size (bytes), MACs, parameters, top-1, paired difference to fp32
SIZES: dict[str, tuple[float, float, float, float, float]] = {
    "fp32": (44_795_112, 1_814_000_000, 11_181_642, 0.9840, 0.0),
    "int8-static": (11_402_233, 1_814_000_000, 11_181_642, 0.9817, -0.0023),
    "prune50": (11_734_092, 488_200_000, 2_905_154, 0.9780, -0.0060),
    "prune50+int8-static": (3_060_411, 488_200_000, 2_905_154, 0.9763, -0.0077),
    "distill-half": (11_290_118, 470_100_000, 2_812_234, 0.9413, -0.0427),
}


def quantity(value: float, unit: str, spread: float, n: int = 5, provenance: Provenance = M, **rest: Any) -> Quantity:
    """Build a quantity whose interval reaches `spread` (a fraction of the value) to both sides."""
    low, high = sorted((value * (1 - spread), value * (1 + spread)))
    fields = {"confidence": 0.95, "method": "median of 5 rounds, LoadGen 6.0.17", **rest}
    return Quantity(value=value, unit=unit, low=low, high=high, n=n, provenance=provenance, **fields)


def _cell(workload: str, variant: str, backend: str, scenario: Scenario, device: str = "host-cpu") -> CellSpec:
    return CellSpec(workload=workload, variant=variant, backend=backend, device=device, scenario=scenario, threads=2)


def _latencies(p50: float, scenario: Scenario, provenance: Provenance, queries: int) -> dict[str, Quantity]:
    if scenario is OFFLINE:
        why = "offline answers one large query: there is no latency of a single sample"
        return {tag: Quantity.null("s", why) for tag in ("latency_p50", "latency_p90", "latency_p99", "latency_p999")}
    exact = provenance is S
    spread = 0.0 if exact else 0.011
    rest: dict[str, Any] = {"method": "cycles of the RTL model / 250 MHz"} if exact else {}
    latencies = {
        "latency_p50": quantity(p50, "s", spread, provenance=provenance, **rest),
        "latency_p90": quantity(p50 * 1.06, "s", spread * 2, provenance=provenance, **rest),
        "latency_mean": quantity(p50 * 1.02, "s", spread * 1.4, provenance=provenance, **rest),
        "latency_p999": Quantity.null("s", f"{queries:,} queries; p99.9 needs 6,636"),
    }
    if queries < 662:
        latencies["latency_p99"] = Quantity.null("s", f"{queries} queries; p99 needs 662")
    else:
        latencies["latency_p99"] = quantity(p50 * 1.31, "s", spread * 4, provenance=provenance, **rest)
    return latencies


def _sizes(variant: str) -> dict[str, Quantity]:
    size, macs, parameters, quality, delta = SIZES[variant]
    counted = {"provenance": M, "n": 1, "method": "counted on the graph"}
    ends = {"low": delta - 0.0041, "high": delta + 0.0041}
    drop = Quantity(value=delta, unit="1", **ends, n=600, confidence=0.95, provenance=M, name="top-1")
    base = Quantity.null("1", "this is the fp32 variant")
    return {
        "model_size": Quantity(value=size, unit="B", **counted),
        "macs": Quantity(value=macs, unit="1", **counted),
        "parameters": Quantity(value=parameters, unit="1", **counted),
        "quality": Quantity(
            value=quality,
            unit="1",
            low=quality - 0.011,
            high=quality + 0.008,
            n=600,
            confidence=0.95,
            provenance=M,
            method="Wilson interval",
            name="top-1",
        ),
        "quality_delta": base if variant == "fp32" else drop,
    }


def _money(p50: float, backend: str, provenance: Provenance) -> dict[str, Quantity]:
    if backend == "fpga":
        why = "no on-demand price for `kv260` in region `eu-central`"
        energy = quantity(p50 * 6.2, "J", 0.3, 1, P, method="activity x published power", boundary=Boundary.BOARD)
        return {"cost_per_million": Quantity.null("USD", why), "energy_per_inference": energy}
    weaker = max((provenance, M), key=lambda kind: kind.rank)
    return {
        "cost_per_million": quantity(p50 * 13.4, "USD", 0.022, provenance=weaker, method="0.0680 USD/h, 60 % utilised"),
        "owned_cost_per_million": quantity(p50 * 7.9, "USD", 0.18, provenance=A, method="TCO, 4 years, 40 % utilised"),
        "energy_per_inference": quantity(
            p50 * 21.5, "J", 0.14, provenance=P, method="modelled from SPECpower shape", boundary=Boundary.WALL
        ),
    }


def make_rounds(p50: float | None, provenance: Provenance, *, count: int = 5) -> tuple[RoundRecord, ...]:
    """Return so many rounds of a cell; none without a measured latency."""
    if p50 is None or provenance is not M:
        return ()
    factors = (0.998, 1.004, 1.0, 1.011, 0.991)[:count]
    reading = EnergyReading(
        energy_j=31.0,
        low_j=27.1,
        high_j=35.4,
        idle_j=12.5,
        window_s=1.52,
        boundary="wall",
        method="cpu-model",
        provenance=P,
        coverage=0.98,
        samples=152,
    )
    busy = Notice(code="host-load", message="load average 2.6 on 2 cores at the start", hint="close other programs")
    return tuple(
        RoundRecord(
            index=index,
            started=f"2026-11-03T09:1{index}:07Z",
            wall_s=4.1 + index / 10,
            status=Status.OK,
            values={"latency_p50": p50 * factor, "throughput": 1 / (p50 * factor), "peak_memory": 2.1e8 + index * 4096},
            queries=int(1.5 / p50),
            loadgen={"result": "VALID", "min_queries_met": True},
            energy=reading,
            notices=(busy,) if index == 3 else (),
            load_average=0.4 + 0.55 * index,
        )
        for index, factor in enumerate(factors)
    )


def _artifact(variant: VariantSpec, backend: str) -> Artifact:
    size, macs, parameters, *_ = SIZES[variant.name]
    digest = f"{sum(map(ord, variant.name + backend)):064x}"
    return Artifact(
        format="torch-export" if backend == "torch" else "onnx",
        path=f"artifacts/{digest[-12:]}.{'pt2' if backend == 'torch' else 'onnx'}",
        sha256=digest,
        recipe=variant.steps,
        precision=variant.precision,
        inputs=(TensorSpec(name="image", shape=(None, 3, 224, 224), dtype="float32"),),
        outputs=(TensorSpec(name="logits", shape=(None, 6), dtype="float32"),),
        size_bytes=int(size),
        macs=int(macs),
        parameters=int(parameters),
    )


def ok_record(
    variant: str,
    backend: str,
    scenario: Scenario,
    p50: float,
    *,
    speedup: float | None = None,
    status: Status = Status.OK,
    provenance: Provenance = M,
    workload: str = "inspection",
    device: str = "host-cpu",
) -> CellRecord:
    """Build a cell that has numbers, from its median latency (offline: time per sample), in seconds."""
    queries = int(5 * 1.5 / p50)
    metrics = _latencies(p50, scenario, provenance, queries) | _sizes(variant) | _money(p50, backend, provenance)
    metrics["throughput"] = quantity(1 / p50, "1/s", 0.011, provenance=provenance)
    metrics["peak_memory"] = quantity(2.1e8 + SIZES[variant][0] * 2, "B", 0.004)
    metrics["load_time"] = quantity(0.21, "s", 0.06)
    metrics["first_inference"] = quantity(p50 * 3.4, "s", 0.12)
    metrics["preprocess"] = quantity(0.0021, "s", 0.03)
    metrics["postprocess"] = quantity(0.0000184, "s", 0.05)
    theory = {"fp32": 1.0, "int8-static": 4.0, "prune50": 3.72, "prune50+int8-static": 14.9, "distill-half": 3.86}
    metrics["theoretical_speedup"] = Quantity(
        value=theory[variant], unit="1", provenance=A, method="MACs ratio x 4 for int8 on AVX-512 VNNI"
    )
    why = "this is the fp32 variant" if variant == "fp32" else "no fp32 cell on this backend to compare with"
    metrics["speedup"] = Quantity.null("1", why) if speedup is None else quantity(speedup, "1", 0.016)
    spec = next(item for item in VARIANTS if item.name == variant)
    notices: tuple[Notice, ...] = ()
    if speedup is not None and speedup < theory[variant] * 0.7:
        text = f"measured {speedup:.2f}x of {theory[variant]:.1f}x in theory: 38 % of the time is spent in fp32"
        notices = (Notice(code="speedup-below-theory", message=text, hint="fuse Add and Relu before quantizing"),)
    good = SIZES[variant][3] >= 0.97
    reason = Reason(
        code="early-stopping",
        message="LoadGen: early stopping needs 64 queries, got 51",
        hint="raise `--duration` to 4s",
    )
    return CellRecord(
        cell=_cell(workload, variant, backend, scenario, device),
        status=status,
        reason=reason if status is Status.INVALID else None,
        metrics=metrics,
        rounds=make_rounds(None if scenario is OFFLINE else p50, provenance),
        artifact=_artifact(spec, backend),
        settings=Settings(
            requested={"rounds": 5, "duration_s": 1.5, "threads": 2},
            effective={"rounds": 5, "duration_s": 1.5, "threads": 2, "graph_optimization": "all"},
        ),
        warnings=notices,
        meets_target=None if scenario is OFFLINE else p50 * 1.31 <= 0.05,
        meets_quality=good,
    )


def absent_record(
    variant: str, backend: str, scenario: Scenario, status: Status, reason: Reason, workload: str = "inspection"
) -> CellRecord:
    """Build a cell without numbers: failed or skipped, with its reason."""
    device = "kv260" if backend == "fpga" else "host-cpu"
    return CellRecord(cell=_cell(workload, variant, backend, scenario, device), status=status, reason=reason)


def make_records() -> list[CellRecord]:
    """Return about twenty cells of two workloads: ok, invalid, failed, skipped; simulated and projected numbers."""
    unsupported = Reason(
        code="unsupported",
        message="torch cannot run a QDQ graph of ONNX",
        hint="use --backend onnxruntime or openvino",
    )
    crash = Reason(
        code="crash",
        message="the worker ended with signal 11 in round 2",
        hint="run it alone with --rounds 3 and LEPTONBENCH_DEBUG=1",
        stderr=("Fatal Python error: Segmentation fault", 'File "session.py", line 88 in run <module>'),
    )
    softmax = Reason(
        code="unsupported", message="operator Softmax (node attn_3) has no lowering", hint="run it on the host CPU"
    )
    return [
        ok_record("fp32", "torch", SINGLE, 0.0312),
        ok_record("fp32", "onnxruntime", SINGLE, 0.0174),
        ok_record("fp32", "openvino", SINGLE, 0.0169),
        ok_record("int8-static", "onnxruntime", SINGLE, 0.00706, speedup=2.46),
        ok_record("int8-static", "openvino", SINGLE, 0.00699, speedup=2.42),
        ok_record("int8-static", "fpga", SINGLE, 0.0118, provenance=S, device="kv260"),
        ok_record("prune50", "torch", SINGLE, 0.0309, speedup=1.01),
        ok_record("prune50", "onnxruntime", SINGLE, 0.00912, speedup=1.91),
        ok_record("prune50+int8-static", "onnxruntime", SINGLE, 0.00431, speedup=4.04),
        ok_record("prune50+int8-static", "openvino", SINGLE, 0.00402, speedup=4.2, status=Status.INVALID),
        ok_record("distill-half", "onnxruntime", SINGLE, 0.00388, speedup=4.48),
        absent_record("int8-static", "torch", SINGLE, Status.SKIPPED, unsupported),
        ok_record("fp32", "onnxruntime", SERVER, 0.0412),
        ok_record("int8-static", "onnxruntime", SERVER, 0.0147, speedup=2.8),
        ok_record("int8-static", "openvino", SERVER, 0.0151, speedup=2.73),
        absent_record("int8-static", "torch", SERVER, Status.SKIPPED, unsupported),
        ok_record("fp32", "onnxruntime", OFFLINE, 0.0158),
        ok_record("int8-static", "onnxruntime", OFFLINE, 0.0061, speedup=2.59),
        ok_record("fp32", "onnxruntime", SINGLE, 0.412, workload="detection"),
        absent_record("int8-static", "onnxruntime", SINGLE, Status.FAILED, crash, workload="detection"),
        absent_record("int8-static", "fpga", SINGLE, Status.SKIPPED, softmax, workload="detection"),
    ]


def _workload(name: str, en: str, zh: str) -> WorkloadSpec:
    return WorkloadSpec(
        name=name,
        title={"en": en, "zh": zh},
        description={"en": f"{en} on a production line.", "zh": f"生产线上的{zh}。"},
        task=name,
        model="resnet18",
        data=DataSpec(seed=7, calibration=128, evaluation=600),
        quality=QualitySpec(name="top-1", floor=0.97, relative_floor=0.99),
    )


def make_manifest(records: list[CellRecord]) -> RunManifest:
    """Return the manifest of a run that spans `records`."""
    fingerprint = Fingerprint(
        identity=Identity(
            cpu_model="AMD EPYC 7763 64-Core Processor",
            cpu_vendor="AuthenticAMD",
            cpu_family=25,
            cpu_model_number=1,
            cpu_flags=("avx2", "bmi2", "fma"),
            logical_cores=2,
            physical_cores=1,
            memory_bytes=8_332_689_408,
            virtualisation="microsoft",
            os="Ubuntu 24.04",
            kernel="6.8.0",
            python="3.12.4",
            packages={"onnxruntime": "1.23.0", "openvino": "2025.3.0", "torch": "2.9.0"},
        ),
        state=State(
            load_average=(0.31, 0.24, 0.2),
            available_memory_bytes=6_112_000_000,
            cpu_frequency_hz=3.24e9,
            governor=None,
            steal_fraction=0.002,
        ),
    )
    suite = SuiteSpec(
        name="manufacturing",
        title={"en": "A manufacturing line", "zh": "生产线质检"},
        description={
            "en": "Cameras over a conveyor: find surface defects before the part reaches the robot.",
            "zh": "传送带上方的相机：在零件到达机械臂之前找出表面缺陷。",
        },
        workloads=("inspection", "detection"),
        variants=tuple(variant.name for variant in VARIANTS),
        backends=("torch", "onnxruntime", "openvino", "fpga"),
        devices=("host-cpu", "kv260"),
        scenarios=(ScenarioSpec(kind=SINGLE), ScenarioSpec(kind=SERVER, percentile=0.99), ScenarioSpec(kind=OFFLINE)),
        rounds=5,
        latency_target_s=0.05,
        latency_percentile=0.99,
        demand=DemandSpec(
            description={"en": "Four lines, two shifts", "zh": "四条产线，两班倒"},
            rate_per_s=40,
            hours_per_day=16,
            days_per_week=6,
        ),
        region="eu-central",
    )
    assumptions = (
        Assumption(
            name="host-cpu on-demand price",
            value=0.068,
            unit="USD/h",
            source="https://example.org/prices, 2 vCPU",
            date="2026-10-01",
            assumed=False,
        ),
        Assumption(
            name="utilisation", value=0.6, unit="1", low=0.3, high=0.8, source="judgement", date="2026-11", assumed=True
        ),
        Assumption(
            name="electricity",
            value=0.21,
            unit="USD/kWh",
            low=0.15,
            high=0.3,
            source="Eurostat nrg_pc_205",
            date="2026",
            assumed=False,
        ),
    )
    return RunManifest(
        run_id="20261103-091200-manufacturing",
        created="2026-11-03T09:12:00Z",
        finished="2026-11-03T09:31:44Z",
        leptonbench_version="0.1.0",
        git_commit="361e7ed0c1d9a5f2b7a83be5b1f0a4f6e2d7c9aa",
        git_dirty=True,
        command=("leptonbench", "run", "--suite", "manufacturing", "--rounds", "5"),
        suite=suite,
        workloads=(
            _workload("inspection", "Surface inspection", "表面缺陷检测"),
            _workload("detection", "Part detection", "零件检测"),
        ),
        variants=VARIANTS,
        devices=(
            DeviceProfile(name="host-cpu", kind="cpu", title={"en": "This machine's CPU", "zh": "本机 CPU"}),
            DeviceProfile(name="kv260", kind="fpga", title={"en": "KV260 board", "zh": "KV260 开发板"}),
        ),
        cells=tuple(record.cell for record in records),
        settings=Settings(requested={"rounds": 5}, effective={"rounds": 5, "duration_s": 1.5, "seed": 2026}),
        seed=2026,
        fingerprint=fingerprint,
        assumptions=assumptions,
        null_query_s=2.3e-6,
        notices=(
            Notice(
                code="virtual-machine",
                message="the machine is virtual: neighbours may take its cores",
                hint="measure on bare metal before you sign a contract",
            ),
        ),
    )


def make_run() -> tuple[RunManifest, list[CellRecord]]:
    """Return the manifest and the records of the run."""
    records = make_records()
    return make_manifest(records), records
