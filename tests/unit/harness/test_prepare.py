"""Artifacts are made once for what they are made from, and again when that changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from PIL import Image

from leptonbench import catalog
from leptonbench.compression import TECHNIQUES
from leptonbench.compression.quantize_dynamic import QuantizeDynamic
from leptonbench.errors import UsageError
from leptonbench.harness.jobs import PrepareJob, PrepareResult, PrepareTarget, TaskRef
from leptonbench.harness.prepare import prepare
from leptonbench.schema import Artifact, DataSpec, StepSpec, VariantSpec
from leptonbench.tasks import Split
from leptonbench.tasks.images import ImageFolder
from tests.harness_factory import task
from tests.tiny import SIZE, make_images, make_model

VARIANTS = ("fp32", "int8-dynamic", "int8-static")


class Cook:
    """Prepares one workload again and again with the same cache."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.model = make_model(root / "model" / "own.onnx")
        self.images = make_images(root / "images", each=5)
        self.said: list[str] = []

    def make(self, *variants: VariantSpec, **changes: Any) -> PrepareResult:
        """Prepare; `said` then holds the steps that were not found in the cache."""
        chosen = variants or tuple(catalog.load_variant(name) for name in VARIANTS)
        fields: dict[str, Any] = {
            "model": str(self.model),
            "base": None,
            "task": task(self.model.parent, self.images),
            "targets": tuple(PrepareTarget(variant=variant, format="onnx") for variant in chosen),
            "cache": str(self.root / "cache"),
        }
        self.said = []
        return prepare(PrepareJob.model_validate({**fields, **changes}), self.hear)

    def hear(self, line: str) -> None:
        """Keep the lines that name a step; what a step says of itself is its own."""
        if line in TECHNIQUES:
            self.said.append(line)


@pytest.fixture
def cook(tmp_path: Path) -> Cook:
    return Cook(tmp_path)


def _artifact(result: PrepareResult, variant: str = "fp32") -> Artifact:
    assert result.failures == {}
    return result.artifacts[f"{variant}|onnx"]


def test_the_same_is_never_made_twice(cook: Cook) -> None:
    first = cook.make()
    assert sorted(cook.said) == ["quantize-dynamic", "quantize-static"]
    assert first.cached == ()
    second = cook.make()
    assert cook.said == []
    assert len(second.cached) == 2
    assert second.artifacts == first.artifacts
    assert [path.name for path in (cook.root / "cache" / "artifacts").iterdir() if path.name.startswith("making")] == []


def test_an_artifact_says_what_it_is(cook: Cook) -> None:
    result = cook.make()
    assert set(result.artifacts) == {f"{variant}|onnx" for variant in VARIANTS}
    plain, static = _artifact(result), _artifact(result, "int8-static")
    assert (plain.path, plain.precision, plain.recipe) == (str(cook.model), "fp32", ())
    assert plain.size_bytes == cook.model.stat().st_size
    assert plain.macs == 3 * 3 * SIZE * SIZE + 3 * 3
    assert plain.parameters == (9 + 3) + (9 + 3)
    assert (static.macs, static.parameters) == (plain.macs, plain.parameters)
    assert [step.technique for step in static.recipe] == ["quantize-static"]
    assert len({artifact.sha256 for artifact in result.artifacts.values()}) == 3


def test_another_seed_of_the_data_remakes_only_what_is_calibrated(tmp_path: Path) -> None:
    """On the workload's own images, whose identity is their seed."""
    cook = Cook(tmp_path)
    cook.model = make_model(tmp_path / "model" / "own.onnx", shape=("batch", 3, 224, 224), classes=6)
    (cook.model.parent / "preprocessor_config.json").unlink()  # ImageNet's, for images of 224 pixels

    def own(seed: int) -> TaskRef:
        return TaskRef(name="inspection", model_dir=None, data=DataSpec(seed=seed, calibration=3, evaluation=2))

    first = cook.make(task=own(1))
    assert sorted(cook.said) == ["quantize-dynamic", "quantize-static"]
    second = cook.make(task=own(2))
    assert cook.said == ["quantize-static"]
    assert second.data_sha256 != first.data_sha256
    cook.make(task=own(1))
    assert cook.said == []


def test_another_calibration_image_remakes_only_what_is_calibrated(cook: Cook) -> None:
    cook.make()
    path = ImageFolder(cook.images, Split.CALIBRATION, limit=64).files[0][0]
    Image.new("RGB", (SIZE, SIZE), (255, 255, 255)).save(path)
    cook.make()
    assert cook.said == ["quantize-static"]


