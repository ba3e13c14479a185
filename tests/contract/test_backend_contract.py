"""What every engine owes: the model's own answers for any batch, arrays of its own, and no mislabelled cell."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from leptonbench import catalog
from leptonbench.backends import BACKENDS, Recipe, device_kind
from leptonbench.backends.base import BF16_FEATURES, VNNI_FEATURES, check_honoured
from leptonbench.errors import MeasurementError
from leptonbench.harness.system import cpu_features, package_version
from leptonbench.schema import Artifact, EngineOptions
from tests.contract.conftest import Prepared

pytestmark = pytest.mark.slow

VARIANTS = ("fp32", "bf16", "int8-static", "int8-dynamic")
ROOT = Path(__file__).resolve().parents[2]
# Those on a GPU are opened by tests/unit/backends with a counterfeit device, and by a run on a machine with a real one.
HERE = tuple(name for name in BACKENDS.names() if device_kind(name) == "cpu")


class Probed(NamedTuple):
    """What an engine answered and what is known of it."""

    facts: dict[str, Any]
    one: NDArray[np.float32]
    again: NDArray[np.float32]
    threes: NDArray[np.float32]


def _probe(
    folder: Path,
    backend: str,
    artifact: Artifact,
    samples: NDArray[np.float32],
    *,
    twice: bool = False,
    engine: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
) -> Probed:
    """Open the artifact in a fresh process and run the samples."""
    wanted = {
        "backend": backend,
        "artifact": artifact.model_dump(),
        "inspect": True,
        "twice": twice,
        "engine": engine.model_dump(),
    }
    (folder / "probe.json").write_text(json.dumps(wanted), encoding="utf-8")
    np.save(folder / "samples.npy", samples)
    done = subprocess.run(
        [sys.executable, "-m", "tests.backend_probe", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    if "refused" in facts:
        return Probed(facts, *(np.empty(0, dtype=np.float32),) * 3)
    with np.load(folder / "answers.npz") as answers:
        return Probed(facts, answers["one"], answers["again"], answers["threes"])


def _recipe(variant: str) -> Recipe:
    spec = catalog.load_variant(variant)
    return Recipe("huggingface", spec.precision, tuple(step.technique for step in spec.steps))


@pytest.fixture(scope="module", params=HERE)
def plain(request: pytest.FixtureRequest, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Probed:
    """Probe an engine with the fp32 artifact of the format that it loads."""
    artifact = prepared.artifacts["fp32", BACKENDS.get(request.param).format]
    return _probe(tmp_path_factory.mktemp("probe"), request.param, artifact, prepared.samples, twice=True)


def test_one_sample_has_the_models_own_logits(plain: Probed, prepared: Prepared) -> None:
    np.testing.assert_allclose(plain.one, prepared.logits[:1], rtol=1e-3, atol=1e-3)


def test_a_sample_has_the_same_logits_in_any_batch(plain: Probed, prepared: Prepared) -> None:
    assert plain.threes.shape == prepared.logits.shape
    np.testing.assert_allclose(plain.threes, prepared.logits, rtol=1e-3, atol=1e-3)


def test_the_same_sample_has_the_same_logits_again(plain: Probed) -> None:
    np.testing.assert_array_equal(plain.one, plain.again)


def test_outputs_are_arrays_of_their_own(plain: Probed) -> None:
    """The harness keeps them through the window and looks at them afterwards."""
    assert plain.facts["is_unchanged_by_later_runs"]
    assert not plain.facts["shares_memory"]


def test_inputs_are_left_alone(plain: Probed) -> None:
    """LoadGen asks for the same samples again and again."""
    assert plain.facts["leaves_inputs_alone"]


def test_outputs_are_float32(plain: Probed) -> None:
    assert (plain.facts["outputs"], plain.facts["dtype"]) == (1, "float32")


def test_it_says_what_it_is_and_what_was_truly_set(plain: Probed) -> None:
    effective = plain.facts["effective"]
    name, version = effective["engine"].split()
    assert version.startswith(str(package_version(name)))
    assert effective["threads"] == 1
    assert effective["precision"] == "fp32"


def test_openvino_says_what_its_layers_ran_in(prepared: Prepared, tmp_path: Path) -> None:
    found = _probe(tmp_path, "openvino", prepared.artifacts["fp32", "onnx"], prepared.samples)
    assert set(found.facts["effective"]["layer_precisions"]) == {"f32"}


@pytest.mark.parametrize("backend", BACKENDS.names())
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("features", [frozenset(), frozenset({"avx2"}), frozenset({"avx512_bf16", "avx512_vnni"})])
def test_a_no_has_a_reason_and_a_hint(backend: str, variant: str, features: frozenset[str]) -> None:
    support = BACKENDS.get(backend)().supports(_recipe(variant), features)
    assert support.ok or (support.reason and support.hint)
    assert not (support.ok and support.reason)


@pytest.mark.parametrize("backend", HERE)
def test_every_engine_runs_a_model_as_it_is(backend: str) -> None:
    assert BACKENDS.get(backend)().supports(_recipe("fp32"), frozenset()).ok


# torch-compile runs what torch runs, and takes a minute of compiling to say so.
RUNNABLE = [
    (backend, variant)
    for backend in HERE
    for variant in VARIANTS
    if (backend, variant) != ("torch-compile", "bf16") and variant != "fp32"
    if BACKENDS.get(backend)().supports(_recipe(variant), BF16_FEATURES | VNNI_FEATURES).ok
]


@pytest.mark.parametrize(("backend", "variant"), RUNNABLE)
def test_what_it_supports_it_runs_as_labelled(prepared: Prepared, tmp_path: Path, backend: str, variant: str) -> None:
    """On this machine's CPU; agreement with fp32 is of the class, for the logits differ by the rounding."""
    support = BACKENDS.get(backend)().supports(_recipe(variant), cpu_features())
    if not support.ok:
        pytest.skip(support.reason)
    artifact = prepared.artifacts[variant, BACKENDS.get(backend).format]
    found = _probe(tmp_path, backend, artifact, prepared.samples)
    assert "refused" not in found.facts
    assert found.facts["effective"]["precision"] == artifact.precision
    assert np.mean(found.threes.argmax(axis=1) == prepared.logits.argmax(axis=1)) >= 0.9
    np.testing.assert_array_equal(found.one, found.again)


