"""From a request to cells: which are run, which are skipped and why, and how long it will take. Imports no engine."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leptonbench import catalog
from leptonbench.backends import SIMULATED, Recipe, Support, backend, backend_names, device_kind
from leptonbench.compression import TECHNIQUES
from leptonbench.compression.recipe import check_order
from leptonbench.errors import PrerequisiteError, UsageError
from leptonbench.harness.accelerator import HOST_GPU, current_gpu, gpu_features, why_no_gpu
from leptonbench.harness.budget import round_estimate_s
from leptonbench.harness.device import HOST_CPU
from leptonbench.harness.request import LatencyTarget, Overrides, Plan, RunRequest
from leptonbench.harness.system import cores_available
from leptonbench.registry import unknown
from leptonbench.schema import (
    CellRecord,
    CellSpec,
    DeviceProfile,
    Fingerprint,
    Notice,
    Reason,
    Scenario,
    ScenarioSpec,
    Settings,
    Status,
    SuiteSpec,
    VariantSpec,
    WorkloadSpec,
)
from leptonbench.stats.early_stopping import minimum_queries

_EXECUTORS = ("local",)
_SCORE_S = {"tabular": 0.001}  # seconds a sample, by task: for the estimate only
_SCORE_ELSE_S = 0.025
_PREPARE_S = 8.0  # seconds an artifact: likewise
_SIMULATE_S = 6.0  # seconds a group of simulated cells: likewise
_BATCHED = (Scenario.SERVER, Scenario.OFFLINE)
_DEVICES = {HOST_CPU: "cpu", HOST_GPU: "gpu"}  # of this machine, and the kind of backend that runs on each
_LATE = 3  # queries that a run certifying a percentile can afford late: at the floor of none, one hiccup fails it


@dataclass(frozen=True, slots=True)
class WorkloadPlan:
    """One workload of a run, with the model and data that it really uses."""

    spec: WorkloadSpec
    folder: Path
    base: Path | None
    own: Path | None
    source: Literal["huggingface", "onnx"]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything decided before anything is prepared."""

    suite: SuiteSpec
    workloads: tuple[WorkloadPlan, ...]
    variants: tuple[VariantSpec, ...]
    cells: tuple[CellSpec, ...]
    skipped: tuple[CellRecord, ...]
    notices: tuple[Notice, ...]
    boards: tuple[DeviceProfile, ...] = ()

    def scenario(self, cell: CellSpec) -> ScenarioSpec:
        """Return the settings of a cell's scenario: the suite's, with what the cell itself sets."""
        spec = next(s for s in self.suite.scenarios if s.kind is cell.scenario)
        changes: dict[str, object] = {}
        if cell.scenario in _BATCHED:
            changes["max_batch"] = cell.batch
        if cell.max_wait_s is not None:
            changes["max_wait_s"] = cell.max_wait_s
        return spec.model_copy(update=changes)

    def variant(self, cell: CellSpec) -> VariantSpec:
        """Return a cell's variant."""
        return next(v for v in self.variants if v.name == cell.variant)

    def workload(self, cell: CellSpec) -> WorkloadPlan:
        """Return a cell's workload."""
        return next(w for w in self.workloads if w.spec.name == cell.workload)

    def board(self, cell: CellSpec) -> DeviceProfile:
        """Return the device of a simulated cell."""
        return next(board for board in self.boards if board.name == cell.device)

    def summary(self) -> Plan:
        """Return what is shown to the user before the run."""
        return Plan(
            cells=self.cells,
            skipped=self.skipped,
            rounds=self.suite.rounds,
            duration_s=self.suite.duration_s,
            estimate_s=self.estimate_s(),
        )

    def estimate_s(self) -> float:
        """Return a rough time for the whole run, nothing cached."""
        timed = [cell for cell in self.cells if cell.backend not in SIMULATED]
        simulated = {cell.group for cell in self.cells if cell.backend in SIMULATED}
        groups = {cell.group: cell for cell in timed}.values()
        scoring_s = sum(self.scored_samples(cell) * self._score_estimate_s(cell) for cell in groups)
        rounds_s = sum(round_estimate_s(cell, self.suite) for cell in timed)
        artifacts = {(cell.workload, cell.variant, backend(cell.backend).format) for cell in self.cells}
        return _PREPARE_S * len(artifacts) + scoring_s + rounds_s + _SIMULATE_S * len(simulated)

    def _score_estimate_s(self, cell: CellSpec) -> float:
        return _SCORE_S.get(self.workload(cell).spec.task, _SCORE_ELSE_S)

    def scored_samples(self, cell: CellSpec) -> int:
        """Return how many evaluation samples give a cell's quality."""
        available = self.workload(cell).spec.data.evaluation
        return min(available, self.suite.quality_samples or available)


