"""A JSON of COCO results, as `y12-val --save-json` and other programs write it."""

from pathlib import Path
from typing import Any

from y12.errors import DatasetError
from y12.exporter.data.bounds import ShapeError, check_box, check_keypoints, check_segmentation, numbers
from y12.exporter.data.dataset import GroundTruth
from y12.exporter.data.files import read_json
from y12.exporter.data.problems import Problems
from y12.text import shown

__all__ = ["read_results", "result_kinds"]

_KIND_FIELDS = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}


def read_results(path: Path, truth: GroundTruth) -> list[dict[str, Any]]:
    """Read results for the images and categories of a ground truth.

    Raises:
        DatasetError: it is no list of results, or some are wrong; the first ten are named.
    """
    results = read_json(path, "COCO results")
    if not isinstance(results, list) or not results:
        raise DatasetError(f"{path}: expected a list of COCO results, found {shown(results)}")
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in truth["images"]}
    categories = {category["id"] for category in truth["categories"]}
    points = next((len(a["keypoints"]) // 3 for a in truth["annotations"] if "keypoints" in a), None)
    problems = Problems()
    for i, result in enumerate(results):
        try:
            _check_result(result, sizes, categories, points)
        except ShapeError as error:
            problems.add(f"[{i}]: {error}")
    problems.raise_if_any(str(path))
    return results


def result_kinds(results: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return what results can be evaluated as: the fields that all of them have."""
    return tuple(kind for kind, field in _KIND_FIELDS.items() if all(field in result for result in results))


def _check_result(result: object, sizes: dict[int, tuple[Any, Any]], categories: set[int], points: int | None) -> None:
    if not isinstance(result, dict):
        raise ShapeError(f"expected a mapping, found {shown(result)}")
    for field, known in (("image_id", sizes), ("category_id", categories)):
        value = result.get(field)
        if type(value) is not int or value not in known:
            raise ShapeError(f"expected an {field} of the ground truth, found {shown(value)}")
    numbers([result.get("score")], "a score", 1)
    if "bbox" in result:
        check_box(result["bbox"])
    if "segmentation" in result:
        height, width = sizes[result["image_id"]]
        if not isinstance(result["segmentation"], dict) or height is None or width is None:
            raise ShapeError("expected a run-length mask for an image whose height and width are told")
        check_segmentation(result["segmentation"], (height, width))
    if "keypoints" in result:
        check_keypoints(result["keypoints"], points)
    if not any(field in result for field in _KIND_FIELDS.values()):
        raise ShapeError("expected a bbox, a segmentation or keypoints, found none")
