"""A YOLO label as COCO's annotation: fractions of the image become pixels of the decoded image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.exporter.data.label_lines import Label

__all__ = ["annotation_from_label"]


def annotation_from_label(label: Label, image_hw: tuple[int, int], *, oriented: bool = False) -> dict[str, Any]:
    """Return COCO's annotation, without its id and the image's; of an oriented box, with "xywhr".

    The area is that of the outline's mask, as in COCO, where there is an outline, else the box's.

    Args:
        label: in fractions of the image.
        image_hw: the decoded image's (height, width), in pixels.
        oriented: the outline is an oriented box's.
    """
    from y12.runtime.results.oriented import xywhr_from_corners

    height, width = image_hw
    left, top, right, bottom = np.array(label.box) * (width, height, width, height)
    annotation: dict[str, Any] = {
        "category_id": label.class_id,
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
    }
    if label.outline is not None and oriented:
        xywhr = xywhr_from_corners(_scaled(label.outline, 2, image_hw))
        annotation |= {"xywhr": xywhr, "area": xywhr[2] * xywhr[3]}
    elif label.outline is not None:
        outline = _scaled(label.outline, 2, image_hw)
        annotation |= {"segmentation": [outline.ravel().tolist()], "area": _mask_area(outline, image_hw)}
    if label.keypoints is not None:
        points = _scaled(label.keypoints, 3, image_hw)
        annotation |= {"keypoints": points.ravel().tolist(), "num_keypoints": int((points[:, 2] > 0).sum())}
    return annotation


def _scaled(values: tuple[float, ...], columns: int, image_hw: tuple[int, int]) -> NDArray[np.float64]:
    """Return rows (N, columns) whose first two columns are x, y in pixels."""
    rows = np.array(values, np.float64).reshape(-1, columns)
    rows[:, :2] *= (image_hw[1], image_hw[0])
    return rows


def _mask_area(outline: NDArray[np.float64], image_hw: tuple[int, int]) -> float:
    from pycocotools import mask

    return float(mask.area(mask.frPyObjects([outline.ravel().tolist()], *image_hw))[0])
