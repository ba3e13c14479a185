"""What was tuned on a user's data is known by all of the data that it learned from."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from leptonbench.harness.jobs import PrepareJob, TaskRef
from leptonbench.harness.kitchen import Kitchen
from leptonbench.schema import DataSpec
from tests.tiny import SIZE, make_images, make_model


def _identity(root: Path) -> str:
    """Return what tells tuned weights apart by their data, in a process that has read nothing yet."""
    model = root / "model" / "own.onnx"
    data = DataSpec(seed=1, calibration=4, evaluation=4)
    reference = TaskRef(name="inspection", model_dir=str(model.parent), data=data, own=str(root / "images"))
    job = PrepareJob(model=str(model), base=None, task=reference, targets=(), cache=str(root / "cache"))
    return Kitchen(job, lambda line: None).kept().data


def test_images_beyond_those_that_calibrate_count(tmp_path: Path) -> None:
    make_model(tmp_path / "model" / "own.onnx")
    make_images(tmp_path / "images" / "train", each=4)
    make_images(tmp_path / "images" / "val", each=2, seed=8)
    before = _identity(tmp_path)
    assert _identity(tmp_path) == before
    seen = {before}
    for path in sorted((tmp_path / "images" / "train").rglob("*.png")):
        Image.new("RGB", (SIZE, SIZE)).save(path)
        seen.add(_identity(tmp_path))
    assert len(seen) == 13, "each of the twelve images that teach, of which four calibrate"
    Image.new("RGB", (SIZE, SIZE)).save(next((tmp_path / "images" / "val").rglob("*.png")))
    assert _identity(tmp_path) in seen, "an image that evaluates teaches nothing"