def test_another_option_remakes_the_step(cook: Cook) -> None:
    def static(method: str) -> VariantSpec:
        step = StepSpec(technique="quantize-static", options={"calibration": method})
        return VariantSpec(name="own", title={"en": "own"}, steps=(step,), precision="int8")

    cook.make(static("minmax"))
    cook.make(static("percentile"))
    assert cook.said == ["quantize-static"]


def test_another_model_is_another_artifact(cook: Cook) -> None:
    first = _artifact(cook.make(catalog.load_variant("fp32")))
    model = onnx.load(str(cook.model))
    model.graph.doc_string = "another"
    onnx.save(model, str(cook.model))
    assert _artifact(cook.make(catalog.load_variant("fp32"))).sha256 != first.sha256


def test_weights_beside_the_model_belong_to_it(cook: Cook) -> None:
    """The engine reads them too; a score of other weights must not be taken for this one's."""
    model = onnx.load(str(cook.model))
    onnx.save(model, str(cook.model), save_as_external_data=True, location="weights.bin", size_threshold=0)
    weights = cook.model.parent / "weights.bin"
    first = _artifact(cook.make(catalog.load_variant("fp32")))
    assert first.size_bytes == cook.model.stat().st_size + weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\x80?")
    assert _artifact(cook.make(catalog.load_variant("fp32"))).sha256 != first.sha256


def test_weights_that_an_old_file_lists_as_inputs_are_none(cook: Cook) -> None:
    make_model(cook.model, initialisers_as_inputs=True)
    assert [spec.name for spec in _artifact(cook.make()).inputs] == ["pixel_values"]


def test_the_data_are_told_apart_by_their_labels_too(cook: Cook) -> None:
    """The same files in the same order under other class names: only the truth differs, and with it every score."""
    before = cook.make().data_sha256
    for name in ("blue", "green", "red"):
        (cook.images / name).rename(cook.images / f"{name}ish")
    (cook.images / "blueish").rename(cook.images / "red")
    (cook.images / "greenish").rename(cook.images / "green")
    (cook.images / "redish").rename(cook.images / "blue")
    assert cook.make().data_sha256 != before


def test_a_step_that_breaks_costs_its_own_artifact_alone(
    cook: Cook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(*arguments: object) -> Path:
        raise RuntimeError("the converter broke\nin two lines")

    monkeypatch.setattr(QuantizeDynamic, "apply", break_down)
    result = cook.make()
    assert set(result.artifacts) == {"fp32|onnx", "int8-static|onnx"}
    failure = result.failures["int8-dynamic|onnx"]
    assert failure.message == "variant `int8-dynamic` cannot be made as onnx"
    assert failure.cause == "RuntimeError: the converter broke"
    assert "Traceback" in capsys.readouterr().err, "the whole of it goes to the child's stderr"
    monkeypatch.undo()
    assert set(cook.make().artifacts) == {f"{variant}|onnx" for variant in VARIANTS}, "a failure is not kept"


def _steps(*techniques: str, **options: Any) -> VariantSpec:
    steps = tuple(StepSpec(technique=technique, options=options) for technique in techniques)
    return VariantSpec(name="own", title={"en": "own"}, steps=steps, precision="int8")


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        (lambda: _steps("quantize-static", "cast"), "make no sense together"),
        (lambda: _steps("cast"), "is ONNX and cannot go through"),
        (lambda: _steps("quantize-statik"), "unknown compression technique `quantize-statik`"),
        (lambda: _steps("quantize-static", calibraton="minmax"), "unknown option of `quantize-static`"),
        (lambda: _steps("quantize-static", calibration="guess"), "cannot take calibration = 'guess'"),
    ],
)
def test_a_wrong_recipe_is_the_users_error(cook: Cook, variant: Callable[[], VariantSpec], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        cook.make(variant())


def test_another_preprocessing_remakes_only_what_is_calibrated(cook: Cook) -> None:
    cook.make()
    path = cook.model.parent / "preprocessor_config.json"
    path.write_text(path.read_text(encoding="utf-8").replace("0.5", "0.25"), encoding="utf-8")
    cook.make()
    assert cook.said == ["quantize-static"]


def test_a_model_known_only_by_name_brings_its_own_preprocessing(cook: Cook) -> None:
    """As one from the hub does: the parent learns from the result where its folder is."""
    named = cook.make(task=task(None, cook.images))
    assert named.model_dir == str(cook.model.parent)
