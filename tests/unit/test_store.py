from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from leptonbench import atomic, store_format
from leptonbench.errors import StorageError, UsageError
from leptonbench.schema import CellRecord, RoundRecord, RunManifest, Status
from leptonbench.store import RunStore, find_run, run_folders
from tests.report_factory import make_run

Run = tuple[RunManifest, list[CellRecord]]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run() -> Run:
    return make_run()


def _round(index: int) -> RoundRecord:
    return RoundRecord(index=index, started="2026-11-03T09:10:07Z", wall_s=1.0, status=Status.OK, queries=3)


def _stored(path: Path, run: Run) -> Path:
    with RunStore.create(path, run[0]) as store:
        for record in run[1]:
            store.write_record(record)
    return path


def test_what_is_written_is_read_back(tmp_path: Path, run: Run) -> None:
    manifest, records = run
    _stored(tmp_path / "run", run)
    store = RunStore.open(tmp_path / "run")
    assert store.manifest == manifest
    assert store.records() == records
    assert store.record(records[3].cell.key) == records[3]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "cells", "manifest.json"]


def test_records_come_in_the_order_of_the_manifest(tmp_path: Path, run: Run) -> None:
    manifest, records = run
    with RunStore.create(tmp_path, manifest) as store:
        for record in reversed(records[2:5]):
            store.write_record(record)
        assert store.records() == records[2:5]
        assert not store.has_record(records[0].cell.key)


def test_an_empty_run_has_no_records(tmp_path: Path, run: Run) -> None:
    with RunStore.create(tmp_path, run[0]) as store:
        assert store.records() == []
        assert store.rounds("any") == []
        assert store.frame().empty


def test_a_missing_record_says_how_to_get_it(tmp_path: Path, run: Run) -> None:
    with RunStore.create(tmp_path, run[0].model_copy(update={"finished": None})) as store:
        with pytest.raises(StorageError) as caught:
            store.record(run[1][0].cell.key)
        assert caught.value.cause == "the run ended before it was measured"
        assert "--resume" in caught.value.hint


def test_rounds_and_their_latencies(tmp_path: Path, run: Run) -> None:
    key = run[1][0].cell.key
    with RunStore.create(tmp_path, run[0]) as store:
        for index in (10, 2, 0):
            store.write_round(key, _round(index), np.array([0.1, 0.2, float(index)]))
        store.write_round(key, _round(11))
        assert [item.index for item in store.rounds(key)] == [0, 2, 10, 11]
        np.testing.assert_array_equal(store.latencies(key, 10), [0.1, 0.2, 10.0])
        assert store.log_dir(key, 2).is_dir()
        with pytest.raises(StorageError, match="cannot be read"):
            store.latencies(key, 11)


def test_samples_are_parquet_of_two_columns(tmp_path: Path, run: Run) -> None:
    import pandas as pd

    with RunStore.create(tmp_path, run[0]) as store:
        store.write_round("cell", _round(0), np.array([0.5, 0.25]))
    frame = pd.read_parquet(tmp_path / "samples" / "cell" / "0.parquet")
    assert frame.to_dict("list") == {"query": [0, 1], "latency_s": [0.5, 0.25]}


def test_what_is_not_finite_stays_json(tmp_path: Path, run: Run) -> None:
    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    with RunStore.create(tmp_path, run[0]) as store:
        values = {"latency_p50": float("inf"), "latency_mean": float("nan")}
        store.write_round("cell", _round(0).model_copy(update={"values": values}))
        text = (tmp_path / "rounds" / "cell" / "0.json").read_text(encoding="utf-8")
        json.loads(text, parse_constant=refuse)
        assert repr(store.rounds("cell")[0].values) == repr(values)


def test_a_round_may_be_measured_again(tmp_path: Path, run: Run) -> None:
    with RunStore.create(tmp_path, run[0]) as store:
        store.write_round("cell", _round(0), np.zeros(3))
        store.write_round("cell", _round(0).model_copy(update={"wall_s": 9.0}), np.ones(4))
        assert [item.wall_s for item in store.rounds("cell")] == [9.0]
        assert store.latencies("cell", 0).size == 4


