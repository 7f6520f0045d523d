"""A COCO JSON as a data set: images, annotations and categories, with the images' files found beside it."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from y12.errors import DatasetError
from y12.exporter.data.bounds import (
    ImageTotals,
    NothingError,
    ShapeError,
    check_box,
    check_keypoints,
    check_place,
    check_segmentation,
    numbers,
)
from y12.exporter.data.dataset import Dataset, GroundTruth, Sample, SizesHw
from y12.exporter.data.files import read_json
from y12.exporter.data.problems import LeftOut, Problems
from y12.runtime.options import is_whole
from y12.text import is_text, shown

__all__ = ["coco_dataset", "coco_ground_truth", "ground_truth_kinds"]

_PARTS = ("images", "annotations", "categories")


def coco_dataset(path: Path, images: Path | None = None, *, strict: bool = False) -> Dataset:
    """Read a COCO JSON and find its images.

    Args:
        path: the JSON.
        images: the folder that its file names start from; None looks beside the JSON.
        strict: refuse labels of nothing, which are otherwise left out and told.

    Raises:
        DatasetError: entries are wrong (the first ten are named), or images are missing.
    """
    nothing = LeftOut()
    truth = coco_ground_truth(path, None if strict else nothing)
    folder = _image_folder(path, [image["file_name"] for image in truth["images"]], images)
    annotated = {annotation["image_id"] for annotation in truth["annotations"]}
    categories, unused, notes = _categories(truth)
    return Dataset(
        origin=path,
        samples=tuple(
            Sample(image["id"], folder / image["file_name"], image.get("height"), image.get("width"))
            for image in truth["images"]
        ),
        categories=categories,
        kinds=ground_truth_kinds(truth),
        labels=len(truth["annotations"]),
        background=len(truth["images"]) - len(annotated),
        ground_truth=lambda sizes_hw: truth | {"images": [_with_size(image, sizes_hw) for image in truth["images"]]},
        points=_points(truth),
        unused=unused,
        notes=(*notes, *nothing.notes),
    )


def coco_ground_truth(path: Path, nothing: LeftOut | None = None) -> GroundTruth:
    """Read a COCO JSON, without looking for the images.

    Args:
        path: the JSON.
        nothing: is told of the labels of nothing, which are left out; None refuses them.

    Raises:
        DatasetError: it is damaged or contradicts itself; the first ten wrong entries are named.
    """
    data = read_json(path, "a COCO JSON")
    if not isinstance(data, dict) or not all(isinstance(data.get(part), list) for part in _PARTS):
        raise DatasetError(f"{path}: expected a COCO JSON with lists of {', '.join(_PARTS)}, found {shown(data)}")
    problems = Problems()
    for part, check in (("images", _check_image), ("categories", _check_category)):
        for i, entry in enumerate(data[part]):
            _checked(f"{part}[{i}]", problems, check, entry)
    problems.raise_if_any(str(path))
    for part in ("images", "categories"):
        ids = [entry["id"] for entry in data[part]]
        if not ids or len(set(ids)) != len(ids):
            raise DatasetError(f"{path}: expected one or more {part} with an id each of its own")
    known = _Known(
        {image["id"]: (image.get("height"), image.get("width")) for image in data["images"]},
        {category["id"] for category in data["categories"]},
    )
    annotations = []
    for i, entry in enumerate(data["annotations"]):
        if _checked(f"annotations[{i}]", problems, known.check, entry, nothing):
            annotations.append(entry)
    problems.raise_if_any(str(path))
    data["annotations"] = annotations
    if not annotations:
        raise DatasetError(f"{path}: expected annotations, found none")
    if len({len(a["keypoints"]) for a in data["annotations"] if "keypoints" in a}) > 1:
        raise DatasetError(f"{path}: expected as many keypoints in each annotation, found different numbers")
    return {part: data[part] for part in _PARTS}


def ground_truth_kinds(truth: GroundTruth) -> tuple[str, ...]:
    """Return what the annotations tell: masks where all objects have one, keypoints where any has."""
    annotations = truth["annotations"]
    kinds = ["bbox"] if all("bbox" in a for a in annotations) else []
    kinds += ["segm"] if all(a.get("segmentation") for a in annotations) else []
    kinds += ["keypoints"] if any("keypoints" in a for a in annotations) else []
    return tuple(kinds)


def _categories(truth: GroundTruth) -> tuple[tuple[tuple[int, str], ...], frozenset[int], tuple[str, ...]]:
    """Return id and name of each category, the ids that no annotation is of, and what is told.

    A category that only stands above others, as their `supercategory` (Roboflow writes one with the data set's name),
    is no class.
    """
    used = {annotation["category_id"] for annotation in truth["annotations"]}
    above = {category["supercategory"] for category in truth["categories"] if _has_other_above(category)}
    roots = [c for c in truth["categories"] if c["id"] not in used and c["name"] in above]
    categories = tuple(sorted((c["id"], c["name"]) for c in truth["categories"] if c not in roots))
    told = (
        f"left out, as no annotation is of it and others are below it: {', '.join(shown(c['name']) for c in roots[:3])}"
    )
    return categories, frozenset(i for i, _ in categories if i not in used), (told,) if roots else ()


def _has_other_above(category: dict[str, Any]) -> bool:
    above = category.get("supercategory")
    return isinstance(above, str) and above != category["name"]


def _points(truth: GroundTruth) -> int | None:
    return next((len(a["keypoints"]) // 3 for a in truth["annotations"] if "keypoints" in a), None)


def _checked(where: str, problems: Problems, check: Any, entry: object, nothing: LeftOut | None = None) -> bool:
    """Return whether an entry is of use; what is wrong with it is noted."""
    if not isinstance(entry, dict):
        problems.add(f"{where}: expected a mapping, found {shown(entry)}")
        return False
    try:
        check(entry)
    except ShapeError as error:
        if nothing is not None and isinstance(error, NothingError):
            nothing.add(where)
        else:
            problems.add(f"{where}: {error}")
        return False
    return True


def _check_image(image: dict[str, Any]) -> None:
    if not is_whole(image.get("id")):
        raise ShapeError(f"expected an id, a whole number, found {shown(image.get('id'))}")
    name = image.get("file_name")
    if not is_text(name) or not name or "\0" in name or PurePath(name).is_absolute() or ".." in name.split("/"):
        raise ShapeError(f"expected a file_name inside the images' folder, found {shown(name)}")
    for side in ("height", "width"):
        if side in image and (not is_whole(image[side]) or image[side] < 1):
            raise ShapeError(f"expected a {side} of 1 or more pixels, found {shown(image[side])}")


def _check_category(category: dict[str, Any]) -> None:
    if not is_whole(category.get("id")) or not is_text(category.get("name")):
        raise ShapeError(f"expected an id and a name, found {shown(category)}")


@dataclass(frozen=True)
class _Known:
    """The images' sizes (None where they are not told) and the categories' ids, which annotations refer to.

    `totals` counts, image by image, what the annotations seen so far have come to.
    """

    sizes_hw: dict[int, tuple[int | None, int | None]]
    categories: set[int]
    totals: dict[int, ImageTotals] = field(default_factory=lambda: defaultdict(ImageTotals))

    def check(self, annotation: dict[str, Any]) -> None:
        image_id, category_id = annotation.get("image_id"), annotation.get("category_id")
        if not is_whole(image_id) or image_id not in self.sizes_hw:
            raise ShapeError(f"expected the image_id of one of the images, found {shown(image_id)}")
        if not is_whole(category_id) or category_id not in self.categories:
            raise ShapeError(f"expected the category_id of one of the categories, found {shown(category_id)}")
        if annotation.get("iscrowd", 0) is None:  # as some tools write "no"
            annotation["iscrowd"] = 0
        if type(annotation.get("iscrowd", 0)) not in (int, bool) or annotation.get("iscrowd", 0) not in (0, 1):
            raise ShapeError(f"expected iscrowd 0 or 1, found {shown(annotation['iscrowd'])}")
        if "bbox" not in annotation and not annotation.get("segmentation"):
            raise ShapeError("expected a bbox or a segmentation, found neither")
        if "bbox" in annotation:
            check_box(annotation["bbox"])
            _check_box_in(annotation["bbox"], self.sizes_hw[image_id])
        if "area" in annotation and numbers([annotation["area"]], "an area")[0] < 0:
            raise ShapeError(f"expected an area of 0 or more, found {shown(annotation['area'])}")
        sides = 0.0
        if annotation.get("segmentation"):
            height, width = self.sizes_hw[image_id]
            if height is None or width is None:
                raise ShapeError("expected the height and width of an image with a segmentation, found none")
            sides = check_segmentation(annotation["segmentation"], (height, width))
        if "keypoints" in annotation:
            check_keypoints(annotation["keypoints"])
            _check_keypoints_in(annotation["keypoints"], self.sizes_hw[image_id])
        self.totals[image_id].add(sides)


def _check_box_in(box: list[float], image_hw: tuple[int | None, int | None]) -> None:
    """Refuse a box that is nothing, or that lies farther out than the image is large."""
    left, top, width, height = box
    if min(width, height) == 0:
        raise NothingError(f"expected a width and height above 0, found {width:g} and {height:g}")
    for low, size, side in ((left, width, image_hw[1]), (top, height, image_hw[0])):
        if side is not None:
            check_place(low / side, "the corners of a bbox")
            check_place((low + size) / side, "the corners of a bbox")


def _check_keypoints_in(keypoints: list[float], image_hw: tuple[int | None, int | None]) -> None:
    """Refuse a labelled keypoint that lies farther out than the image is large."""
    height, width = image_hw
    for x, y, visibility in zip(keypoints[0::3], keypoints[1::3], keypoints[2::3], strict=True):
        if visibility and height is not None and width is not None:
            check_place(x / width, "keypoints")
            check_place(y / height, "keypoints")


def _image_folder(path: Path, names: Sequence[str], images: Path | None) -> Path:
    folders = [images] if images is not None else list(_folders_beside(path))
    missing: dict[Path, str] = {}
    for folder in folders:
        absent = next((name for name in names if not os.path.isfile(folder / name)), None)
        if absent is None:
            return folder
        missing[folder] = absent
    best = next((folder for folder in folders if missing[folder] != names[0]), folders[0])
    raise DatasetError(
        f"{path}: expected its {len(names)} images in one folder; {missing[best]} is not in {best} "
        f"({len(folders)} folders looked at); name the folder with --images"
    )


def _folders_beside(path: Path) -> Iterator[Path]:
    """Yield the JSON's folder, its images/ and the folders in that; for annotations/x.json, those one up as well."""
    roots = [path.parent, *([path.parent.parent] if path.parent.name == "annotations" else [])]
    for root in roots:
        yield root
        if (root / "images").is_dir():
            yield root / "images"
            yield from sorted(p for p in (root / "images").iterdir() if p.is_dir())
        yield from sorted(p for p in root.iterdir() if p.is_dir() and p.name != "images")


def _with_size(image: dict[str, Any], sizes_hw: SizesHw) -> dict[str, Any]:
    """Add the decoded image's size, which a JSON need not tell."""
    height, width = sizes_hw[image["id"]]
    return image | {"height": height, "width": width}
