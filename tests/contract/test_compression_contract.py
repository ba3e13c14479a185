"""What every compression technique owes: a model that loads, answers much the same, and is counted right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from leptonbench.compression import TECHNIQUES, Context
from leptonbench.errors import UsageError
from leptonbench.harness.jobs import JOB_FILE
from leptonbench.harness.prepare import prepare
from leptonbench.schema import Artifact
from tests.contract.conftest import Prepared

pytestmark = pytest.mark.slow

GRAPHS = ("fp32", "int8-static", "int8-dynamic")
SMALLER = ("prune50-channel", "distill-half")
MASKED = {"prune80-unstructured": (0.8, 0.02), "sparse-2:4": (0.5, 0.05)}
QUANTISED = ("int8-static", "int8-dynamic")


def _answer(artifact: Artifact, prepared: Prepared) -> np.ndarray:
    session = onnxruntime.InferenceSession(artifact.path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {artifact.inputs[0].name: prepared.samples})[0])


@pytest.mark.parametrize("name", TECHNIQUES.names())
def test_a_technique_declares_where_it_works_and_what_it_needs(name: str) -> None:
    technique = TECHNIQUES.get(name)
    assert technique.stage in ("module", "graph")
    assert isinstance(technique.uses_calibration, bool)
    assert isinstance(technique.tunes, bool)
    assert technique.order > 0


@pytest.mark.parametrize("name", TECHNIQUES.names())
def test_a_technique_refuses_an_option_it_does_not_know(name: str, prepared: Prepared, tmp_path: Path) -> None:
    def unused(*arguments: object) -> Any:
        raise AssertionError("an unknown option is refused before anything is done")

    context = Context(
        calibration=unused,
        tuning=unused,
        load_network=unused,
        source=tmp_path,
        workdir=tmp_path,
        say=unused,
    )
    technique = TECHNIQUES.get(name)()
    model = prepared.module if technique.stage == "module" else prepared.artifacts["fp32", "onnx"].path
    with pytest.raises(UsageError, match="unknown option of"):
        technique.apply(model, {"no_such_option": 1}, context)


def test_every_technique_that_is_registered_is_tried_here(prepared: Prepared) -> None:
    tried = {step.technique for artifact in prepared.artifacts.values() for step in artifact.recipe}
    assert tried | {"quantize-weights"} == set(TECHNIQUES.names())


def test_a_technique_that_finds_nothing_to_work_on_says_so(prepared: Prepared) -> None:
    failure = prepared.result.failures["int4-weight|onnx"]
    assert failure.kind == "NotApplicable"
    assert failure.cause and failure.hint


@pytest.mark.parametrize("variant", SMALLER)
def test_fewer_channels_are_fewer_macs_in_a_network_that_still_answers(prepared: Prepared, variant: str) -> None:
    small, whole = prepared.artifacts[variant, "onnx"], prepared.artifacts["fp32", "onnx"]
    assert small.macs < 0.6 * whole.macs
    assert small.parameters < 0.6 * whole.parameters
    assert _answer(small, prepared).shape == prepared.logits.shape
    assert small.facts["tuned"]["from"] == "now"


@pytest.mark.parametrize("variant", MASKED)
def test_masked_weights_are_zero_after_tuning_and_stored_without_the_zeros(prepared: Prepared, variant: str) -> None:
    import onnx

    share, tolerance = MASKED[variant]
    artifact = prepared.artifacts[variant, "onnx"]
    weights = [onnx.numpy_helper.to_array(t) for t in onnx.load(artifact.path).graph.initializer]
    masked = [w for w in weights if w.ndim > 1 and np.count_nonzero(w) < w.size]
    zeros = sum(w.size - np.count_nonzero(w) for w in masked) / sum(w.size for w in masked)
    assert zeros == pytest.approx(share, abs=tolerance)
    assert artifact.stored_bytes is not None and artifact.stored_bytes < artifact.size_bytes / 2


def test_shared_weights_have_few_values_and_are_stored_as_indices(prepared: Prepared) -> None:
    import onnx

    artifact = prepared.artifacts["share16", "onnx"]
    weights = [onnx.numpy_helper.to_array(t) for t in onnx.load(artifact.path).graph.initializer]
    large = [w for w in weights if w.ndim == 4 and w.size > 1000]
    assert large
    # A normalisation folded into a convolution scales each output channel: sixteen values a channel remain.
    assert all(len(np.unique(channel)) <= 16 for w in large for channel in w)
    assert artifact.stored_bytes is not None and artifact.stored_bytes < artifact.size_bytes / 2


@pytest.mark.parametrize("variant", GRAPHS)
def test_the_output_loads_and_takes_any_batch(prepared: Prepared, variant: str) -> None:
    artifact = prepared.artifacts[variant, "onnx"]
    assert _answer(artifact, prepared).shape == prepared.logits.shape
    assert artifact.inputs[0].shape[0] is None, "the batch is free"


@pytest.mark.parametrize(
    ("variant", "share"), [("fp32", 1.0), ("fp16", 0.9), ("share16", 0.7), ("int8-static", 0.9), ("int8-dynamic", 0.9)]
)
def test_answers_stay_much_the_same(prepared: Prepared, variant: str, share: float) -> None:
    answers = _answer(prepared.artifacts[variant, "onnx"], prepared).argmax(axis=1)
    assert len(set(prepared.logits.argmax(axis=1))) > 1, "a model that always says the same would agree with anything"
    assert np.mean(answers == prepared.logits.argmax(axis=1)) >= share


@pytest.mark.parametrize("variant", QUANTISED)
def test_a_quantised_model_is_smaller_and_not_the_same(prepared: Prepared, variant: str) -> None:
    quantised, plain = prepared.artifacts[variant, "onnx"], prepared.artifacts["fp32", "onnx"]
    assert quantised.sha256 != plain.sha256
    assert not np.array_equal(_answer(quantised, prepared), prepared.logits)
    assert _weight_bytes(quantised) < 0.4 * _weight_bytes(plain)


def _weight_bytes(artifact: Artifact) -> int:
    """Return the bytes of the tensors in a graph: of a model this small, names and nodes are most of the file."""
    import onnx

    return sum(onnx.numpy_helper.to_array(t).nbytes for t in onnx.load(artifact.path).graph.initializer)


def test_macs_and_parameters_are_those_that_torch_counts(prepared: Prepared) -> None:
    """Of the exported program and of the graph; normalisations fold into the convolutions before them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        prepared.module(pixel_values=torch.from_numpy(prepared.samples[:1]))
    macs = counter.get_total_flops() // 2
    assert macs > 0
    for key, artifact in prepared.artifacts.items():
        if key[0] not in SMALLER:
            assert artifact.macs == macs, key