def test_finish_marks_the_manifest(tmp_path: Path, run: Run) -> None:
    manifest = run[0].model_copy(update={"finished": None})
    with RunStore.create(tmp_path, manifest) as store:
        store.finish(null_query_s=5e-6)
        assert store.manifest.finished is not None
    again = RunStore.open(tmp_path).manifest
    assert (again.null_query_s, again.finished) == (5e-6, store.manifest.finished)


def test_the_frame_has_a_row_a_cell(tmp_path: Path, run: Run) -> None:
    store = RunStore.open(_stored(tmp_path / "run", run))
    frame = store.frame()
    assert len(frame) == len(run[1])
    row = frame[(frame.variant == "int8-static") & (frame.backend == "onnxruntime")].iloc[0]
    assert row.latency_p50_low < row.latency_p50 < row.latency_p50_high
    assert row.latency_p50_provenance == "measured"
    assert set(frame.status) == {"ok", "invalid", "failed", "skipped"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("distill", "inspection--distill-half--onnxruntime--host-cpu--single-stream--b1-t2-i1"),
        ("int8-static torch server", "inspection--int8-static--torch--host-cpu--server--b1-t2-i1"),
        ("fp32/openvino", "inspection--fp32--openvino--host-cpu--single-stream--b1-t2-i1"),
        ("inspection prune50 ONNXRUNTIME", "inspection--prune50--onnxruntime--host-cpu--single-stream--b1-t2-i1"),
    ],
)
def test_a_cell_is_found_by_words(tmp_path: Path, run: Run, text: str, key: str) -> None:
    with RunStore.create(tmp_path, run[0]) as store:
        assert store.find_cell(text).key == key
        assert store.find_cell(key).key == key


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("int8-static server", "fits 3 cells", "give more words"),
        ("distil-half", "fits `distil-half`", "did you mean `distill-half`?"),
        ("fp32 onnxrutnime", "fits `fp32 onnxrutnime`", "did you mean `onnxruntime`?"),
        ("zzzz", "fits `zzzz`", "leptonbench show"),
    ],
)
def test_a_cell_that_is_not_found(tmp_path: Path, run: Run, text: str, message: str, hint: str) -> None:
    with RunStore.create(tmp_path, run[0]) as store, pytest.raises(UsageError) as caught:
        store.find_cell(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_create_refuses_what_is_there(tmp_path: Path, run: Run) -> None:
    RunStore.create(tmp_path / "run", run[0]).close()
    with pytest.raises(StorageError, match="already holds a run"):
        RunStore.create(tmp_path / "run", run[0])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(StorageError, match="is not empty"):
        RunStore.create(tmp_path / "other", run[0])
    with pytest.raises(StorageError, match="cannot be created"):
        RunStore.create(tmp_path / "other" / "thesis.txt" / "run", run[0])


def test_open_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        RunStore.open(tmp_path / "none")
    assert caught.value.cause == "there is no such folder"
    with pytest.raises(StorageError) as caught:
        RunStore.open(tmp_path)
    assert caught.value.cause == "it has no manifest.json"
    assert caught.value.hint


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path, run: Run) -> None:
    path = _stored(tmp_path / "run", run)
    cell = path / "cells" / f"{run[1][0].cell.key}.json"
    _edit(cell, schema_version=99, brand_new="field")
    with pytest.raises(StorageError) as caught:
        RunStore.open(path).records()
    assert str(cell) in caught.value.message
    assert "version 99" in caught.value.cause
    assert "upgrade" in caught.value.hint
    _edit(path / "manifest.json", schema_version=store_format.SCHEMA_VERSION + 1)
    with pytest.raises(StorageError, match="newer leptonbench"):
        RunStore.open(path)


