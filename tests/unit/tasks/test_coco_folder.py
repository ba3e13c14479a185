"""A user's COCO annotations: how they are read and divided, and what is refused, naming the entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from leptonbench.errors import UsageError
from leptonbench.tasks import Split
from leptonbench.tasks.coco_folder import CocoFolder, read_coco


def document(count: int = 10) -> dict[str, Any]:
    return {
        "images": [{"id": 100 + i, "file_name": f"p{i}.png", "width": 40, "height": 20} for i in range(count)],
        "annotations": [
            {"id": i, "image_id": 100 + i, "category_id": (7, 3)[i % 2], "bbox": [4, 5, 20, 10]} for i in range(count)
        ],
        "categories": [{"id": 7, "name": "Gear"}, {"id": 3, "name": "nut"}],
    }


def write(folder: Path, data: Any, *, name: str = "annotations.json", images: str = "", count: int = 10) -> Path:
    (folder / images).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.new("RGB", (40, 20), (index, 0, 0)).save(folder / images / f"p{index}.png")
    (folder / name).write_text(json.dumps(data), encoding="utf-8")
    return folder


@pytest.mark.parametrize("images", ["", "images"])
def test_pictures_lie_beside_the_annotations_or_below(tmp_path: Path, images: str) -> None:
    write(tmp_path, document(), images=images)
    pictures, classes = read_coco(tmp_path, None)
    assert classes == ("nut", "Gear")  # in the order of the ids
    assert pictures[0].objects == [[0.1, 0.25, 0.6, 0.75, 1, 0]]
    assert pictures[1].objects == [[0.1, 0.25, 0.6, 0.75, 0, 0]]


def test_the_json_file_itself_or_the_only_one_is_taken(tmp_path: Path) -> None:
    write(tmp_path, document(), name="instances_val.json")
    assert read_coco(tmp_path, None) == read_coco(tmp_path / "instances_val.json", None)


def test_categories_are_the_models_classes_by_name(tmp_path: Path) -> None:
    write(tmp_path, document())
    pictures, classes = read_coco(tmp_path, ("bolt", "gear", "NUT"))
    assert classes == ("bolt", "gear", "NUT")
    assert [picture.objects[0][4] for picture in pictures[:2]] == [1, 2]


def test_a_crowd_is_kept_as_one_and_rounding_is_cut_at_the_edge(tmp_path: Path) -> None:
    data = document()
    data["annotations"][0] |= {"bbox": [-0.5, 0, 41, 20], "iscrowd": 1}
    write(tmp_path, data)
    assert read_coco(tmp_path, None)[0][0].objects == [[0.0, 0.0, 1.0, 1.0, 1, 1]]


def test_the_split_is_disjoint_whole_and_fixed(tmp_path: Path) -> None:
    write(tmp_path, document())
    calibration = CocoFolder(tmp_path, Split.CALIBRATION, limit=100, labels=None)
    evaluation = CocoFolder(tmp_path, Split.EVALUATION, limit=100, labels=None)
    names = [{picture.path.name for picture in part.pictures} for part in (calibration, evaluation)]
    assert (len(calibration), len(evaluation)) == (2, 8)
    assert names[0] & names[1] == set()
    assert len(CocoFolder(tmp_path, Split.EVALUATION, limit=3, labels=None)) == 3
    again = CocoFolder(tmp_path, Split.EVALUATION, limit=100, labels=None)
    assert again.identity == evaluation.identity
    assert evaluation.raw(0).shape == (20, 40, 3)


def test_the_identity_follows_boxes_and_pixels(tmp_path: Path) -> None:
    write(tmp_path, document())
    seen = [CocoFolder(tmp_path, Split.EVALUATION, limit=100, labels=None)]
    first = seen[0].identity
    Image.new("RGB", (40, 20), (99, 0, 0)).save(seen[0].pictures[0].path)
    second = CocoFolder(tmp_path, Split.EVALUATION, limit=100, labels=None).identity
    data = document()
    for row in data["annotations"]:
        row["bbox"] = [1, 1, 5, 5]
    write(tmp_path, data)
    third = CocoFolder(tmp_path, Split.EVALUATION, limit=100, labels=None).identity
    assert len({first, second, third}) == 3


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["annotations"][3].update(bbox=[30, 5, 20, 10]), "annotation 3.*leaves its picture `p3.png`"),
        (lambda d: d["annotations"][3].update(bbox=[-9, 5, 20, 10]), "annotation 3.*leaves"),
        (lambda d: d["annotations"][3].update(bbox=[40.5, 1, 0.4, 5]), "annotation 3.*lies outside its picture"),
        (lambda d: d["annotations"][3].update(bbox=[3, -0.9, 5, 0.9]), "annotation 3.*lies outside its picture"),
        (lambda d: d["annotations"][2].update(bbox=[3, 5, 0, 10]), "annotation 2.*no area"),
        (lambda d: d["annotations"][2].update(bbox=[3, 5, 4, -1]), "annotation 2.*no area"),
        (lambda d: d["annotations"][2].update(bbox=[3, 5, 4]), "annotation 2.*bbox is"),
        (lambda d: d["annotations"][2].update(bbox=[3, 5, "a", 4]), "annotation 2.*bbox is"),
        (lambda d: d["annotations"][2].update(bbox=[3, 5, float("nan"), 4]), "annotation 2.*bbox is"),
        (lambda d: d["annotations"][1].pop("bbox"), "annotation 1.*no `bbox`"),
        (lambda d: d["annotations"][1].update(category_id=99), "annotation 1.*category with id 99.*\\[3, 7\\]"),
        (lambda d: d["annotations"][1].update(image_id=5), "annotation 1.*image with id 5"),
        (lambda d: d["images"][4].update(file_name="gone.png"), "image 4 \\(`gone.png`\\).*is a file"),
        (lambda d: d["images"][4].update(id=100), "image 4.*id 100 is there twice"),
        (lambda d: d["images"][4].update(width=0), "image 4.*size is 0 x 20"),
        (lambda d: d["images"][4].pop("height"), "image 4.*no `height`"),
        (lambda d: d["categories"].append({"id": 9, "name": "NUT"}), "category 2.*there twice"),
        (lambda d: d.update(annotations=[]), "no entry in `annotations`"),
        (lambda d: d.pop("images"), "not a COCO annotation file.*no `images`"),
        (lambda d: d["images"].__setitem__(0, "p0.png"), "image 0.*no `id`"),
        (lambda d: d["images"][4].update(id=[1]), "image 4.*`id` is \\[1\\]"),
        (lambda d: d["annotations"][1].update(image_id=[0]), "annotation 1.*`image_id` is \\[0\\]"),
        (lambda d: d["annotations"][1].update(category_id={}), "annotation 1.*`category_id` is {}"),
        (lambda d: d["categories"].append({"id": "9", "name": "cog"}), "category 2.*id is '9', others are like 7"),
        (lambda d: d["categories"][0].update(id=None), "category 0.*`id` is None"),
        (lambda d: d.update(images=5), "not a COCO annotation file.*`images` is int and no list"),
        (lambda d: d.update(categories={"a": 1}), "not a COCO annotation file.*`categories` is dict and no list"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, change: Change, said: str) -> None:
    data = document()
    change(data)
    write(tmp_path, data)
    with pytest.raises(UsageError, match=f"(?s){said}") as caught:
        read_coco(tmp_path, None)
    assert caught.value.hint


def test_other_categories_than_the_models_show_both(tmp_path: Path) -> None:
    write(tmp_path, document())
    with pytest.raises(UsageError, match="(?s)not among the model's classes.*Gear.*the model has nut, bolt"):
        read_coco(tmp_path, ("nut", "bolt"))


def test_no_json_at_all_and_nothing_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no `annotations.json`"):
        read_coco(tmp_path, None)
    with pytest.raises(UsageError, match="there is nothing at"):
        read_coco(tmp_path / "absent", None)
    (tmp_path / "annotations.json").write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot be read as JSON"):
        read_coco(tmp_path, None)


def test_one_picture_cannot_be_divided(tmp_path: Path) -> None:
    data = document(1)
    write(tmp_path, data, count=1)
    with pytest.raises(UsageError, match="found 1 picture"):
        CocoFolder(tmp_path, Split.EVALUATION, limit=5, labels=None)


def test_a_picture_of_another_size_or_a_damaged_one_is_named(tmp_path: Path) -> None:
    write(tmp_path, document())
    folder = CocoFolder(tmp_path, Split.EVALUATION, limit=100, labels=None)
    path = folder.pictures[0].path
    Image.new("RGB", (50, 20)).save(path)
    with pytest.raises(UsageError, match="(?s)not the picture that was annotated.*50 x 20.*40 x 20"):
        folder.raw(0)
    path.write_bytes(b"no picture")
    with pytest.raises(UsageError, match="cannot be decoded"):
        folder.raw(0)