def plan_run(request: RunRequest, machine: Fingerprint) -> RunPlan:
    """Decide a run's cells.

    Raises:
        UsageError: On an unknown name.
        PrerequisiteError: If a workload's own model is missing.
    """
    if request.executor not in _EXECUTORS:
        raise unknown("executor", request.executor, _EXECUTORS)
    suite = _narrow(catalog.load_suite(request.suite), request)
    _check_backends(suite.backends)
    variants = tuple(catalog.load_variant(name) for name in suite.variants)
    for variant in variants:
        check_order(variant.name, variant.steps)
    if (request.model or request.data) and len(suite.workloads) > 1:
        raise UsageError(
            "your own model or data fit one workload, and the suite has several",
            cause=f"suite `{suite.name}` has {', '.join(suite.workloads)}",
            hint=f"say which one: --workload {suite.workloads[0]}",
        )
    workloads = tuple(_workload(name, request) for name in suite.workloads)
    asked = request.overrides
    threads = request.threads or suite.threads or max(1, cores_available() // (asked.instances or 1))
    features = {device: features_on(device, machine) for device in suite.devices if device in _DEVICES}
    cells: list[CellSpec] = []
    skipped: list[CellRecord] = []
    boards = tuple(catalog.load_board(name) for name in suite.devices if name not in _DEVICES)
    devices = {name: _DEVICES[name] for name in suite.devices if name in _DEVICES} | {b.name: b.kind for b in boards}
    pairs = _pairs(suite.backends, devices)
    for workload, (engine, device), variant, scenario in itertools.product(workloads, pairs, variants, suite.scenarios):
        cell = CellSpec(
            workload=workload.spec.name,
            variant=variant.name,
            backend=engine,
            device=device,
            scenario=scenario.kind,
            batch=1 if engine in SIMULATED else _batch(scenario, asked),
            threads=threads,
            instances=asked.instances or 1,
            max_wait_s=None if asked.max_wait_s == scenario.max_wait_s else asked.max_wait_s,
            options=asked.engine,
        )
        absent = why_no_gpu(machine.identity) if device == HOST_GPU else None
        reason = (
            (
                None
                if absent
                else why_unsupported(
                    cell, workload=workload, variant=variant, features=features.get(device, frozenset())
                )
            )
            or _why_not_queued(scenario.kind, asked)
            or _why_excluded(cell, suite, request)
        )
        if reason is not None and absent is None:
            skipped.append(skipped_record(cell, reason))
        elif reason is None and absent is not None:  # what is left out anyway is not listed as missing its device
            skipped.append(skipped_record(cell, absent))
        elif reason is None:
            cells.append(cell)
    notices = tuple(_notices(request, threads))
    return RunPlan(suite, workloads, variants, tuple(cells), tuple(skipped), notices, boards)


def _pairs(engines: Sequence[str], devices: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return each engine with the devices of its kind.

    Args:
        engines: Names of backends.
        devices: Kinds of devices, by name.

    Raises:
        UsageError: If there is no device for any of the engines.
    """
    pairs = [(engine, name) for engine in engines for name, kind in devices.items() if device_kind(engine) == kind]
    if not pairs:
        kinds = ", ".join(f"`{name}` on a {device_kind(name).upper()}" for name in engines)
        raise UsageError(
            f"`{', '.join(engines)}` does not run on `{', '.join(devices)}`",
            cause=f"each backend runs on one kind of device: {kinds}",
            hint="`leptonbench list backends` says which; leave --device out, and each backend gets its own",
        )
    return pairs


def skipped_record(cell: CellSpec, reason: Reason) -> CellRecord:
    """Return the record of a cell that is not run."""
    return CellRecord(cell=cell, status=Status.SKIPPED, reason=reason, settings=Settings())


def _batch(scenario: ScenarioSpec, asked: Overrides) -> int:
    if scenario.kind is Scenario.SINGLE_STREAM:
        return 1
    if scenario.kind is Scenario.MULTI_STREAM:
        return scenario.samples_per_query
    return asked.max_batch or scenario.max_batch


def _narrow(suite: SuiteSpec, request: RunRequest) -> SuiteSpec:
    """Apply filters and overrides; a filter may also name something that the suite itself leaves out."""
    kept = request.filters
    scenarios = suite.scenarios
    if names := kept.get("scenario"):
        known = [scenario.value for scenario in Scenario]
        for name in names:
            if name not in known:
                raise unknown("scenario", name, known)
        own = {scenario.kind: scenario for scenario in suite.scenarios}
        scenarios = tuple(own.get(Scenario(name)) or _default_scenario(Scenario(name), suite) for name in names)
    for name in kept.get("device") or ():
        paths = "/" in name or name.endswith((".yaml", ".yml"))
        if not paths and name not in (devices := (*_DEVICES, *catalog.board_names())):
            raise unknown("device", name, devices)
    if request.overrides.slo is not None:
        scenarios = tuple(held_to(scenario, request.overrides.slo) for scenario in scenarios)
    changes: dict[str, object] = {
        "workloads": kept.get("workload") or suite.workloads,
        "variants": kept.get("variant") or suite.variants,
        "backends": kept.get("backend") or suite.backends,
        "devices": kept.get("device") or suite.devices,
        "scenarios": scenarios,
    }
    narrowed = suite.model_copy(update=changes | _measuring(request))
    return narrowed if kept.get("device") else narrowed.model_copy(update={"devices": _devices(narrowed)})


def _devices(suite: SuiteSpec) -> tuple[str, ...]:
    """Return the suite's devices, and this machine's GPU where one of the backends runs on nothing else."""
    wants_gpu = any(name in backend_names() and device_kind(name) == _DEVICES[HOST_GPU] for name in suite.backends)
    return (*suite.devices, HOST_GPU) if wants_gpu and HOST_GPU not in suite.devices else suite.devices


def features_on(device: str, machine: Fingerprint) -> frozenset[str]:
    """Return what engines decide by on one of this machine's devices."""
    if device == HOST_GPU:
        return gpu_features(current_gpu(machine.identity))
    return frozenset(machine.identity.cpu_flags)


def _measuring(request: RunRequest) -> dict[str, object]:
    """Return the suite's settings that the user replaces: rounds, windows and the latency target."""
    changes: dict[str, object] = {}
    if request.rounds is not None:
        if request.rounds < 3:
            raise UsageError(
                f"--rounds {request.rounds} is too few", hint="an interval needs at least 3 fresh processes"
            )
        changes["rounds"] = request.rounds
    if request.duration_s is not None:
        changes["duration_s"] = request.duration_s
    if (slo := request.overrides.slo) is not None:
        changes |= {"latency_target_s": slo.seconds, "latency_percentile": slo.percentile, "latency_targets_s": {}}
    return changes


def held_to(scenario: ScenarioSpec, slo: LatencyTarget) -> ScenarioSpec:
    """Return a server scenario judged by another percentile, with queries enough that a run can certify it."""
    if scenario.kind is not Scenario.SERVER:
        return scenario
    queries = max(scenario.min_queries, minimum_queries(slo.percentile, _LATE))
    return scenario.model_copy(update={"percentile": slo.percentile, "min_queries": queries})


def _default_scenario(kind: Scenario, suite: SuiteSpec) -> ScenarioSpec:
    """Return a scenario that the suite leaves out; a server's is judged by the buyer's own percentile."""
    return (
        ScenarioSpec(kind=kind, percentile=suite.latency_percentile)
        if kind is Scenario.SERVER
        else ScenarioSpec(kind=kind)
    )


def _workload(name: str, request: RunRequest) -> WorkloadPlan:
    """Load a workload, with the user's own model and data in place of its own."""
    spec, folder = catalog.load_workload(name)
    source: Literal["huggingface", "onnx"] = "onnx" if (request.model or "").endswith(".onnx") else "huggingface"
    if request.model or request.data:
        # The floor was set for the workload's own model on its own data; the allowed drop still holds.
        quality = spec.quality.model_copy(update={"floor": 0.0})
        spec = spec.model_copy(update={"quality": quality})
    if request.model:
        return WorkloadPlan(spec.model_copy(update={"model": request.model}), folder, None, request.data, source)
    if not (folder / spec.model).exists():
        raise PrerequisiteError(
            f"the model of workload `{name}` is missing",
            cause=f"{folder / spec.model} does not exist",
            hint=f"restore it from the repository, or make it with {folder / 'train.py'}",
        )
    return WorkloadPlan(spec, folder, folder, request.data, source)


def _check_backends(names: Iterable[str]) -> None:
    for name in names:
        if name not in backend_names():
            raise unknown("backend", name, backend_names())


def why_unsupported(
    cell: CellSpec, *, workload: WorkloadPlan, variant: VariantSpec, features: frozenset[str]
) -> Reason | None:
    """Return why the engine cannot run a cell as it is labelled; `None` if it can."""
    techniques = tuple(step.technique for step in variant.steps)
    if variant.precision == "tf32" and device_kind(cell.backend) != "gpu":
        message = "TF32 is a mode of NVIDIA's tensor cores; a CPU computes fp32 in full"
        return Reason(code="unsupported", message=message, hint="use a backend that runs on a GPU")
    recipe = Recipe(workload.source, variant.precision, techniques, cell.options)
    support: Support = backend(cell.backend)().supports(recipe, features)
    if not support.ok:
        return Reason(code="unsupported", message=support.reason, hint=support.hint)
    on_module = [name for name in techniques if TECHNIQUES.get(name).stage == "module"]
    left = set(techniques) - set(on_module) - set(getattr(backend(cell.backend), "applies", ()))
    if left and backend(cell.backend).format == "torch-export":
        message = f"`{min(left)}` changes an ONNX graph, and `{cell.backend}` loads programs of torch"
        return Reason(code="unsupported", message=message, hint="use a backend that loads ONNX files")
    if workload.source == "onnx" and on_module:
        message = f"`{on_module[0]}` changes a PyTorch module, and the model is an ONNX file"
        return Reason(code="unsupported", message=message, hint="give the Hugging Face folder it was exported from")
    return None


def _why_not_queued(kind: Scenario, asked: Overrides) -> Reason | None:
    """Return why a scenario cannot honour a setting of the queue in front of the engine: it has none."""
    missing = []
    if kind not in _BATCHED:
        named = {"--instances": (asked.instances or 1) > 1, "--max-batch": asked.max_batch is not None}
        missing = [option for option, given in named.items() if given]
    if kind is not Scenario.SERVER and asked.max_wait_s is not None:
        missing.append("--max-wait")
    if not missing:
        return None
    how = "has every sample at once" if kind is Scenario.OFFLINE else "asks one query after the other"
    return Reason(
        code="unsupported",
        message=f"{kind.value} {how}: {' and '.join(missing)} would change nothing",
        hint=f"leave {'it' if len(missing) == 1 else 'them'} out, or ask for `--scenario server`",
    )


def _why_excluded(cell: CellSpec, suite: SuiteSpec, request: RunRequest) -> Reason | None:
    """Return the suite's reason for leaving a cell out; who asks for it on every axis that the rule names gets it."""
    for rule in suite.exclude:
        named = rule.axes
        excluded = all(str(getattr(cell, axis)) in names for axis, names in named.items())
        asked = all(str(getattr(cell, axis)) in request.filters.get(axis, ()) for axis in named)
        if excluded and not asked:
            words = " ".join(f"--{axis} {getattr(cell, axis)}" for axis in named)
            return Reason(
                code="excluded", message=f"the suite leaves it out: {rule.reason}", hint=f"ask for it: {words}"
            )
    return None


def _notices(request: RunRequest, threads: int) -> list[Notice]:
    cores, instances = cores_available(), request.overrides.instances or 1
    crowded = Notice(
        code="oversubscribed",
        message=f"{instances} instances of {threads} threads share {cores} cores",
        hint="their threads take turns; ask for fewer --threads or --instances",
    )
    notices = [crowded] if instances > 1 and instances * threads > cores else []
    if not (request.model or request.data):
        return notices
    return [
        *notices,
        Notice(
            code="own-model",
            message="the quality floor of the workload is not applied to your own model or data",
            hint="quality is compared with the fp32 variant on the same samples",
        ),
    ]
