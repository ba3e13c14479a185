"""Whatever a user gets wrong is told in three parts, with the right exit code, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from leptonbench.schema import SCHEMA_VERSION
from leptonbench.store import RunStore
from tests.e2e.conftest import Bench, Finished
from tests.report_factory import make_run
from tests.tiny import SIZE, make_images, make_model

pytestmark = pytest.mark.slow


def _told(ended: Finished, code: int, *words: str) -> None:
    """Check an error: exit code, three parts on stderr, nothing on stdout, no traceback."""
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
    lines = ended.err.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert len(starts) == 1, ended.err
    rest = lines[starts[0] + 1 :]
    assert all(line.startswith(("  Caused by: ", "  hint: ")) for line in rest), ended.err
    assert rest, "an error says more than that there is one"
    for word in words:
        assert word in "\n".join(lines[starts[0] :]), ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--suite", "manufacturng"], ["unknown suite `manufacturng`", "did you mean `manufacturing`?"]),
        (["--workload", "inspecton"], ["unknown workload `inspecton`", "did you mean `inspection`?"]),
        (["--variant", "int8-statc"], ["unknown variant `int8-statc`", "did you mean `int8-static`?"]),
        (["--backend", "onnxruntim"], ["unknown backend `onnxruntim`", "did you mean `onnxruntime`?"]),
        (["--device", "host-cpuu"], ["unknown device `host-cpuu`", "did you mean `host-cpu`?"]),
        (["--scenario", "single-strem"], ["unknown scenario `single-strem`", "did you mean `single-stream`?"]),
        (["--executor", "locale"], ["unknown executor `locale`", "did you mean `local`?"]),
        (["--roundz", "3"], ["unknown option `--roundz`", "did you mean `--rounds`?"]),
        (["--rounds", "2"], ["--rounds", "hint: see `leptonbench run --help`"]),
        (["--duration", "soon"], ["`soon` is not a duration", "hint: write it like"]),
        (["--suite", "missing.yaml"], ["there is no suite file `missing.yaml`", "suites by name: "]),
        (["--data", "missing"], ["missing", "does not exist"]),
        (["--resume", "missing"], ["there is no run `missing`", "hint: "]),
    ],
    ids=lambda value: "".join(value[:2]) if value[0].startswith("--") else "",
)
def test_a_wrong_name_or_option(bench: Bench, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    _told(bench.call("run", *arguments, cwd=tmp_path), 2, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_plugin_that_cannot_be_loaded(bench: Bench, tmp_path: Path) -> None:
    """It matters to those who name it, and to nobody else: the other tests here run beside it."""
    ended = bench.call("run", "--workload", "inspection", "--backend", "double-missing", *bench.own(), cwd=tmp_path)
    _told(ended, 4, "backend `double-missing` cannot be loaded", "lepton-doubles 0.1", "Missing")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("duration_s: 0.2", "duration_s: [0.2"), ["is not valid YAML", "line "]),
        (("duration_s", "duration"), ["is not valid", "line 9, `duration`: unknown key", "did you mean `duration_s`?"]),
        (("duration_s: 0.2", "duration_s: long"), ["line 9, `duration_s`", "not `long`"]),
        (("latency_target_s: 0.5\n", ""), ["`latency_target_s`: this key is missing"]),
        (("max_batch: 2", "max_batch: 0"), ["line 8, `scenarios[0].max_batch`", "not `0`"]),
        (("[fp32]", "[fp23]"), ["line 5, `variants[0]`: unknown variant `fp23`", "did you mean `fp32`?"]),
        (
            ("[double-healthy]", "[double-healty]"),
            ["unknown backend `double-healty`", "did you mean `double-healthy`?"],
        ),
        (("name: tiny", "name: tiny\nname: again"), ["key `name` is already on line 1"]),
    ],
)
def test_a_wrong_suite_file_is_told_with_file_line_and_key(
    bench: Bench, tmp_path: Path, change: tuple[str, str], words: list[str]
) -> None:
    path = bench.suite(tmp_path, ["double-healthy"])
    text = path.read_text(encoding="utf-8")
    assert change[0] in text
    path.write_text(text.replace(*change), encoding="utf-8")
    ended = bench.call("run", "--suite", path, *bench.own(), "--out", tmp_path / "out")
    _told(ended, 2, *words)
    assert "backend" in words[0] or str(path) in ended.err
    assert not (tmp_path / "out").exists()


class Given(NamedTuple):
    """The model and the data that a user gives."""

    model: Path
    data: Path


def _no_onnx(given: Given) -> None:
    given.model.write_bytes(b"this is no model")


def _empty_onnx(given: Given) -> None:
    given.model.write_bytes(b"")


def _two_inputs(given: Given) -> None:
    make_model(given.model, inputs=("left", "right"))


def _wrong_rank(given: Given) -> None:
    import onnx

    model = onnx.load(str(given.model))
    del model.graph.input[0].type.tensor_type.shape.dim[0]
    onnx.save(model, str(given.model))


def _wrong_size(given: Given) -> None:
    make_model(given.model, shape=("batch", 3, 2 * SIZE, 2 * SIZE))


def _too_few_classes(given: Given) -> None:
    make_model(given.model, classes=2)


def _lost_weights(given: Given) -> None:
    import onnx

    model = onnx.load(str(given.model))
    onnx.save(model, str(given.model), save_as_external_data=True, location="weights.bin", size_threshold=0)
    (given.model.parent / "weights.bin").unlink()


def _no_images(given: Given) -> None:
    for path in given.data.rglob("*.png"):
        path.unlink()


def _no_class_folders(given: Given) -> None:
    for number, path in enumerate(sorted(given.data.rglob("*.png"))):
        path.rename(given.data / f"{number}.png")
    for folder in [path for path in given.data.iterdir() if path.is_dir()]:
        folder.rmdir()


def _one_empty_class(given: Given) -> None:
    for path in (given.data / "green").iterdir():
        path.unlink()


def _corrupt_images(given: Given) -> None:
    """Cut off every image, so that it does not matter which of them calibrate."""
    for path in given.data.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:200])


def _no_processing(given: Given) -> None:
    (given.model.parent / "preprocessor_config.json").write_text("{", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_onnx, ["is not a valid ONNX model", "Caused by: ", "hint: export it again"]),
        (_empty_onnx, ["is not a valid ONNX model", "Caused by: "]),
        (_two_inputs, ["does not take this workload's samples", "left: float32", "right: float32"]),
        (_wrong_rank, ["pixel_values: float32[3, 16, 16]", "the samples are pixel_values: float32[batch, 3, 16, 16]"]),
        (_wrong_size, ["pixel_values: float32[batch, 3, 32, 32]", "hint: "]),
        (_too_few_classes, ["classes are not those of the data", "2 logits", "3 classes (blue, green, red)"]),
        (_lost_weights, ["is not a valid ONNX model", "weights.bin"]),
        (_no_images, ["found 0 images", "in 3 class folders", "hint: lay the images out as DATA/<class>/"]),
        (_no_class_folders, ["found 0 images", "in 0 class folders"]),
        (_one_empty_class, ["class folder `green`", "has no image"]),
        (_corrupt_images, [".png` cannot be decoded as an image", "hint: remove or replace the file"]),
        (_no_processing, ["cannot read the pre-processing", "preprocessor_config.json"]),
    ],
)
def test_a_wrong_model_or_data(bench: Bench, tmp_path: Path, spoil: Callable[[Given], None], words: list[str]) -> None:
    given = Given(make_model(tmp_path / "model" / "own.onnx"), make_images(tmp_path / "data", each=4))
    spoil(given)
    out = tmp_path / "out"
    out.mkdir()
    (out / ".note").write_text("mine", encoding="utf-8")
    suite = bench.suite(tmp_path, ["double-healthy"])
    ended = bench.call("run", "--suite", suite, "--model", given.model, "--data", given.data, "--out", out)
    _told(ended, 2, *words)
    assert [path.name for path in out.iterdir()] == [".note"], "a run of nothing is no run, and files are the user's"


def test_one_image_that_cannot_be_decoded_is_named_before_anything_is_timed(bench: Bench, tmp_path: Path) -> None:
    """The first calibrating image is sound, so only scoring comes across the other."""
    from leptonbench.tasks import Split
    from leptonbench.tasks.images import ImageFolder

    images = make_images(tmp_path / "data", each=4)
    bad = ImageFolder(images, Split.EVALUATION, limit=100).files[-1][0]
    bad.write_bytes(bad.read_bytes()[:-40])
    suite, out = bench.suite(tmp_path, ["double-healthy"]), tmp_path / "out"
    ended = bench.call("run", "--suite", suite, "--model", bench.model, "--data", images, "--out", out)
    _told(ended, 2, f"`{bad}` cannot be decoded as an image")
    assert not out.exists()


@pytest.mark.parametrize("out", ["file/out", "/proc/leptonbench/out", "used"])
def test_a_folder_that_cannot_be_written(bench: Bench, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine", encoding="utf-8")
    suite = bench.suite(tmp_path, ["double-healthy"])
    ended = bench.call("run", "--suite", suite, *bench.own(), "--out", out, cwd=tmp_path)
    _told(ended, 2, "is not empty" if out == "used" else "cannot be created", "hint: ")
    assert (tmp_path / "used" / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Return the folder of a run, as another leptonbench might have left it."""
    manifest, records = make_run()
    with RunStore.create(tmp_path / "run", manifest) as store:
        for record in records:
            store.write_record(record)
    return tmp_path / "run"


