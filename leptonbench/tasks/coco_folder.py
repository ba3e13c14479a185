"""A user's pictures with COCO annotations, read and checked before anything is measured on them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leptonbench.errors import UsageError
from leptonbench.tasks.base import Split
from leptonbench.tasks.images import read_image

_SLACK_PX = 1.0  # annotation tools round: a box may leave its picture so far, and is cut at the edge
_MOST_CALIBRATION = 128
_LAYOUT = "give DATA/annotations.json (COCO) with the pictures beside it or in DATA/images/, or the JSON file itself"


@dataclass(frozen=True, slots=True)
class Picture:
    """One annotated picture.

    Attributes:
        path: Of the file.
        width_px: As the annotations state it.
        height_px: Likewise.
        objects: Rows of `[x1, y1, x2, y2, class, crowd]`, corners as shares of the picture.
    """

    path: Path
    width_px: int
    height_px: int
    objects: list[list[float]]


class _Document:
    """A COCO file while it is read: what every complaint needs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"`{path}` cannot be read as JSON", cause=str(error), hint=_LAYOUT) from error
        missing = {"images", "annotations", "categories"} - set(self.data if isinstance(self.data, dict) else ())
        if missing:
            raise UsageError(
                f"`{path}` is not a COCO annotation file",
                cause=f"it has no {', '.join(f'`{name}`' for name in sorted(missing))}",
                hint="COCO's object-detection format: https://cocodataset.org/#format-data",
            )
        for name in ("images", "annotations", "categories"):
            if not isinstance(self.data[name], list):
                raise UsageError(
                    f"`{path}` is not a COCO annotation file",
                    cause=f"its `{name}` is {type(self.data[name]).__name__} and no list",
                    hint="COCO's object-detection format: https://cocodataset.org/#format-data",
                )
            if not self.data[name]:
                raise UsageError(f"`{path}` has no entry in `{name}`", hint="annotate at least two pictures")

    def refuse(self, entry: str, cause: str, hint: str) -> UsageError:
        """Return the error about one entry."""
        return UsageError(f"{entry} of `{self.path}` cannot be used", cause=cause, hint=hint)

    def field(self, where: str, row: Any, name: str) -> Any:
        """Return a field of an entry."""
        if not isinstance(row, dict) or name not in row:
            raise self.refuse(where, f"it has no `{name}`", "COCO's object-detection format requires it")
        return row[name]

    def id(self, where: str, row: Any, name: str = "id") -> float | str:
        """Return an id among an entry's fields."""
        key = self.field(where, row, name)
        if not isinstance(key, str) and not _number(key):
            raise self.refuse(where, f"its `{name}` is {key!r}", "an id is a number or a text")
        return key  # type: ignore[no-any-return]


