"""Image pre-processing by a Hugging Face `preprocessor_config.json`, and image folders by class."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leptonbench.errors import UsageError
from leptonbench.tasks.base import Split

_EXTENSIONS = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_IMAGENET_MEAN = (0.485, 0.456, 0.406)  # the statistics that torchvision and the Hugging Face processors default to
_IMAGENET_STD = (0.229, 0.224, 0.225)
_WHOLE_FROM = 384  # pixels


@dataclass(frozen=True, slots=True)
class ImageProcessor:
    """Resize, centre-crop, scale and normalise one image, as the model's own processor would.

    One exception: where a processor keeps an image's proportions and crops nothing, so that every image has a size of
    its own, the middle square is taken. Engines and timings here want one size.

    Attributes:
        resize: The shortest edge in pixels, proportions kept; or height and width of the whole image, proportions
            lost; `None` leaves the image as it is.
        crop: Height and width of the centre crop in pixels, `None` for no crop; a smaller image is framed with zeros.
        resample: Pillow's resampling filter.
    """

    resize: int | tuple[int, int] | None = 256
    crop: tuple[int, int] | None = (224, 224)
    resample: int = int(Image.Resampling.BILINEAR)
    rescale: float = 1 / 255
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD

    @classmethod
    def from_folder(cls, folder: Path) -> ImageProcessor:
        """Read `preprocessor_config.json`; without one, assume ImageNet's usual statistics.

        Raises:
            UsageError: If the file is there and cannot be understood.
        """
        path = folder / "preprocessor_config.json"
        if not path.exists():
            return cls()
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            resize, crop = _sizes(config)
            return cls(
                resize=resize,
                crop=crop,
                resample=int(config.get("resample", Image.Resampling.BILINEAR)),
                rescale=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
                mean=tuple(config["image_mean"]) if config.get("do_normalize", True) else (0.0, 0.0, 0.0),
                std=tuple(config["image_std"]) if config.get("do_normalize", True) else (1.0, 1.0, 1.0),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"cannot read the pre-processing of the model in `{folder}`",
                cause=f"{path}: {error!r}",
                hint="an image model's folder carries the preprocessor_config.json that transformers writes",
            ) from error

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return channels-first float32 of the crop's size, or without a crop of the resized image's.

        Args:
            image: uint8, height x width x 3.
        """
        height, width = _resized(image.shape[:2], self.resize)
        if image.shape[:2] != (height, width):
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling(self.resample)))
        window = image if self.crop is None else _centre(image, self.crop)
        mean = np.asarray(self.mean, dtype=np.float32)
        std = np.asarray(self.std, dtype=np.float32)
        scaled = window.astype(np.float32) * np.float32(self.rescale)
        return np.ascontiguousarray(((scaled - mean) / std).transpose(2, 0, 1))


def _sizes(config: dict[str, Any]) -> tuple[int | tuple[int, int] | None, tuple[int, int] | None]:
    """Return what a processor resizes to and what it crops, as `ImageProcessor` has them."""
    size, share = config.get("size", 224), config.get("crop_pct")
    crop = _pair(config["crop_size"]) if config.get("crop_size") is not None else None
    crop = crop if config.get("do_center_crop", crop is not None) else None
    if not config.get("do_resize", True):
        return None, crop
    if _is_whole(size, config):
        return _pair(size), crop
    edge = _pair(size)[0]
    if not share:
        return edge, crop or (edge, edge)
    # ConvNeXT's processor, which others share: a margin below 384 pixels, and the whole image from there on.
    return (int(edge / share), (edge, edge)) if edge < _WHOLE_FROM else ((edge, edge), crop)


def _is_whole(size: Any, config: dict[str, Any]) -> bool:
    """Say whether a processor resizes to both sides, whatever the image's proportions.

    Older configurations state one number; then it is so for the processors that crop nothing, and for two that may.
    """
    if isinstance(size, dict):
        return "height" in size
    kind = str(config.get("image_processor_type", config.get("feature_extractor_type", "")))
    crops = config.get("do_center_crop", config.get("crop_size") is not None)
    return kind.startswith(("DeiT", "Beit")) or not (crops or config.get("crop_pct"))


def _resized(shape: tuple[int, ...], resize: int | tuple[int, int] | None) -> tuple[int, int]:
    """Return an image's height and width after the resize."""
    height, width = shape[0], shape[1]
    if isinstance(resize, tuple):
        return resize
    if resize is None:
        return height, width
    longest = int(resize * max(height, width) / min(height, width))  # rounded as transformers rounds
    return (resize, longest) if height <= width else (longest, resize)


