"""Pictures for detectors: the whole picture at one fixed size, as a `preprocessor_config.json` says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leptonbench.errors import UsageError

_MEAN = (0.485, 0.456, 0.406)  # ImageNet's, which the Hugging Face detectors' processors default to
_STD = (0.229, 0.224, 0.225)
_SIDE = 640  # assumed where neither pre-processing nor configuration says; RT-DETR's and D-FINE's own
_GRID = 32  # sides are multiples of the coarsest stride in use


@dataclass(frozen=True, slots=True)
class WholePicture:
    """Resize the whole picture to one size, scale and normalise it.

    DETR's and YOLOS' own processors keep the picture's proportions and pad, so that every picture has a size of its
    own. Engines and timings here want one size: such a processor's shortest edge becomes both sides. The boxes, which
    are shares of the picture, need no change; accuracy is that of the network at this size.

    Attributes:
        size: Height and width of the result in pixels.
        resample: Pillow's resampling filter.
    """

    size: tuple[int, int] = (_SIDE, _SIDE)
    resample: int = int(Image.Resampling.BILINEAR)
    rescale: float = 1 / 255
    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD

    @classmethod
    def from_folder(cls, folder: Path) -> WholePicture:
        """Read `preprocessor_config.json`; without one, take the size from `config.json` and ImageNet's statistics.

        Raises:
            UsageError: If a file is there and cannot be understood.
        """
        path = folder / "preprocessor_config.json"
        if not path.is_file():
            return cls(size=_stated_size(folder))
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            normalised = config.get("do_normalize", True)
            return cls(
                size=_size(config.get("size", _SIDE)),
                resample=int(config.get("resample", Image.Resampling.BILINEAR)),
                rescale=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
                mean=tuple(config.get("image_mean", _MEAN)) if normalised else (0.0, 0.0, 0.0),
                std=tuple(config.get("image_std", _STD)) if normalised else (1.0, 1.0, 1.0),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"cannot read the pre-processing of the model in `{folder}`",
                cause=f"{path}: {error!r}",
                hint="a detector's folder carries the preprocessor_config.json that transformers writes",
            ) from error

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return channels-first float32 of the fixed size.

        Args:
            image: uint8, height x width x 3.
        """
        height, width = self.size
        if image.shape[:2] != self.size:
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling(self.resample)))
        scaled = image.astype(np.float32) * np.float32(self.rescale)
        normal = (scaled - np.asarray(self.mean, dtype=np.float32)) / np.asarray(self.std, dtype=np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1))


def _size(size: Any) -> tuple[int, int]:
    """Return height and width from the several forms that configs use."""
    if isinstance(size, dict):
        if "height" in size:
            return int(size["height"]), int(size["width"])
        edge = int(size["shortest_edge"])
        return -(-edge // _GRID) * _GRID, -(-edge // _GRID) * _GRID
    if isinstance(size, list | tuple):
        return int(size[0]), int(size[1])
    return int(size), int(size)


def _stated_size(folder: Path) -> tuple[int, int]:
    """Return what a network's configuration says of its input's size, else the assumed one."""
    size = config_of(folder).get("image_size")
    if not size:
        return _SIDE, _SIDE
    try:
        return _size(size)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"cannot read the size of the pictures for the model in `{folder}`",
            cause=f"{folder / 'config.json'}: image_size is {size!r}",
            hint="state a number of pixels, or [height, width]",
        ) from error


def config_of(folder: Path | None) -> dict[str, Any]:
    """Return what a folder's `config.json` says; nothing where there is none.

    Raises:
        UsageError: If it is there and no JSON object.
    """
    path = folder / "config.json" if folder else None
    if path is None or not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UsageError(f"`{path}` is no JSON object", cause=str(error), hint="save the model again") from error
