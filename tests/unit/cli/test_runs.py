from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from leptonbench.cli.app import invoke
from leptonbench.schema import SCHEMA_VERSION, RunManifest, Status
from leptonbench.store import RunStore
from tests.report_factory import make_run

Out = pytest.CaptureFixture[str]


def _store(path: Path, manifest: RunManifest, *, slower: float = 1.0) -> Path:
    with RunStore.create(path, manifest) as store:
        for record in make_run()[1]:
            rounds = tuple(
                item.model_copy(update={"values": {tag: value * slower for tag, value in item.values.items()}})
                for item in record.rounds
            )
            store.write_record(record.model_copy(update={"rounds": rounds}))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return _store(tmp_path / "results" / "monday", make_run()[0])


def test_show_names_every_cell_and_every_reason(run: Path, capsys: Out) -> None:
    assert invoke(["show", str(run)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "21 cells: 16 ok, 1 invalid, 3 skipped, 1 failed" in out
    assert "7.06 ms [6.98, 7.14] n=5" in out
    assert "crash: the worker ended with signal 11" in out


def test_show_finds_latest(run: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parents[1])
    for name in ("latest", "monday"):
        assert invoke(["show", name]) == 0
        assert "suite manufacturing" in capsys.readouterr().out


def test_show_json_is_the_record(run: Path, capsys: Out) -> None:
    manifest, records = make_run()
    assert invoke(["show", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert RunManifest.model_validate(found["manifest"]) == manifest
    assert len(found["records"]) == len(records)
    assert invoke(["show", str(run), "distill", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cell"]["variant"] == "distill-half"


def test_show_a_cell(run: Path, capsys: Out) -> None:
    assert invoke(["show", str(run), "int8-static", "openvino", "single"]) == 2
    assert "fits 2 cells" in capsys.readouterr().err
    assert invoke(["show", str(run), "prune50+int8-static", "openvino"]) == 0
    out = capsys.readouterr().out
    assert "status: invalid" in out
    assert "hint: raise `--duration` to 4s" in out
    assert "Latency p50" in out
    assert "p99.9 needs 6,636" in out


def test_show_a_failed_cell_shows_its_last_lines(run: Path, capsys: Out) -> None:
    assert invoke(["show", str(run), "detection", "int8-static", "onnxruntime"]) == 0
    assert "| Fatal Python error: Segmentation fault" in capsys.readouterr().out


def test_show_tells_an_unfinished_run(tmp_path: Path, capsys: Out) -> None:
    manifest = make_run()[0].model_copy(update={"finished": None})
    RunStore.create(tmp_path / "run", manifest).close()
    assert invoke(["show", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert "21 to do" in out
    assert "--resume" in err


def test_export_to_stdout_and_to_a_file(run: Path, capsys: Out, tmp_path: Path) -> None:
    assert invoke(["export", str(run), "--format", "csv"]) == 0
    text = capsys.readouterr().out
    assert len(pd.read_csv(io.StringIO(text))) == 21
    assert invoke(["export", str(run), "--out", str(tmp_path / "run.csv")]) == 0
    assert (tmp_path / "run.csv").read_text(encoding="utf-8") == text
    assert capsys.readouterr().out == ""
    assert invoke(["export", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == text


def test_export_to_a_folder_that_is_a_file(run: Path, capsys: Out) -> None:
    assert invoke(["export", str(run), "--out", str(run / "manifest.json" / "x.csv")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_report_is_written_where_asked(run: Path, capsys: Out, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    assert invoke(["report", str(run), "--lang", "zh", "--out", str(target)]) == 0
    assert capsys.readouterr().out == f"report: {target}\n"
    assert 'lang="zh' in target.read_text(encoding="utf-8")
    assert invoke(["report", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"] == str(run / "report.html")


def test_compare_with_itself_finds_nothing(run: Path, capsys: Out) -> None:
    assert invoke(["compare", str(run), str(run)]) == 0
    out = capsys.readouterr().out
    assert "not distinguishable" in out
    assert "better" not in out and "worse" not in out


def test_compare_sees_a_slower_run(run: Path, tmp_path: Path, capsys: Out) -> None:
    slow = _store(tmp_path / "slow", make_run()[0], slower=1.2)
    assert invoke(["compare", str(run), str(slow), "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    streams = [cell for cell in cells if "--single-stream--" in cell["cell"]]
    assert {cell["verdict"] for cell in streams} == {"worse", "unknown"}
    assert {cell["metric"] for cell in cells} == {"latency_p50", "throughput"}, "a server is compared by its rate"
    ratio = next(cell["ratio"] for cell in streams if cell["ratio"])
    assert ratio["value"] == pytest.approx(1.2)
    assert ratio["low"] < 1.2 < ratio["high"]
    assert invoke(["compare", str(run), str(slow), "--metric", "throughput"]) == 0
    assert "better" in capsys.readouterr().out


def test_compare_refuses_other_machines(run: Path, tmp_path: Path, capsys: Out) -> None:
    manifest = make_run()[0]
    identity = manifest.fingerprint.identity
    packages = identity.packages | {"torch": "2.10.0"}
    other = identity.model_copy(update={"cpu_model": "Xeon", "packages": packages, "cpu_flags": ("avx2", "amx_int8")})
    fingerprint = manifest.fingerprint.model_copy(update={"identity": other})
    elsewhere = _store(tmp_path / "elsewhere", manifest.model_copy(update={"fingerprint": fingerprint}))
    assert invoke(["compare", str(run), str(elsewhere)]) == 3
    out, err = capsys.readouterr()
    assert "each run's ratio to fp32 on its own machine" in out and "Latency" not in out
    assert "incomparable: the machines, or what was measured, differ in 3 facts" in err
    assert "  cpu_model: AMD EPYC 7763 64-Core Processor | Xeon" in err
    assert "  cpu_flags: bmi2, fma | amx_int8" in err
    assert "  packages.torch: 2.9.0 | 2.10.0" in err
    assert invoke(["compare", str(run), str(elsewhere), "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["comparable"], found["cells"]) == (False, [])
    assert {item["metric"] for item in found["sound"]} == {"speedup"}
    assert all(item["a"]["provenance"] == "measured" for item in found["sound"])
    assert invoke(["compare", str(run), str(elsewhere), "--force"]) == 0
    assert "not distinguishable" in capsys.readouterr().out


def test_compare_refuses_another_model_or_target_on_the_same_machine(run: Path, tmp_path: Path, capsys: Out) -> None:
    manifest = make_run()[0]
    first, *rest = manifest.workloads
    suite = manifest.suite.model_copy(update={"latency_targets_s": {first.name: 9.0}})
    other = manifest.model_copy(
        update={"workloads": (first.model_copy(update={"model": "resnet50"}), *rest), "suite": suite}
    )
    elsewhere = _store(tmp_path / "elsewhere", other)
    assert invoke(["compare", str(run), str(elsewhere)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert f"  {first.name}.model: resnet18 | resnet50" in err
    assert f"  {first.name}.latency_target: " in err
    assert "<= 9 s" in err
    assert invoke(["compare", str(run), str(elsewhere), "--force"]) == 0
    assert "compared by force" in capsys.readouterr().err


def test_compare_names_the_cells_of_one_run_only(run: Path, tmp_path: Path, capsys: Out) -> None:
    fewer = _store(tmp_path / "fewer", make_run()[0])
    gone = next(record.cell for record in make_run()[1] if record.status is Status.OK)
    (file,) = fewer.rglob(f"{gone.key}.json")
    file.unlink()
    assert invoke(["compare", str(run), str(fewer)]) == 0
    assert capsys.readouterr().err.count("only in the first run: ") == 1
    assert invoke(["compare", str(fewer), str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["only_a"], found["only_b"]) == ([], [gone.key])


def test_compare_refuses_a_metric_that_is_none(run: Path, capsys: Out) -> None:
    assert invoke(["compare", str(run), str(run), "--metric", "latency_p5"]) == 2
    assert "did you mean `latency_p50`?" in capsys.readouterr().err


def test_list_runs_says_what_is_damaged(run: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parents[1])
    (run.parent / "broken").mkdir()
    (run.parent / "broken" / "manifest.json").write_text("{", encoding="utf-8")
    assert invoke(["list", "runs"]) == 0
    out, err = capsys.readouterr()
    assert "monday" in out
    assert "warning: " in err and "is damaged" in err


def test_what_a_newer_version_wrote_is_refused(run: Path, capsys: Out) -> None:
    path = run / "manifest.json"
    newer = path.read_text("utf-8").replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 7', 1)
    path.write_text(newer, encoding="utf-8")
    assert invoke(["show", str(run)]) == 2
    assert "upgrade" in capsys.readouterr().err