def test_openvino_refuses_at_opening_what_it_would_not_run_as_labelled(prepared: Prepared, tmp_path: Path) -> None:
    """`supports` says no to dynamic quantisation because its layers would run in fp32; they do, and are noticed."""
    found = _probe(tmp_path, "openvino", prepared.artifacts["int8-dynamic", "onnx"], prepared.samples)
    assert found.facts["refused"][0] == "OpenVINO does not run this model in int8"
    assert "fp32" in found.facts["refused"][1]


def _cut(path: Path, source: Path) -> None:
    path.write_bytes(source.read_bytes()[:1000])


def _text(path: Path, source: Path) -> None:
    path.write_text("no model at all", encoding="utf-8")


@pytest.mark.parametrize("backend", [name for name in HERE if name != "torch-compile"])
@pytest.mark.parametrize("spoil", [_cut, _text])
def test_a_damaged_artifact_is_refused_in_three_parts(
    prepared: Prepared, tmp_path: Path, backend: str, spoil: Callable[[Path, Path], None]
) -> None:
    sound = prepared.artifacts["fp32", BACKENDS.get(backend).format]
    damaged = tmp_path / Path(sound.path).name
    spoil(damaged, Path(sound.path))
    found = _probe(tmp_path, backend, sound.model_copy(update={"path": str(damaged)}), prepared.samples)
    assert all(found.facts["refused"])


CHANGES = (
    {"graph_optimisation": "off"},
    {"graph_optimisation": "basic"},
    {"graph_optimisation": "extended"},
    {"arena": False},
    {"io_binding": True},
)


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("backend", HERE)
def test_an_option_is_refused_with_a_reason_or_read_back_and_answers_stay_the_models(
    prepared: Prepared, tmp_path: Path, backend: str, change: dict[str, Any]
) -> None:
    engine = EngineOptions.model_validate(change)
    support = BACKENDS.get(backend)().supports(_recipe("fp32")._replace(options=engine), cpu_features())
    if not support.ok:
        assert support.reason
        assert support.hint
        return
    artifact = prepared.artifacts["fp32", BACKENDS.get(backend).format]
    found = _probe(tmp_path, backend, artifact, prepared.samples, engine=engine)
    check_honoured(backend, engine, found.facts["effective"])
    np.testing.assert_allclose(found.threes, prepared.logits, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found.one, found.again)
    assert found.facts["is_unchanged_by_later_runs"]
    assert not found.facts["shares_memory"]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_onnx_runtime_honours_every_option(change: dict[str, Any]) -> None:
    support = BACKENDS.get("onnxruntime")().supports(
        _recipe("fp32")._replace(options=EngineOptions.model_validate(change)), frozenset()
    )
    assert support.ok


def test_onnx_runtime_fuses_less_at_a_lower_level(prepared: Prepared, tmp_path: Path) -> None:
    """The level is not only told back: the graph that the engine runs is another one."""
    operators = {}
    for level in ("off", "basic", "all"):
        folder = tmp_path / level
        folder.mkdir()
        engine = EngineOptions.model_validate({"graph_optimisation": level})
        found = _probe(folder, "onnxruntime", prepared.artifacts["fp32", "onnx"], prepared.samples, engine=engine)
        operators[level] = found.facts["effective"]["operators"]
    assert not any(name.startswith("Fused") for name in {*operators["off"], *operators["basic"]})
    assert operators["all"] != operators["basic"]
    assert sum(operators["all"].values()) < sum(operators["off"].values())


@pytest.mark.parametrize("level", ["off", "basic"])
def test_int8_that_would_run_in_fp32_is_refused(level: str) -> None:
    """Below `extended` ONNX Runtime leaves quantise and dequantise nodes around floating-point convolutions."""
    engine = EngineOptions.model_validate({"graph_optimisation": level})
    refused = BACKENDS.get("onnxruntime")().supports(_recipe("int8-static")._replace(options=engine), frozenset())
    assert "under an int8 label" in refused.reason


def test_an_engine_that_ignores_an_option_is_found_out() -> None:
    """Engines from elsewhere may not know options: `supports` says yes, and the session tells nothing."""
    asked = EngineOptions(arena=False)
    check_honoured("theirs", EngineOptions(), {"engine": "theirs 1"})
    with pytest.raises(MeasurementError) as nothing_told:
        check_honoured("theirs", asked, {"engine": "theirs 1"})
    with pytest.raises(MeasurementError) as other_told:
        check_honoured("theirs", asked, {"options": EngineOptions().model_dump(mode="json")})
    assert "arena = False" in nothing_told.value.cause
    assert "it reports none" in nothing_told.value.cause
    assert "arena = True" in other_told.value.cause