def test_an_older_format_is_migrated(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _stored(tmp_path / "run", run)
    key = run[1][0].cell.key
    with RunStore.open(path) as store:
        store.write_round(key, _round(0))
    kinds = []

    def rename(kind: str, document: store_format.Json) -> store_format.Json:
        kinds.append(kind)
        if kind == "round":
            return document | {"queries": 77}
        return document

    now = store_format.SCHEMA_VERSION
    monkeypatch.setattr(store_format, "SCHEMA_VERSION", now + 1)
    monkeypatch.setitem(store_format.MIGRATIONS, now, rename)
    store = RunStore.open(path)
    assert store.manifest.schema_version == now + 1
    assert store.record(key).schema_version == now + 1
    assert store.rounds(key)[0].queries == 77
    assert kinds == ["manifest", "cell", "round"]
    monkeypatch.delitem(store_format.MIGRATIONS, now)
    with pytest.raises(StorageError, match="too old"):
        RunStore.open(path)


def test_a_run_of_the_first_format_is_read(tmp_path: Path, run: Run) -> None:
    """Its quality floor was in points lost, and an exclusion named one thing an axis or nothing."""
    path = _stored(tmp_path / "run", run)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    manifest["schema_version"] = 1
    for workload in manifest["workloads"]:
        del workload["quality"]["relative_floor"]
        workload["quality"]["max_drop"] = 0.02
    manifest["suite"]["exclude"] = [
        {"workload": None, "variant": None, "backend": "torch", "scenario": "server", "reason": "slow"}
    ]
    for key in ("latency_targets_s", "relative_floor"):
        del manifest["suite"][key]
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    read = RunStore.open(path).manifest
    assert read.workloads[0].quality.relative_floor == pytest.approx(0.98)
    assert read.suite.exclude[0].axes == {"backend": ("torch",), "scenario": ("server",)}


def test_a_run_of_the_second_format_is_read(tmp_path: Path, run: Run) -> None:
    """It said of every metric that higher is better, which nothing obeyed."""
    path = _stored(tmp_path / "run", run)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    manifest["schema_version"] = 2
    for workload in manifest["workloads"]:
        workload["quality"]["higher_is_better"] = True
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert RunStore.open(path).manifest.workloads == run[0].workloads


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        ("[]", "no JSON object"),
        ("{}", "no schema_version"),
        ('{"schema_version": 0}', "no schema_version"),
        ('{"schema_version": true}', "no schema_version"),
        ('{"schema_version": 1}', "`cell`: Field required"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, run: Run, content: str, cause: str) -> None:
    path = _stored(tmp_path / "run", run)
    cell = path / "cells" / f"{run[1][0].cell.key}.json"
    cell.write_text(content, encoding="utf-8")
    with pytest.raises(StorageError) as caught:
        RunStore.open(path).records()
    assert str(cell) in caught.value.message
    assert cause in caught.value.cause


def test_damaged_samples_are_named(tmp_path: Path, run: Run) -> None:
    with RunStore.create(tmp_path, run[0]) as store:
        store.write_round("cell", _round(0), np.zeros(3))
        (tmp_path / "samples" / "cell" / "0.parquet").write_bytes(b"PAR1 torn")
        with pytest.raises(StorageError, match="0.parquet` is damaged"):
            store.latencies("cell", 0)


@pytest.mark.parametrize("failing", ["fsync", "fchmod"])
@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "may write"), (errno.EIO, "check")]
)
def test_a_failed_write_loses_nothing(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, failing: str, number: int, hint: str
) -> None:
    path = _stored(tmp_path / "run", run)
    first, second = run[1][:2]

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with RunStore.open(path, writable=True) as store:
        store.write_round(first.cell.key, _round(0), np.zeros(3))
        with monkeypatch.context() as patch:
            patch.setattr(atomic.os, failing, fail)
            for write in (
                lambda: store.write_record(first.model_copy(update={"meets_target": None})),
                lambda: store.write_round(first.cell.key, _round(1), np.zeros(3)),
                lambda: store.finish(finished="never"),
            ):
                with pytest.raises(StorageError) as caught:
                    write()
                assert caught.value.cause == os.strerror(number)
                assert hint in caught.value.hint
        assert store.manifest == run[0]
        assert [item.index for item in store.rounds(first.cell.key)] == [0]
    assert RunStore.open(path).records() == run[1]
    assert RunStore.open(path).record(second.cell.key) == second
    assert not list(path.rglob("*.tmp"))


