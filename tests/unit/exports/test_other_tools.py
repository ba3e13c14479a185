"""Exports, read back by the tools that they are for or held against the schemas that those publish."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from leptonbench.cli.app import invoke
from leptonbench.exports import Folder
from leptonbench.exports.github_benchmark import BIGGER, SMALLER, export_github
from leptonbench.exports.mlperf import LOGS, NOTICE, export_mlperf
from leptonbench.exports.parquet import export_parquet
from leptonbench.exports.pytest_benchmark import export_pytest_benchmark
from leptonbench.schema import CellRecord, RunManifest, Status
from leptonbench.store import RunStore
from tests.report_factory import make_run

# Required by MLCommons' submission checker (mlcommons/inference, tools/submission/submission_checker.py, read 2026-11).
SYSTEM_KEYS = frozenset(
    [
        "division",
        "submitter",
        "status",
        "system_name",
        "number_of_nodes",
        "host_processor_model_name",
        "host_processors_per_node",
        "host_processor_core_count",
        "host_memory_capacity",
        "host_storage_capacity",
        "host_storage_type",
        "accelerators_per_node",
        "accelerator_model_name",
        "accelerator_memory_capacity",
        "framework",
        "operating_system",
        "system_type",
        "other_software_stack",
        "host_processor_frequency",
        "host_processor_caches",
        "host_memory_configuration",
        "host_processor_interconnect",
        "host_networking",
        "host_networking_topology",
        "accelerator_frequency",
        "accelerator_host_interconnect",
        "accelerator_interconnect",
        "accelerator_interconnect_topology",
        "accelerator_memory_configuration",
        "accelerator_on-chip_memories",
        "cooling",
        "hw_notes",
        "sw_notes",
        "host_network_card_count",
        "system_type_detail",
    ]
)
IMPLEMENTATION_KEYS = frozenset(
    ["input_data_types", "retraining", "starting_weights_filename", "weight_data_types", "weight_transformations"]
)


def _ok(records: list[CellRecord]) -> list[CellRecord]:
    return [record for record in records if record.status is Status.OK]


def _driven(records: list[CellRecord]) -> list[CellRecord]:
    """Return what LoadGen drove: a simulated device has no rounds."""
    return [record for record in _ok(records) if record.rounds]


def _compare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_benchmark", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_pytest_benchmarks_own_compare_reads_two_runs(tmp_path: Path) -> None:
    manifest, records = make_run()
    for name in ("0001_before.json", "0002_after.json"):
        (tmp_path / name).write_text(export_pytest_benchmark(manifest, records), encoding="utf-8")
    done = _compare(
        tmp_path, "compare", "0001_before.json", "0002_after.json", "--csv=out.csv", "--columns=median,rounds"
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8"))))
    measured = [r for r in _ok(records) if any(one.values for one in r.rounds)]
    assert len(rows) == 2 * len(json.loads(export_pytest_benchmark(manifest, records))["benchmarks"]) > 0
    stream = next(r for r in measured if r.cell.scenario.value == "single-stream")
    name = stream.cell.key.replace("--", "/")
    values = sorted(one.values["latency_p50"] for one in stream.rounds)
    medians = [float(row["median"]) for row in rows if name in row["name"]]
    assert medians and medians[0] == pytest.approx(values[len(values) // 2])


def test_the_action_reads_names_values_and_units_and_each_file_has_its_direction() -> None:
    """The fields are those of `BenchmarkResult` in github-action-benchmark's src/extract.ts, read 2026-11."""
    manifest, records = make_run()
    folder = export_github(manifest, records)
    assert set(folder.files) == {SMALLER, BIGGER}
    entries = {file: json.loads(text) for file, text in folder.files.items()}
    for found in entries.values():
        assert found
        for entry in found:
            assert {"name", "value", "unit"} <= set(entry) <= {"name", "value", "unit", "range", "extra"}
            assert isinstance(entry["name"], str) and isinstance(entry["unit"], str)
            assert isinstance(entry["value"], int | float)
            assert all(isinstance(entry[key], str) for key in ("range", "extra") if key in entry)
    titles = {file: {entry["name"].split(" ", 1)[1] for entry in found} for file, found in entries.items()}
    assert "Latency p50" in titles[SMALLER] and "Throughput" in titles[BIGGER] and "Quality" in titles[BIGGER]
    assert not titles[SMALLER] & titles[BIGGER]
    names = [entry["name"] for found in entries.values() for entry in found]
    assert len(names) == len(set(names))  # the action tells benchmarks apart by their name


def test_parquet_gives_back_every_number_with_its_type() -> None:
    manifest, records = make_run()
    table = pq.read_table(io.BytesIO(export_parquet(manifest, records)))
    frame = table.to_pandas()
    assert len(frame) == len(records) and set(frame["run"]) == {manifest.run_id}
    for (_, row), record in zip(frame.iterrows(), records, strict=True):
        assert row["batch"] == record.cell.batch
        for tag, quantity in record.metrics.items():
            assert pd.isna(row[tag]) if quantity.value is None else row[tag] == quantity.value
            assert row[f"{tag}_unit"] == quantity.unit
    empty = pq.read_schema(io.BytesIO(export_parquet(manifest, [])))
    assert empty.equals(table.schema)
    assert str(empty.field("latency_p50").type) == "double" and str(empty.field("latency_p50_n").type) == "int64"