def _centre(image: NDArray[np.uint8], crop: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the middle of an image, framed with zeros where the image is smaller."""
    short = [max(0, wanted - have) for wanted, have in zip(crop, image.shape[:2], strict=True)]
    if any(short):
        image = np.pad(image, [*((-(-each // 2), each // 2) for each in short), (0, 0)])
    top, left = ((have - wanted) // 2 for wanted, have in zip(crop, image.shape[:2], strict=True))
    return image[top : top + crop[0], left : left + crop[1]]


def _pair(size: Any) -> tuple[int, int]:
    """Return height and width from the several forms that configs use."""
    if isinstance(size, dict):
        edge = size.get("shortest_edge")
        return (int(edge), int(edge)) if edge else (int(size["height"]), int(size["width"]))
    return int(size), int(size)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode one file to uint8, height x width x 3.

    Raises:
        UsageError: If it cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # a damaged file makes Pillow raise OSError, SyntaxError, ValueError and others
        raise UsageError(
            f"`{path}` cannot be decoded as an image",
            cause=str(error) or repr(error),
            hint="remove or replace the file",
        ) from error


class ImageFolder:
    """A user's images, one folder a class; the split is fixed by each file's relative path.

    A fifth of the images, at most 256, calibrates and the rest evaluates; where the folder itself holds
    `calibration/` and `evaluation/` (or `train/` and `val/`, `validation/`, `test/`) those are used instead.

    Raises:
        UsageError: If there is no image, a class is empty, or a file is not an image.
    """

    _CALIBRATION = ("calibration", "train")
    _EVALUATION = ("evaluation", "val", "validation", "test")

    def __init__(self, root: Path, split: Split, *, limit: int) -> None:
        self.root = root
        if not root.is_dir():
            raise UsageError(f"`{root}` is not a folder", hint="`--data` takes a folder with one sub-folder a class")
        base, whole = self._base(root, split)
        self.classes = tuple(sorted(entry.name for entry in base.iterdir() if entry.is_dir()))
        files = [
            (path, label)
            for label, name in enumerate(self.classes)
            for path in sorted((base / name).rglob("*"))
            if path.suffix.lower() in _EXTENSIONS
        ]
        self._check_found(base, files)
        files.sort(key=lambda item: hashlib.sha256(str(item[0].relative_to(base)).encode()).digest())
        if whole:
            held = min(256, max(1, len(files) // 5))
            files = files[:held] if split is Split.CALIBRATION else files[held:]
        self.files = files[:limit]

    def _base(self, root: Path, split: Split) -> tuple[Path, bool]:
        """Return the folder of the split and whether it still has to be divided."""
        found = [
            next((root / name for name in names if (root / name).is_dir()), None)
            for names in (self._CALIBRATION, self._EVALUATION)
        ]
        if all(found):
            return found[0 if split is Split.CALIBRATION else 1] or root, False
        # One of the two alone is divided as a whole folder would be.
        return next((folder for folder in found if folder), root), True

    def _check_found(self, base: Path, files: list[tuple[Path, int]]) -> None:
        if len(files) < 2:
            raise UsageError(
                f"found {len(files)} images in `{base}`",
                cause=f"looked for {', '.join(sorted(_EXTENSIONS))} in {len(self.classes)} class folders",
                hint="lay the images out as DATA/<class>/<image>.png",
            )
        empty = set(range(len(self.classes))) - {label for _, label in files}
        if empty:
            raise UsageError(
                f"class folder `{self.classes[min(empty)]}` in `{base}` has no image",
                hint="remove it or put images there",
            )

    def __len__(self) -> int:
        """Return how many images the split has."""
        return len(self.files)

    @functools.cached_property
    def identity(self) -> str:
        """Return the hash of the files' names, bytes and classes."""
        digest = hashlib.sha256()
        for path, label in self.files:
            digest.update(f"{path.name} {label} ".encode())
            with path.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
        return digest.hexdigest()

    def duration_s(self, index: int) -> None:
        """Return nothing: an image has no length."""

    def raw(self, index: int) -> NDArray[np.uint8]:
        """Decode one image to uint8, height x width x 3."""
        return read_image(self.files[index][0])

    def target(self, index: int) -> int:
        """Return the class index: the position of the class folder in alphabetical order."""
        return self.files[index][1]