def test_a_full_device_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        atomic.tempfile, "mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), str(tmp_path / "x"))
    )
    with pytest.raises(StorageError) as caught:
        atomic.write_atomically(tmp_path / "file", b"data")
    assert caught.value.cause == "No space left on device"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_reported(tmp_path: Path, run: Run) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError) as caught:
        RunStore.create(tmp_path / "run", run[0])
    assert "may write" in caught.value.hint


def test_one_writer_at_a_time(tmp_path: Path, run: Run) -> None:
    with RunStore.create(tmp_path, run[0]) as store:
        reader = RunStore.open(tmp_path)
        assert reader.manifest == run[0]
        with pytest.raises(StorageError) as caught:
            RunStore.open(tmp_path, writable=True)
        assert caught.value.cause == f"process {os.getpid()} holds its lock"
        with pytest.raises(StorageError, match="being written by another run"):
            reader.write_record(run[1][0])
        store.write_record(run[1][0])
    reader.write_record(run[1][1])
    reader.close()
    assert reader.records() == run[1][:2]


def test_a_key_cannot_leave_the_folder(tmp_path: Path, run: Run) -> None:
    with RunStore.create(tmp_path / "run", run[0]) as store, pytest.raises(StorageError, match="cannot name a file"):
        store.write_round("../../elsewhere", _round(0))


WRITER = """
import sys
from pathlib import Path
import numpy as np
from leptonbench.store import RunStore
from tests.report_factory import make_run
from tests.unit.test_store import _round
manifest, records = make_run()
with RunStore.create(Path(sys.argv[1]), manifest) as store:
    for index in range(100_000):
        store.write_round("cell", _round(index), np.full(20_000, float(index)))
        store.write_record(records[index % len(records)])
        print(index, flush=True)
"""


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_killed_writer_leaves_only_whole_rounds(tmp_path: Path, run: Run, after: int) -> None:
    path = tmp_path / "run"
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) >= after:
                os.kill(writer.pid, signal.SIGKILL)
                break
        told = max([int(line), *map(int, writer.stdout)])
    (path / "rounds" / "cell" / ".9999.json.abc.tmp").write_bytes(b"{ torn")
    (path / "samples" / "cell" / "9999.parquet").write_bytes(b"without its record")
    with RunStore.open(path, writable=True) as store:
        rounds = store.rounds("cell")
        assert len(rounds) >= told + 1
        assert [item.index for item in rounds] == list(range(len(rounds)))
        for item in rounds:
            assert (store.latencies("cell", item.index) == item.index).all()
        assert {record.cell.key for record in store.records()} <= {record.cell.key for record in run[1]}
        assert not list(path.rglob("*.tmp"))
        store.write_round("cell", _round(len(rounds)), np.zeros(2))


def test_runs_are_found_newest_first(tmp_path: Path, run: Run) -> None:
    for name, created in (("a", "2026-11-03T10:00:00Z"), ("b", "2026-11-04T10:00:00Z"), ("c", "2026-11-01T10:00:00Z")):
        RunStore.create(tmp_path / name, run[0].model_copy(update={"created": created})).close()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "manifest.json").write_text("torn", encoding="utf-8")
    assert [folder.name for folder in run_folders(tmp_path)] == ["b", "a", "c", "d"]
    assert find_run("latest", root=tmp_path) == tmp_path / "b"
    assert find_run("c", root=tmp_path) == tmp_path / "c"
    assert find_run(str(tmp_path / "a"), root=tmp_path / "none") == tmp_path / "a"
    assert find_run(str(tmp_path / "a" / "manifest.json")) == tmp_path / "a"


def test_a_run_that_is_not_there(tmp_path: Path, run: Run) -> None:
    with pytest.raises(UsageError) as caught:
        find_run("latest", root=tmp_path / "results")
    assert "leptonbench run" in caught.value.hint
    RunStore.create(tmp_path / "monday-run", run[0]).close()
    with pytest.raises(UsageError) as caught:
        find_run("mondayrun", root=tmp_path)
    assert caught.value.hint == "did you mean `monday-run`?"


def test_importing_the_store_is_light() -> None:
    code = "import leptonbench.store, sys; sys.exit(bool({'pandas', 'pyarrow', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
