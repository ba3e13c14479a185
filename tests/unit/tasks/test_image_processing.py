"""Images are resized and cropped as the model's own processor would, proportions and all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from leptonbench.errors import UsageError
from leptonbench.paths import data_root
from leptonbench.tasks.detection_images import WholePicture
from leptonbench.tasks.images import ImageProcessor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


@pytest.mark.parametrize("shape", [(64, 128), (130, 50), (33, 57), (48, 48)])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ViT", {"size": _square(48)}),
        ("ViT", {"size": {"height": 32, "width": 48}, "resample": 3}),
        ("ViT", {"size": 48}),
        ("DeiT", {"size": _square(56), "crop_size": _square(48), "do_center_crop": True}),
        ("DeiT", {"size": 56, "crop_size": 48, "do_center_crop": True}),
        ("Beit", {"size": _square(48), "crop_size": _square(40), "do_center_crop": False}),
        ("Bit", {"size": {"shortest_edge": 56}, "crop_size": _square(48), "do_center_crop": True}),
        ("Bit", {"size": {"shortest_edge": 40}, "crop_size": _square(48), "do_center_crop": True}),
        ("CLIP", {"size": 56, "crop_size": 48, "do_center_crop": True}),
        ("Bit", {"do_resize": False, "crop_size": _square(60), "do_center_crop": True}),
        ("ViT", {"do_resize": False, "size": _square(48)}),
        ("ConvNext", {"size": {"shortest_edge": 48}, "crop_pct": 0.875, "resample": 3}),
        ("ConvNext", {"size": {"shortest_edge": 384}, "crop_pct": 0.875, "resample": 3}),
        ("ConvNext", {"size": 48, "crop_pct": 0.9}),
    ],
)
def test_pixels_are_those_of_the_models_own_processor(
    kind: str, settings: dict[str, Any], shape: tuple[int, int], tmp_path: Path
) -> None:
    import transformers

    config = {"image_processor_type": f"{kind}ImageProcessor", "image_mean": MEAN, "image_std": STD, "resample": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config | settings), encoding="utf-8")
    own = getattr(transformers, f"{kind}ImageProcessorPil").from_pretrained(tmp_path)
    image = _noise(*shape)
    wanted = own(Image.fromarray(image))["pixel_values"][0]
    found = ImageProcessor.from_folder(tmp_path)(image)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_where_a_processor_leaves_sizes_free_the_middle_square_is_taken(tmp_path: Path) -> None:
    config = {"size": {"shortest_edge": 48}, "do_center_crop": False, "image_mean": MEAN, "image_std": STD}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert ImageProcessor.from_folder(tmp_path)(_noise(48, 90)).shape == (3, 48, 48)


@pytest.mark.parametrize(
    ("workload", "read", "side", "resample"),
    [
        ("inspection", ImageProcessor.from_folder, 224, Image.Resampling.BICUBIC),
        ("detection", WholePicture.from_folder, 320, Image.Resampling.BILINEAR),
    ],
)
def test_shipped_models_see_their_images_whole(workload: str, read: Any, side: int, resample: int) -> None:
    """Their own images are as large as they want them, and are only scaled; larger squares are resized first."""
    processor = read(data_root() / "workloads" / workload / "model")
    for image in (_noise(side, side), _noise(2 * side, 2 * side)):
        resized = image if len(image) == side else np.asarray(Image.fromarray(image).resize((side, side), resample))
        scaled = resized.astype(np.float32) * np.float32(1 / 255)
        wanted = (scaled - np.asarray(MEAN, dtype=np.float32)) / np.asarray(STD, dtype=np.float32)
        np.testing.assert_array_equal(processor(image), wanted.transpose(2, 0, 1))


@pytest.mark.parametrize("text", ["[]", '{"size": {"longest_edge": 5}}', '{"size": 8}', "{"])
def test_what_is_no_pre_processing_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="cannot read the pre-processing") as raised:
        ImageProcessor.from_folder(tmp_path)
    assert raised.value.cause and raised.value.hint
