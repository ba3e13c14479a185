from __future__ import annotations

from pathlib import Path

import pytest

from leptonbench import doctor
from leptonbench.backends import Support
from leptonbench.doctor import Check, State
from leptonbench.errors import LeptonError
from leptonbench.meters import nvml
from leptonbench.meters.base import Availability
from leptonbench.schema import Fingerprint
from tests.fake_nvml import Card, FakeNvml
from tests.report_factory import make_run


@pytest.fixture
def machine() -> Fingerprint:
    return make_run()[0].fingerprint


def _changed(machine: Fingerprint, *, identity: dict[str, object] | None = None, **state: object) -> Fingerprint:
    return machine.model_copy(
        update={
            "identity": machine.identity.model_copy(update=identity or {}),
            "state": machine.state.model_copy(update=state),
        }
    )


def _named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


@pytest.mark.parametrize(
    ("flags", "int8", "bf16"),
    [
        ({"avx2"}, State.WARN, State.WARN),
        ({"avx512_vnni"}, State.OK, State.WARN),
        ({"amx_int8", "amx_bf16"}, State.OK, State.OK),
        ({"asimddp", "bf16"}, State.OK, State.OK),
    ],
)
def test_native_arithmetic(
    machine: Fingerprint, monkeypatch: pytest.MonkeyPatch, flags: set[str], int8: State, bf16: State
) -> None:
    monkeypatch.setattr(doctor, "cpu_features", lambda: frozenset(flags))
    checks = list(doctor._processor(machine))
    assert (_named(checks, "int8").state, _named(checks, "bf16").state) == (int8, bf16)


@pytest.mark.parametrize(("load", "state"), [(0.1, State.OK), (1.9, State.WARN)])
def test_a_busy_machine_is_a_warning(machine: Fingerprint, load: float, state: State) -> None:
    checks = list(doctor._conditions(_changed(machine, load_average=(load, 0.0, 0.0))))
    assert _named(checks, "load").state is state


@pytest.mark.parametrize(
    ("governor", "state"), [("performance", State.OK), ("powersave", State.WARN), (None, State.WARN)]
)
def test_the_governor(machine: Fingerprint, governor: str | None, state: State) -> None:
    check = _named(list(doctor._conditions(_changed(machine, governor=governor))), "governor")
    assert check.state is state
    assert bool(check.hint) == (state is State.WARN)


def test_a_missing_package_says_how_to_get_it() -> None:
    check = doctor._package("no_such_module_xyz", "no-such-package", "nothing", required=True)
    assert (check.state, check.required) == (State.MISSING, True)
    assert check.hint.endswith("-m pip install no-such-package`")


def test_a_counter_that_cannot_be_read_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.rapl, "availability", lambda: Availability(False, "no counter", "run on bare metal"))
    assert doctor._energy() == Check(
        "meters", "rapl", State.WARN, "no counter; energy is modelled instead", "run on bare metal"
    )
    monkeypatch.setattr(doctor.rapl, "availability", lambda: Availability(True))
    assert doctor._energy().state is State.OK


def test_why_there_is_no_gpu() -> None:
    def no_driver() -> str:
        raise LeptonError("Driver Not Loaded")

    assert doctor._without_gpu(no_driver).detail == "no NVIDIA GPU: Driver Not Loaded"
    assert doctor._without_gpu(lambda: "590.1").detail == "driver 590.1 sees no GPU"


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    fake = FakeNvml(card)
    monkeypatch.setattr("leptonbench.meters.gpu._library", lambda: fake)
    monkeypatch.setattr(nvml, "_PROBE_S", 0.04)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return card


def _gpu_checks(machine: Fingerprint) -> dict[str, Check]:
    return {check.name: check for check in doctor._gpu(_changed(machine, identity={"gpus": ("NVIDIA L4",)}))}


def test_a_gpu_its_meter_and_its_engines_are_named(
    machine: Fingerprint, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "installed", lambda name: None)
    monkeypatch.setattr(doctor, "torch_build", lambda: Support(True))
    ticks = iter(range(1000))
    monkeypatch.setattr(nvml.Gpu, "energy_mj", lambda self: next(ticks))
    found = _gpu_checks(machine)
    assert (found["nvidia"].state, found["nvidia"].detail) == (State.OK, "NVIDIA L4")
    assert (found["nvml"].state, found["nvml"].detail) == (State.OK, "total energy counter, driver 550.54")
    assert found["gpu"].state is State.OK
    assert (found["torch-cuda"].state, found["torch-cuda"].detail) == (State.OK, "ready")
    assert (found["onnxruntime-cuda"].state, found["onnxruntime-cuda"].detail) == (State.WARN, "not installed")


def test_a_gpu_that_is_shared_cut_up_or_without_a_counter_is_a_warning(machine: Fingerprint, card: Card) -> None:
    card.pids = [4711]
    assert "4711" in _gpu_checks(machine)["gpu"].detail
    assert "power.draw.instant is polled" in _gpu_checks(machine)["nvml"].detail
    card.mig = 1
    assert "MIG" in _gpu_checks(machine)["nvml"].detail
    assert all(check.state is not State.MISSING for check in _gpu_checks(machine).values())


def test_a_gpu_that_is_hidden_is_a_warning(machine: Fingerprint, card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "leaves no whole GPU to this process" in _gpu_checks(machine)["nvml"].detail


def test_whose_power_figures_model_the_energy_is_told(
    machine: Fingerprint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LEPTONBENCH_POWER", raising=False)
    assert doctor._power(machine).state is State.OK
    monkeypatch.setenv("LEPTONBENCH_POWER", str(tmp_path / "none.yaml"))
    missing = doctor._power(machine)
    assert (missing.state, missing.required) == (State.MISSING, False)
    monkeypatch.delenv("LEPTONBENCH_POWER")
    nobody = _changed(machine, identity={"cpu_vendor": "Nobody", "cpu_model": "a CPU"})
    assert doctor._power(nobody).state is State.WARN
    assert "LEPTONBENCH_POWER" in doctor._power(nobody).hint


def test_a_folder_that_cannot_be_written_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    check = doctor._folder("cache", tmp_path / "not" / "yet")
    assert (check.state, check.required) == (State.MISSING, True)
    assert "LEPTONBENCH_CACHE" in check.hint


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor._compiler().state is State.MISSING
    assert not doctor._compiler().required