def test_mlperfs_checker_finds_the_keys_that_it_requires() -> None:
    manifest, records = make_run()
    folder = export_mlperf(manifest, records)
    (system,) = [name for name in folder.files if re.fullmatch(r"open/leptonbench/systems/[^/]+\.json", name)]
    described = json.loads(folder.files[system])
    assert set(described) == SYSTEM_KEYS and all(isinstance(value, str) for value in described.values())
    assert described["sw_notes"] == NOTICE and described["division"] == "open"
    found = [name for name in folder.files if "/measurements/" in name and name.endswith(".json")]
    assert len(found) == len(_driven(records)) < len(_ok(records))
    for name in found:
        assert set(json.loads(folder.files[name])) >= IMPLEMENTATION_KEYS
        assert NOTICE in folder.files[name]


def test_mlperf_has_a_row_and_the_logs_of_every_cell() -> None:
    manifest, records = make_run()
    folder = export_mlperf(manifest, records)
    rows = list(csv.DictReader(io.StringIO(folder.files["summary.csv"])))
    assert len(rows) == len(_driven(records)) and all(row["notes"] == NOTICE for row in rows)
    runs = {re.sub(r"/performance/run_\d+/.*", "", name) for name in folder.copies}
    assert {row["Location"] for row in rows if any(row["Location"] == run for run in runs)} == runs
    rounds = sum(len(record.rounds) for record in _ok(records))
    assert len(folder.copies) == rounds * len(LOGS)


def test_mlperf_knows_a_gpu_from_the_processor_and_leaves_out_what_no_loadgen_drove() -> None:
    manifest, records = make_run()
    first, second, third = _driven(records)[:3]
    on_gpu = second.model_copy(update={"cell": second.cell.model_copy(update={"device": "host-gpu"})})
    simulated = third.model_copy(update={"rounds": ()})
    identity = manifest.fingerprint.identity.model_copy(update={"gpus": ("NVIDIA T4", "NVIDIA L4")})
    fingerprint = manifest.fingerprint.model_copy(update={"identity": identity})
    folder = export_mlperf(manifest.model_copy(update={"fingerprint": fingerprint}), [first, on_gpu, simulated])
    cpu, gpu = (json.loads(text) for name, text in sorted(folder.files.items()) if "/systems/" in name)
    assert (cpu["accelerators_per_node"], gpu["accelerators_per_node"]) == ("0", "1")
    assert gpu["accelerator_model_name"] == "NVIDIA T4" and "idle: NVIDIA L4" in gpu["hw_notes"]
    assert "idle: NVIDIA T4" in cpu["hw_notes"] and "T4" not in cpu["system_name"]
    rows = list(csv.DictReader(io.StringIO(folder.files["summary.csv"])))
    assert [row["accelerator_model_name"] for row in rows] == ["N/A", "NVIDIA T4"]
    assert len({row["Platform"] for row in rows}) == 2


def _store(folder: Path, *, logs: bool = True) -> Path:
    manifest, records = make_run()
    with RunStore.create(folder / "run", manifest) as store:
        for record in records:
            store.write_record(record)
            for one in record.rounds if logs else ():
                for log in LOGS:
                    (store.log_dir(record.cell.key, one.index) / log).write_text(f"{log} {one.index}", encoding="utf-8")
    return folder / "run"


Out = pytest.CaptureFixture[str]


def test_the_command_writes_a_folder_with_loadgens_own_logs(tmp_path: Path, capsys: Out) -> None:
    run = _store(tmp_path)
    assert invoke(["export", str(run), "-f", "mlperf", "-o", str(tmp_path / "out"), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert all((tmp_path / "out" / name).is_file() for name in files)
    (log,) = list((tmp_path / "out").glob("open/leptonbench/results/*/*/SingleStream/performance/run_1/*summary*"))[:1]
    assert log.read_text(encoding="utf-8").startswith("mlperf_log_summary.txt")
    assert invoke(["export", str(run), "-f", "github", "-o", str(tmp_path / "out")]) == 2
    assert "not an empty folder" in capsys.readouterr().err


def test_what_is_not_one_text_wants_a_place(tmp_path: Path, capsys: Out) -> None:
    run = _store(tmp_path, logs=False)
    for form in ("parquet", "github", "mlperf"):
        assert invoke(["export", str(run), "-f", form]) == 2
        assert "--out" in capsys.readouterr().err
    assert invoke(["export", str(run), "-f", "mlperf", "-o", str(tmp_path / "out")]) == 2
    assert "the run lacks" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert invoke(["export", str(run), "-f", "parquet", "-o", str(tmp_path / "run.parquet")]) == 0
    assert len(pd.read_parquet(tmp_path / "run.parquet")) == len(make_run()[1])


def test_a_run_of_nothing_is_two_empty_lists() -> None:
    manifest: RunManifest = make_run()[0]
    folder = export_github(manifest, [])
    assert isinstance(folder, Folder)
    assert all(json.loads(text) == [] for text in folder.files.values())