def _annotations_file(given: Path) -> Path:
    if given.is_file():
        return given
    if not given.is_dir():
        raise UsageError(f"there is nothing at `{given}`", hint=_LAYOUT)
    if (given / "annotations.json").is_file():
        return given / "annotations.json"
    found = sorted(given.glob("*.json"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found[:5]) or "no JSON file"
    raise UsageError(f"`{given}` holds no `annotations.json`", cause=f"found {names}", hint=_LAYOUT)


def _categories(document: _Document) -> dict[Any, str]:
    """Return the categories' names by id, in the order of the ids."""
    names: dict[Any, str] = {}
    for number, row in enumerate(document.data["categories"]):
        where = f"category {number}"
        key, name = document.id(where, row), str(document.field(where, row, "name"))
        if any(isinstance(key, str) != isinstance(other, str) for other in names):
            raise document.refuse(
                where, f"its id is {key!r}, others are like {next(iter(names))!r}", "number all, or name all"
            )
        if key in names or name.casefold() in {other.casefold() for other in names.values()}:
            raise document.refuse(where, f"id {key!r} or name `{name}` is there twice", "give each category its own")
        names[key] = name
    return dict(sorted(names.items()))


def _mapped(names: Mapping[Any, str], labels: Sequence[str] | None, path: Path) -> dict[Any, int]:
    """Return each category's index among the model's labels, by name; by order of id where the model has no names."""
    if labels is None:
        return {key: index for index, key in enumerate(names)}
    known = {label.casefold(): index for index, label in enumerate(labels)}
    strange = [name for name in names.values() if name.casefold() not in known]
    if strange:
        raise UsageError(
            "the data's categories are not among the model's classes",
            cause=f"`{path.name}` has {', '.join(strange[:8])}; the model has {', '.join(labels[:12])}",
            hint="name the categories as the model's id2label does (letter case does not matter)",
        )
    return {key: known[name.casefold()] for key, name in names.items()}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _picture(document: _Document, number: int, row: Any) -> tuple[Any, Picture]:
    """Return an image's id and its picture, still without objects."""
    where = f"image {number}"
    key, name = document.id(where, row), str(document.field(where, row, "file_name"))
    where = f"image {number} (`{name}`)"
    sides = document.field(where, row, "width"), document.field(where, row, "height")
    if not all(_number(side) and side >= 1 for side in sides):
        raise document.refuse(where, f"its size is {sides[0]!r} x {sides[1]!r}", "state width and height in pixels")
    folder = document.path.parent
    path = next((p for p in (folder / name, folder / "images" / name) if p.is_file()), None)
    if path is None:
        raise document.refuse(
            where, f"neither `{folder / name}` nor `{folder / 'images' / name}` is a file", "put the picture there"
        )
    return key, Picture(path, int(sides[0]), int(sides[1]), [])


def _corners(document: _Document, where: str, row: Any, picture: Picture) -> list[float]:
    """Return a box's corners as shares of its picture."""
    box = document.field(where, row, "bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_number(value) for value in box):
        raise document.refuse(where, f"its bbox is {box!r}", "a box is [x, y, width, height] in pixels")
    x, y, width, height = (float(value) for value in box)
    if width <= 0 or height <= 0:
        raise document.refuse(where, f"its bbox {box} has no area", "remove it or draw it again")
    size = f"{picture.width_px} x {picture.height_px}"
    if min(x, y) < -_SLACK_PX or x + width > picture.width_px + _SLACK_PX or y + height > picture.height_px + _SLACK_PX:
        raise document.refuse(
            where, f"its bbox {box} leaves its picture `{picture.path.name}` of {size}", "cut boxes at the edge"
        )
    shares = (x / picture.width_px, y / picture.height_px, (x + width) / picture.width_px)
    cut = [min(1.0, max(0.0, share)) for share in (*shares, (y + height) / picture.height_px)]
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
        raise document.refuse(
            where, f"its bbox {box} lies outside its picture `{picture.path.name}` of {size}", "remove it"
        )
    return cut


def read_coco(given: Path, labels: Sequence[str] | None) -> tuple[list[Picture], tuple[str, ...]]:
    """Read and check annotations and the presence of every picture.

    Args:
        given: A COCO JSON file, or a folder with `annotations.json` (or one JSON file).
        labels: The model's classes in the order of its outputs; `None` if it states none.

    Returns:
        The pictures, and the names that class indices stand for: the model's, or the categories' in the order of
        their ids.

    Raises:
        UsageError: Naming the first entry that cannot be used.
    """
    document = _Document(_annotations_file(given))
    names = _categories(document)
    kinds = _mapped(names, labels, document.path)
    pictures: dict[Any, Picture] = {}
    for number, row in enumerate(document.data["images"]):
        key, picture = _picture(document, number, row)
        if key in pictures:
            raise document.refuse(f"image {number} (`{picture.path.name}`)", f"id {key!r} is there twice", "renumber")
        pictures[key] = picture
    for number, row in enumerate(document.data["annotations"]):
        where = f"annotation {number}"
        image, kind = document.id(where, row, "image_id"), document.id(where, row, "category_id")
        if image not in pictures:
            raise document.refuse(where, f"there is no image with id {image!r}", "remove it or list the image")
        if kind not in kinds:
            raise document.refuse(
                where, f"there is no category with id {kind!r}", f"the categories' ids are {list(names)[:12]}"
            )
        corners = _corners(document, where, row, pictures[image])
        pictures[image].objects.append([*corners, kinds[kind], int(bool(row.get("iscrowd", 0)))])
    return list(pictures.values()), tuple(labels) if labels is not None else tuple(names.values())


class CocoFolder:
    """One split of a user's annotated pictures; a fifth, at most 128, calibrates and the rest evaluates.

    The split is fixed by each file's name. Pictures without objects count: what is found on them is wrong.

    Args:
        given: As `read_coco` takes it.
        split: Which part.
        limit: How many pictures at most.
        labels: As `read_coco` takes them.

    Attributes:
        classes: What class indices stand for.

    Raises:
        UsageError: If an entry cannot be used, or there are fewer than two pictures.
    """

    def __init__(self, given: Path, split: Split, *, limit: int, labels: Sequence[str] | None) -> None:
        pictures, self.classes = read_coco(given, labels)
        if len(pictures) < 2:
            raise UsageError(
                f"found {len(pictures)} picture in `{given}`",
                cause="one part calibrates and the rest evaluates",
                hint="annotate at least two pictures",
            )
        pictures.sort(key=lambda picture: hashlib.sha256(picture.path.name.encode()).digest())
        held = min(_MOST_CALIBRATION, max(1, len(pictures) // 5))
        self.pictures = (pictures[:held] if split is Split.CALIBRATION else pictures[held:])[:limit]

    def __len__(self) -> int:
        """Return how many pictures the split has."""
        return len(self.pictures)

    @cached_property
    def identity(self) -> str:
        """Return the hash of the files' names and bytes and of their objects."""
        digest = hashlib.sha256()
        for picture in self.pictures:
            digest.update(f"{picture.path.name} {json.dumps(picture.objects)} ".encode())
            with picture.path.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
        return digest.hexdigest()

    def raw(self, index: int) -> NDArray[np.uint8]:
        """Decode one picture to uint8, height x width x 3.

        Raises:
            UsageError: If it cannot be decoded, or is not of the size that the annotations state.
        """
        picture = self.pictures[index]
        image = read_image(picture.path)
        if image.shape[:2] != (picture.height_px, picture.width_px):
            raise UsageError(
                f"`{picture.path}` is not the picture that was annotated",
                cause=f"it is {image.shape[1]} x {image.shape[0]} pixels, the annotations say "
                f"{picture.width_px} x {picture.height_px}",
                hint="use the picture as it was annotated, or annotate it again",
            )
        return image

    def target(self, index: int) -> list[list[float]]:
        """Return rows of `[x1, y1, x2, y2, class, crowd]`, corners as shares of the picture."""
        return self.pictures[index].objects

    def duration_s(self, index: int) -> None:
        """Return nothing: a picture has no length."""
