from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leptonbench.catalog import load_profiles
from leptonbench.cli.app import invoke
from leptonbench.errors import UsageError
from leptonbench.harness.request import RunOutcome
from leptonbench.projector.cells import check_sources
from leptonbench.projector.published import back_test
from leptonbench.report import write_report
from leptonbench.schema import CellRecord, CpuMatch, DeviceProfile, Provenance, RunManifest, Scenario
from leptonbench.store import RunStore
from tests.report_factory import make_run

Out = pytest.CaptureFixture[str]
OPEN = ["--benchmark", "rnnt", "--device", "nvidia-l40s"]  # which published others, not this one


def _json(capsys: Out, *arguments: str) -> dict[str, Any]:
    assert invoke(["project", *arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_projection_comes_with_method_inputs_and_the_error_of_its_kind(capsys: Out) -> None:
    (found,) = _json(capsys, *OPEN)["projections"]
    throughput = found["metrics"]["throughput"]
    assert throughput["provenance"] == "projected"
    assert throughput["unit"] == "1/s"
    claim = found["back_test"]
    assert claim in [one.model_dump(mode="json") for one in back_test().claims]
    assert throughput["low"] == pytest.approx(throughput["value"] / claim["factor"])
    assert throughput["high"] == pytest.approx(throughput["value"] * claim["factor"])
    assert throughput["n"] == claim["n"]
    assert f"{claim['mean_abs_error']:.1%}" in throughput["method"]
    assert {one["device"] for one in found["inputs"]} & {"nvidia-l40", "nvidia-l40s"}
    assert all(one["sources"] and one["submissions"] for one in found["inputs"])


def test_text_says_the_same(capsys: Out) -> None:
    assert invoke(["project", *OPEN]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("NVIDIA L40S 48 GB: rnnt, offline, ")
    assert "(projected)" in out
    assert "back-test: " in out
    assert "leans on" in out


def test_latency_is_of_the_percentile_that_the_scenario_is_judged_by(capsys: Out) -> None:
    (found,) = _json(capsys, "--benchmark", "rnnt", "--device", "nvidia-rtx-2000e-ada", "--scenario", "single-stream")[
        "projections"
    ]
    latency, rate = found["metrics"]["latency_p90"], found["metrics"]["throughput"]
    assert latency["unit"] == "s"
    assert latency["value"] == pytest.approx(1 / rate["value"])
    assert latency["low"] == pytest.approx(1 / rate["high"])


def test_anchors_are_the_only_other_devices(capsys: Out) -> None:
    named = {"nvidia-l40", "nvidia-a40"}
    (found,) = _json(capsys, *OPEN, "--from", ",".join(sorted(named)))["projections"]
    assert {one["device"] for one in found["inputs"]} <= named | {"nvidia-l40s"}
    assert found["back_test"] in [one.model_dump(mode="json") for one in back_test().pairs]


def test_a_published_result_is_given_as_it_is(capsys: Out) -> None:
    (found,) = _json(capsys, "--benchmark", "resnet50", "--device", "nvidia-t4")["projections"]
    assert found["back_test"] is None
    assert found["metrics"]["throughput"]["method"].startswith("published MLPerf results of the device itself")
    assert found["metrics"]["throughput"]["provenance"] == "projected"
    (again,) = _json(capsys, "--benchmark", "resnet50", "--device", "nvidia-t4", "--from", "nvidia-a30")["projections"]
    assert again["back_test"] is not None


@pytest.mark.parametrize("name", ["NVIDIA L40S", "nvidia l40s 48 gb", "nvidia-l40s"])
def test_a_device_may_be_called_what_results_or_drivers_call_it(capsys: Out, name: str) -> None:
    (found,) = _json(capsys, "--benchmark", "rnnt", "--device", name)["projections"]
    assert found["device"] == "nvidia-l40s"


def test_a_device_without_results_is_projected_by_its_figures(capsys: Out) -> None:
    (found,) = _json(capsys, "--benchmark", "resnet50", "--device", "nvidia-rtx-pro-6000")["projections"]
    assert found["back_test"]["own"] == "nothing"
    assert "peak arithmetic and bandwidth" in found["method"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--device", "nvidia-l4"], ["nothing to project was named", "--benchmark resnet50"]),
        (["--device", "nvidia-l5", "--benchmark", "resnet50"], ["unknown device `nvidia-l5`", "did you mean"]),
        (["--device", "nvidia-l4", "--benchmark", "resnet5"], ["unknown benchmark", "`resnet50`?"]),
        (["--device", "nvidia-l4", "--benchmark", "resnet50", "--scenario", "ofline"], ["unknown scenario", "offline"]),
        (["--device", "google-tpu-v3", "--benchmark", "resnet50"], ["no int8 arithmetic", "Caused by", "hint"]),
        (
            ["--device", "nvidia-b300-sxm", "--benchmark", "resnet50"],
            ["out of the range", "over memory bandwidth", "hint"],
        ),
        (["--device", "amd-mi300x", "--benchmark", "resnet50"], ["cannot be projected", "int8", "hint"]),
        (["--device", "google-tpu-v5e", "--benchmark", "resnet50"], ["to any use", "back-tests", "hint"]),
        (["--device", "nvidia-p100", "--benchmark", "resnet50"], ["cannot be projected", "lacks", "hint"]),
        ([*OPEN, "--precision", "fp32"], ["cannot be projected at `fp32`", "Caused by", "hint"]),
        ([*OPEN, "--from", "nvidia-p100"], ["`nvidia-p100` cannot be projected from", "hint"]),
        ([*OPEN, "--from", "google-tpu-v5e"], ["cannot be projected", "Caused by", "hint"]),
        ([*OPEN, "--run", "latest"], ["a projection is of one thing", "hint"]),
    ],
)
def test_what_has_no_support_is_refused_in_three_parts(capsys: Out, arguments: list[str], told: list[str]) -> None:
    assert invoke(["project", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert all(part in err for part in told), err


SPR = DeviceProfile(
    name="host-cpu",
    kind="cpu",
    title={"en": "Xeon", "zh": "Xeon"},
    match=CpuMatch(vendor="GenuineIntel", family=6, models=(143,), published_as=("Platinum 8480+",)),
)


def _projectable() -> tuple[RunManifest, list[CellRecord]]:
    """Return a run of server and offline cells on a CPU whose generation published results."""
    manifest, records = make_run()
    manifest = manifest.model_copy(update={"devices": (SPR, *manifest.devices[1:])})
    return manifest, list(records)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("leptonbench.projector.cells.processors", lambda: {"intel-xeon-sapphire-rapids": SPR})
    manifest, records = _projectable()
    with RunStore.create(tmp_path / "run", manifest) as store:
        for record in records:
            store.write_record(record)
    return tmp_path / "run"


def test_a_runs_throughput_is_carried_to_other_devices_and_kept(run: Path, capsys: Out) -> None:
    before = {record.cell.key for record in RunStore.open(run).records()}
    found = _json(capsys, "--run", str(run), "--device", "nvidia-l4,nvidia-a30")
    store = RunStore.open(run)
    added = [record for record in store.records() if record.cell.key not in before]
    assert added
    assert len(added) == len(found["records"])
    assert {record.cell.device for record in added} == {"nvidia-l4", "nvidia-a30"}
    assert {record.cell.backend for record in added} == {"projected"}
    assert all(record.cell.scenario in (Scenario.SERVER, Scenario.OFFLINE) for record in added)
    assert all("latency_p50" not in record.metrics for record in added)
    for record in added:
        throughput = record.metrics["throughput"]
        assert throughput.provenance is Provenance.PROJECTED
        assert throughput.low is not None
        assert throughput.value is not None
        assert throughput.low < throughput.value
    prices = {record.cell.device: record.metrics["cost_per_million"] for record in added}
    assert prices["nvidia-l4"].value is not None
    assert prices["nvidia-a30"].value is None
    assert {"nvidia-l4", "nvidia-a30"} <= {device.name for device in store.manifest.devices}
    assert any("latency" in why for why in found["left"])


def test_projecting_twice_changes_nothing(run: Path, capsys: Out) -> None:
    once = _json(capsys, "--run", str(run), "--device", "nvidia-l4")
    cells = RunStore.open(run).manifest.cells
    twice = _json(capsys, "--run", str(run), "--device", "nvidia-l4")
    assert once["records"] == twice["records"]
    assert RunStore.open(run).manifest.cells == cells


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_report_shows_projections_beside_what_was_measured(run: Path, capsys: Out, lang: str) -> None:
    _json(capsys, "--run", str(run), "--device", "nvidia-l4")
    store = RunStore.open(run)
    page = write_report(store.manifest, store.records(), lang=lang, out=run / "report.html")
    text = page.read_text(encoding="utf-8")
    assert "int8-static · projected" in text
    assert "published MLPerf results" in text


def test_a_device_that_published_nothing_cannot_be_projected_from(tmp_path: Path, capsys: Out) -> None:
    manifest, records = make_run()
    with RunStore.create(tmp_path / "run", manifest) as store:
        for record in records:
            store.write_record(record)
    assert invoke(["project", "--run", str(tmp_path / "run"), "--device", "nvidia-l4"]) == 2
    err = capsys.readouterr().err
    assert "can be projected" in err
    assert "published no result that would tie it to others" in err or "to other devices" in err


@pytest.fixture
def gpu_run(tmp_path: Path) -> Path:
    """Return a run whose cells were measured on a card that published results."""
    manifest, records = make_run()
    identity = manifest.fingerprint.identity.model_copy(update={"gpus": ("NVIDIA L4",)})
    fingerprint = manifest.fingerprint.model_copy(update={"identity": identity})
    moved = [
        record.model_copy(update={"cell": record.cell.model_copy(update={"device": "host-gpu"})}) for record in records
    ]
    cells = tuple(record.cell for record in moved)
    with RunStore.create(
        tmp_path / "gpu", manifest.model_copy(update={"fingerprint": fingerprint, "cells": cells})
    ) as s:
        for record in moved:
            s.write_record(record)
    return tmp_path / "gpu"


def test_a_cards_run_is_carried_to_its_relatives_with_less_doubt(gpu_run: Path, capsys: Out) -> None:
    found = _json(capsys, "--run", str(gpu_run), "--device", "nvidia-l40s,nvidia-rtx-pro-6000,nvidia-t4")
    factors = {}
    for record in found["records"]:
        throughput = record["metrics"]["throughput"]
        assert "measured on nvidia-l4 by " in throughput["method"]
        factors[record["cell"]["device"]] = throughput["high"] / throughput["low"]
    assert factors["nvidia-l40s"] < factors["nvidia-t4"]
    assert factors["nvidia-l40s"] < factors["nvidia-rtx-pro-6000"]  # which published nothing: its figures alone


def _run_projected(run: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Call `leptonbench run --projected` with what was measured taken from a stored run."""
    store = RunStore.open(run)
    outcome = RunOutcome(path=run, manifest=store.manifest, records=tuple(store.records()))
    monkeypatch.setattr("leptonbench.cli.run._check_projected", lambda _devices: None)
    monkeypatch.setattr("leptonbench.cli.run._execute", lambda _request, quiet: outcome)
    return invoke(["run", "--projected", device, "--json"])


def test_a_run_ends_with_the_projections_that_were_asked_for(
    gpu_run: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run_projected(gpu_run, "nvidia-l40s,nvidia-p100", monkeypatch) == 3  # the stored run has failed cells
    told = capsys.readouterr().err
    assert "not projected: " in told
    assert "`nvidia-p100`" in told
    added = [one for one in RunStore.open(gpu_run).records() if one.cell.backend == "projected"]
    assert {one.cell.device for one in added} == {"nvidia-l40s"}
    assert "int8-static · projected" in (gpu_run / "report.html").read_text(encoding="utf-8")


def test_a_run_that_cannot_be_projected_keeps_what_it_measured_and_says_so(
    gpu_run: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = RunStore.open(gpu_run).records()
    assert _run_projected(gpu_run, "nvidia-p100", monkeypatch) == 3
    assert "warning: no cell of run" in capsys.readouterr().err
    assert RunStore.open(gpu_run).records() == before


def test_another_device_may_be_named_as_the_measured_one(gpu_run: Path, capsys: Out) -> None:
    found = _json(capsys, "--run", str(gpu_run), "--device", "nvidia-l40s", "--measured-on", "nvidia-a10")
    assert all("measured on nvidia-a10" in one["metrics"]["throughput"]["method"] for one in found["records"])


def test_a_run_is_refused_where_back_tests_were_wrong_manyfold_or_figures_are_unknown(run: Path, capsys: Out) -> None:
    for device, told in (("nvidia-rtx-pro-6000", "to any use"), ("nvidia-p100", "`nvidia-p100` cannot be projected")):
        assert invoke(["project", "--run", str(run), "--device", device]) == 2
        assert told in capsys.readouterr().err


def _cpu(name: str) -> DeviceProfile:
    return next(profile for profile in load_profiles("cpu") if profile.name == name)


@pytest.mark.parametrize(
    ("cpu", "gpus"),
    [("intel-xeon-ice-lake", ()), ("amd-epyc-milan", ("NVIDIA H100 80GB HBM3",)), ("amd-epyc-milan", ("Tesla T4",))],
)
def test_a_machine_with_a_device_that_published_results_can_be_projected_from(cpu: str, gpus: tuple[str, ...]) -> None:
    check_sources(_cpu(cpu), gpus)


@pytest.mark.parametrize(("cpu", "gpus"), [("amd-epyc-milan", ()), ("generic-x86", ("Some card",))])
def test_any_other_machine_is_refused_before_it_measures(cpu: str, gpus: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="cannot be projected to other devices") as caught:
        check_sources(_cpu(cpu), gpus)
    assert all(name in caught.value.cause for name in gpus)
    assert "--run" in caught.value.hint


def test_run_refuses_a_device_without_a_profile_before_it_measures(capsys: Out) -> None:
    assert invoke(["run", "--projected", "nvidia-l44", "--dry-run"]) == 2
    assert "unknown device `nvidia-l44`" in capsys.readouterr().err