@pytest.mark.parametrize("command", [["show"], ["report"], ["run", "--resume"]], ids=" ".join)
def test_a_run_of_a_newer_leptonbench(bench: Bench, stored: Path, command: list[str]) -> None:
    path = stored / "manifest.json"
    newer = json.loads(path.read_text(encoding="utf-8")) | {"schema_version": SCHEMA_VERSION + 1}
    path.write_text(json.dumps(newer), encoding="utf-8")
    ended = bench.call(*command, stored)
    _told(ended, 2, "was written by a newer leptonbench", f"version {SCHEMA_VERSION + 1}", "hint: upgrade")
    assert json.loads(path.read_text(encoding="utf-8")) == newer


def test_going_on_with_what_is_no_run(bench: Bench, tmp_path: Path) -> None:
    _told(bench.call("run", "--resume", tmp_path), 2, "is not a run", "it has no manifest.json", "hint: ")
    assert list(tmp_path.iterdir()) == []


def test_going_on_elsewhere_than_where_the_run_was_started(bench: Bench, stored: Path) -> None:
    """The factory's run is of a machine that does not exist."""
    path = stored / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["finished"] = None
    manifest["settings"]["effective"] = {
        "suite": str(bench.suite(stored.parent, ["double-healthy"])),
        "filters": {},
        "rounds": 3,
        "duration_s": 0.2,
        "threads": 1,
        "seed": 0,
        "model": str(bench.model),
        "data": str(bench.images),
    }
    path.write_text(json.dumps(manifest), encoding="utf-8")
    _told(bench.call("run", "--resume", stored), 2, "on another machine or with other packages", "these differ: ")