@pytest.mark.parametrize("variant", GRAPHS)
def test_weights_are_counted_as_torch_counts_them(prepared: Prepared, variant: str) -> None:
    """Scales, zero points and shapes are none; a normalisation's four numbers a channel become the bias it folds to."""
    import torch

    whole = sum(parameter.numel() for parameter in prepared.module.parameters())
    assert prepared.artifacts["fp32", "torch-export"].parameters == whole
    channels = sum(m.num_features for m in prepared.module.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert channels > 0
    assert prepared.artifacts[variant, "onnx"].parameters == whole - 2 * channels + channels


def test_what_is_cached_is_found_without_importing_torch(prepared: Prepared, tmp_path: Path) -> None:
    """A second run must not wait for torch and transformers to tell it that there is nothing to do."""
    made = tuple(t for t in prepared.job.targets if t.key in prepared.result.artifacts)  # a refusal is not cached
    job = prepared.job.model_copy(update={"targets": made})
    (tmp_path / JOB_FILE).write_text(job.model_dump_json(), encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from leptonbench.harness import prepare as p; "
        "p._work(Path(sys.argv[1])); print('MODULES', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=240, check=True
    )
    said, _, modules = done.stdout.partition("MODULES")
    assert said == "", "nothing was made"
    assert {"torch", "transformers", "onnxruntime"} & set(modules.split()) == set()
    again = type(prepared.result).model_validate_json((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert again.artifacts == prepared.result.artifacts
    assert again.error is None


def test_an_unknown_class_name_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    """Same number of classes, other names: the score would mean nothing."""
    from tests.tiny import make_images

    images = make_images(tmp_path / "images", each=2, classes=("blue", "green", "yellow"))
    reference = prepared.job.task.model_copy(update={"own": str(images)})
    with pytest.raises(UsageError, match="classes are not those of the data") as caught:
        prepare(prepared.job.model_copy(update={"task": reference}), lambda text: None)
    assert caught.value.cause == "model: blue, green, red; data: 3 (blue, green, yellow)"
