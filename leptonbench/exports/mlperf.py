"""The layout of an MLPerf Inference submission: LoadGen's logs, the system, the measurements, and a summary row.

It is not a submission and cannot become one: the models and data are not MLPerf's, and no audit was run. The division
is `open` and every file says `unverified`, as MLCommons asks of figures that it has not checked (its results messaging
guidelines). What MLCommons' checker wants to know of a system and we cannot see is said to be unknown, not guessed.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

from leptonbench.exports import Folder
from leptonbench.exports.headline import headline, measured
from leptonbench.schema import CellRecord, Identity, RunManifest, Scenario

NOTICE = "unverified: not an MLPerf result, and not checked by MLCommons Association"
SUBMITTER = "leptonbench"
_UNKNOWN = "not known to leptonbench"
_NONE = "N/A"
_CPU = "host-cpu"
_NAMES = {
    Scenario.SINGLE_STREAM: "SingleStream",
    Scenario.MULTI_STREAM: "MultiStream",
    Scenario.SERVER: "Server",
    Scenario.OFFLINE: "Offline",
}
LOGS = ("mlperf_log_summary.txt", "mlperf_log_detail.txt")
COLUMNS = (
    "Organization",
    "Availability",
    "Division",
    "SystemType",
    "SystemName",
    "Platform",
    "Model",
    "MlperfModel",
    "Scenario",
    "Result",
    "Accuracy",
    "number_of_nodes",
    "host_processor_model_name",
    "host_processors_per_node",
    "host_processor_core_count",
    "accelerator_model_name",
    "accelerators_per_node",
    "Location",
    "framework",
    "operating_system",
    "notes",
    "Result_Units",
)


def export_mlperf(manifest: RunManifest, records: Sequence[CellRecord]) -> Folder:
    """Write a run as `open/leptonbench/{systems,measurements,results}` with a `summary.csv` beside it.

    Only cells that are `ok` and that LoadGen drove on this machine are in it: a simulated device is no system that one
    could look at. The processor alone is one system, the processor with its GPU another. A benchmark is a workload with
    its variant and backend, since MLPerf knows one implementation a system. LoadGen's logs are copied as they are.
    """
    identity = manifest.fingerprint.identity
    root = f"open/{SUBMITTER}"
    files = {"README.md": _readme(manifest)}
    copies: dict[str, str] = {}
    rows = []
    kept = [record for record in records if measured(record) and record.rounds]
    for device in dict.fromkeys(record.cell.device for record in kept):
        mine = [record for record in kept if record.cell.device == device]
        files[f"{root}/systems/{_system_name(identity, device)}.json"] = _json(_system(identity, device, mine))
    for record in kept:
        system = _system_name(identity, record.cell.device)
        place = f"{system}/{_benchmark(record)}/{_NAMES[record.cell.scenario]}"
        folder = f"{root}/measurements/{place}"
        files[f"{folder}/{system}_{_slug(record.cell.backend)}_{_NAMES[record.cell.scenario]}.json"] = _json(
            _implementation(record)
        )
        files[f"{folder}/user.conf"] = _user_conf(record)
        files[f"{folder}/README.md"] = _how(manifest, record)
        for number, one in enumerate(record.rounds, 1):
            run = f"{root}/results/{place}/performance/run_{number}"
            copies |= {f"{run}/{log}": f"logs/{record.cell.key}/{one.index}/{log}" for log in LOGS}
        rows.append(_row(record, identity, system, f"{root}/results/{place}"))
    files["summary.csv"] = _table(rows)
    return Folder(files, copies)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") or "system"


def _benchmark(record: CellRecord) -> str:
    cell = record.cell
    parts = (cell.workload, cell.variant, cell.backend, f"b{cell.batch}", f"t{cell.threads}", f"i{cell.instances}")
    return _slug("-".join((*parts, *cell.settings_tags)))


def _gpu(identity: Identity, device: str) -> str | None:
    """Return the GPU that a device of this machine is: the first, as its driver calls it; `None` for the processor."""
    return None if device == _CPU else next(iter(identity.gpus), _UNKNOWN)


def _system_name(identity: Identity, device: str) -> str:
    gpu = _gpu(identity, device)
    return _slug(identity.cpu_model) + (f"_{_slug(gpu)}" if gpu else "")


def _system(identity: Identity, device: str, records: Sequence[CellRecord]) -> dict[str, Any]:
    """Describe the system by the keys that MLCommons' submission checker requires."""
    gpu = _gpu(identity, device)
    idle = identity.gpus[1:] if gpu else identity.gpus
    unseen = _UNKNOWN if gpu else _NONE
    frameworks = sorted({record.cell.backend for record in records})
    versions = ", ".join(f"{name} {found}" for name, found in sorted(identity.packages.items()))
    return {
        "division": "open",
        "submitter": SUBMITTER,
        "status": "available",
        "system_type": "edge",
        "system_type_detail": _NONE,
        "system_name": f"{identity.cpu_model}, {gpu}" if gpu else identity.cpu_model,
        "number_of_nodes": "1",
        "host_processor_model_name": identity.cpu_model,
        "host_processors_per_node": _UNKNOWN,
        "host_processor_core_count": str(identity.physical_cores or identity.logical_cores),
        "host_processor_frequency": _UNKNOWN,
        "host_processor_caches": _UNKNOWN,
        "host_processor_interconnect": _UNKNOWN,
        "host_memory_capacity": f"{identity.memory_bytes / 2**30:.1f} GiB",
        "host_memory_configuration": _UNKNOWN,
        "host_storage_capacity": _UNKNOWN,
        "host_storage_type": _UNKNOWN,
        "host_networking": _NONE,
        "host_networking_topology": _NONE,
        "host_network_card_count": _NONE,
        "accelerators_per_node": "1" if gpu else "0",
        "accelerator_model_name": gpu or _NONE,
        "accelerator_memory_capacity": unseen,
        "accelerator_frequency": unseen,
        "accelerator_host_interconnect": unseen,
        "accelerator_interconnect": _NONE,
        "accelerator_interconnect_topology": _NONE,
        "accelerator_memory_configuration": unseen,
        "accelerator_on-chip_memories": unseen,
        "framework": ", ".join(frameworks),
        "operating_system": f"{identity.os}, Linux {identity.kernel}",
        "other_software_stack": f"Python {identity.python}, {versions}",
        "cooling": _UNKNOWN,
        "hw_notes": "; ".join(filter(None, (identity.virtualisation, *(f"idle: {name}" for name in idle)))),
        "sw_notes": NOTICE,
    }


