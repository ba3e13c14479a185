"""A user's image folder: how it is divided, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leptonbench.errors import UsageError
from leptonbench.tasks import Split
from leptonbench.tasks.images import ImageFolder, ImageProcessor
from tests.tiny import CLASSES, SIZE, make_images


def _names(folder: ImageFolder) -> set[str]:
    return {str(path.relative_to(folder.root)) for path, _ in folder.files}


def test_a_folder_is_divided_into_a_fifth_and_the_rest(tmp_path: Path) -> None:
    make_images(tmp_path, each=10)
    calibration = ImageFolder(tmp_path, Split.CALIBRATION, limit=1000)
    evaluation = ImageFolder(tmp_path, Split.EVALUATION, limit=1000)
    assert (len(calibration), len(evaluation)) == (6, 24)
    assert _names(calibration) & _names(evaluation) == set()
    assert calibration.classes == evaluation.classes == CLASSES
    assert all(path.parent.name == CLASSES[label] for path, label in evaluation.files)
    assert _names(ImageFolder(tmp_path, Split.EVALUATION, limit=1000)) == _names(evaluation)


def test_a_new_image_changes_no_others_place(tmp_path: Path) -> None:
    make_images(tmp_path, each=10)
    before = [path for path, _ in ImageFolder(tmp_path, Split.EVALUATION, limit=1000).files]
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "red" / "new.png")
    after = [path for path, _ in ImageFolder(tmp_path, Split.EVALUATION, limit=1000).files]
    assert [path for path in after if path.name != "new.png"] == before


def test_a_limit_keeps_the_first(tmp_path: Path) -> None:
    make_images(tmp_path, each=10)
    whole = ImageFolder(tmp_path, Split.EVALUATION, limit=1000).files
    assert ImageFolder(tmp_path, Split.EVALUATION, limit=5).files == whole[:5]


@pytest.mark.parametrize(("first", "second"), [("calibration", "evaluation"), ("train", "val"), ("train", "test")])
def test_a_folder_that_is_divided_already_stays_so(tmp_path: Path, first: str, second: str) -> None:
    make_images(tmp_path / first, each=2)
    make_images(tmp_path / second, each=3)
    assert len(ImageFolder(tmp_path, Split.CALIBRATION, limit=1000)) == 6
    assert len(ImageFolder(tmp_path, Split.EVALUATION, limit=1000)) == 9


@pytest.mark.parametrize("only", ["train", "test"])
def test_one_half_of_a_divided_folder_is_divided_itself(tmp_path: Path, only: str) -> None:
    """It must not be taken for a class, which would make every image of one class and every answer meaningless."""
    make_images(tmp_path / only, each=10)
    calibration = ImageFolder(tmp_path, Split.CALIBRATION, limit=1000)
    evaluation = ImageFolder(tmp_path, Split.EVALUATION, limit=1000)
    assert evaluation.classes == CLASSES
    assert (len(calibration), len(evaluation)) == (6, 24)
    assert _names(calibration) & _names(evaluation) == set()


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder", encoding="utf-8")
    with pytest.raises(UsageError, match="is not a folder"):
        ImageFolder(tmp_path / "data", Split.EVALUATION, limit=1)


def test_an_image_is_decoded_to_three_channels(tmp_path: Path) -> None:
    make_images(tmp_path, each=2)
    for path in (tmp_path / "red").iterdir():
        Image.new("L", (SIZE, SIZE), 7).save(path)
    folder = ImageFolder(tmp_path, Split.EVALUATION, limit=100)
    shapes = {folder.raw(index).shape for index in range(len(folder))}
    assert shapes == {(SIZE, SIZE, 3)}


def test_whatever_damages_an_image_is_told_by_its_name(tmp_path: Path) -> None:
    """Every tenth byte, one after the other: Pillow answers with errors of many kinds, or decodes it all the same."""
    make_images(tmp_path, each=2)
    folder = ImageFolder(tmp_path, Split.EVALUATION, limit=100)
    path = folder.files[0][0]
    sound = path.read_bytes()
    refused = 0
    for position in range(0, len(sound), 10):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 0xFF]) + sound[position + 1 :])
        try:
            folder.raw(0)
        except UsageError as error:
            refused += 1
            assert str(path) in error.message and error.cause and error.hint
    assert refused > 10


def test_an_image_is_resized_cropped_and_normalised() -> None:
    processor = ImageProcessor(resize=8, crop=(6, 6), mean=(0.5,) * 3, std=(0.25,) * 3)
    image = np.zeros((32, 16, 3), dtype=np.uint8)
    image[..., 0] = 255
    encoded = processor(image)
    assert encoded.shape == (3, 6, 6) and encoded.dtype == np.float32
    assert encoded.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(encoded[0], 2.0)
    np.testing.assert_allclose(encoded[1:], -2.0)