def _implementation(record: CellRecord) -> dict[str, str]:
    """Describe the implementation by the keys that the checker requires."""
    artifact = record.artifact
    steps = [step.technique for step in artifact.recipe] if artifact else []
    tuned = bool(artifact and artifact.facts.get("tuned"))
    return {
        "input_data_types": ", ".join(sorted({spec.dtype for spec in artifact.inputs})) if artifact else _UNKNOWN,
        "retraining": "Yes" if tuned else "No",
        "starting_weights_filename": record.cell.workload,
        "weight_data_types": artifact.precision if artifact else _UNKNOWN,
        "weight_transformations": ", ".join(steps) or "none",
        "notes": NOTICE,
    }


def _user_conf(record: CellRecord) -> str:
    """Return what LoadGen was asked for, as it logged it; the settings were made in code and in no file."""
    first = record.rounds[0].loadgen if record.rounds else {}
    asked = {name: value for name, value in sorted(first.items()) if name.startswith("requested_")}
    lines = [f"# {name.removeprefix('requested_')} = {value}" for name, value in asked.items()]
    return "\n".join([f"# {NOTICE}", "# Set in code; as LoadGen logged them:", *lines]) + "\n"


def _how(manifest: RunManifest, record: CellRecord) -> str:
    command = " ".join(manifest.command) or "leptonbench run"
    return (
        f"# {record.cell.key}\n\n{NOTICE}.\n\nMeasured by `{command}` of leptonbench {manifest.leptonbench_version}.\n"
    )


def _readme(manifest: RunManifest) -> str:
    return f"# Run {manifest.run_id} in the layout of MLPerf Inference\n\n{NOTICE}.\n"


def _row(record: CellRecord, identity: Identity, system: str, location: str) -> dict[str, Any]:
    tag = headline(record)
    figure, quality = record.metrics.get(tag), record.metrics.get("quality")
    value = figure.value if figure is not None else None
    latency = tag == "latency_p50"
    gpu = _gpu(identity, record.cell.device)
    return {
        "Organization": SUBMITTER,
        "Availability": "available",
        "Division": "open",
        "SystemType": "edge",
        "SystemName": f"{identity.cpu_model}, {gpu}" if gpu else identity.cpu_model,
        "Platform": system,
        "Model": _benchmark(record),
        "MlperfModel": _NONE,
        "Scenario": _NAMES[record.cell.scenario],
        "Result": None if value is None else value * 1e3 if latency else value,
        "Accuracy": quality.value if quality is not None else None,
        "number_of_nodes": 1,
        "host_processor_model_name": identity.cpu_model,
        "host_processors_per_node": _UNKNOWN,
        "host_processor_core_count": identity.physical_cores or identity.logical_cores,
        "accelerator_model_name": gpu or _NONE,
        "accelerators_per_node": 1 if gpu else 0,
        "Location": location,
        "framework": record.cell.backend,
        "operating_system": identity.os,
        "notes": NOTICE,
        "Result_Units": "Latency p50 (ms)" if latency else "Samples/s",
    }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
