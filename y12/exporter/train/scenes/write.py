"""Drawn scenes as labels in COCO's form, and as files that `y12-val` and other tools read."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from y12.errors import OutputError
from y12.exporter.data.dataset import GroundTruth
from y12.exporter.train.scenes.forms import CLASS_NAMES
from y12.exporter.train.scenes.scene import Scene, draw_scene

__all__ = ["INSTANCES", "shapes_ground_truth", "write_shapes"]

INSTANCES = "instances.json"  # the file of COCO labels in a folder of scenes

_MOST_IMAGES = 1_000_000


def shapes_ground_truth(seed: int, count: int, side: int = 320) -> tuple[list[NDArray[np.uint8]], GroundTruth]:
    """Return scenes 0 to count - 1 of a seed, and their labels as `y12.exporter.evaluate` takes them.

    Choose another seed than that of the training: the scenes are the same for the same seed.

    Returns:
        The images, (side, side, 3) uint8 BGR; and COCO's dict: images with the ids 1 to `count`, categories with the
        ids 0, 1, … of `CLASS_NAMES`, annotations with bbox and a run-length segmentation.
    """
    images: list[NDArray[np.uint8]] = []
    truth: GroundTruth = {"images": [], "annotations": [], "categories": _categories()}
    for index in range(count):
        drawn = draw_scene(seed, index, side)
        images.append(np.ascontiguousarray(drawn.image[:, :, ::-1]))
        _add(truth, drawn, index)
    return images, truth


def write_shapes(
    folder: Path, seed: int, count: int, side: int = 320, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write scenes 0 to count - 1 of a seed as PNG images, with their labels in both forms.

    images/000001.png …     the scenes
    labels/000001.txt …     boxes in YOLO's form, which has no outlines with holes
    data.yaml               names them; its train and val are the same images: validate on a folder of another seed
    instances.json          COCO's form, with masks; written last

    Args:
        folder: made if need be; empty.
        seed: 0 or more.
        count: how many images.
        side: of the images, in pixels.
        progress: told how many of how many are written.

    Raises:
        OutputError: the folder has files in it, or cannot be written.
        ValueError: the count or the side is out of range.
    """
    if not 0 < count <= _MOST_IMAGES:
        raise ValueError(f"expected 1 to {_MOST_IMAGES} images, found {count}")
    truth: GroundTruth = {"images": [], "annotations": [], "categories": _categories()}
    try:
        for part in ("images", "labels"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        if any(path.is_file() for path in folder.rglob("*")):
            raise OutputError(f"{folder}: expected an empty folder, found files in it; name another")
        for index in range(count):
            drawn = draw_scene(seed, index, side)
            name = _add(truth, drawn, index)
            png = cv2.imencode(".png", drawn.image[:, :, ::-1])[1]
            (folder / "images" / name).write_bytes(png.tobytes())
            (folder / "labels" / name).with_suffix(".txt").write_text(_label_lines(drawn, side))
            if progress is not None:
                progress(index + 1, count)
        (folder / "data.yaml").write_text(_data_yaml(seed))
        (folder / INSTANCES).write_text(json.dumps(truth))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _add(truth: GroundTruth, drawn: Scene, index: int) -> str:
    """Add a scene's labels in COCO's form; give the name of its file."""
    from pycocotools import mask as rle

    name = f"{index + 1:06d}.png"
    height, width = drawn.image.shape[:2]
    truth["images"].append({"id": index + 1, "file_name": name, "height": height, "width": width})
    for label, box, mask in zip(drawn.labels.tolist(), drawn.boxes.tolist(), drawn.masks, strict=True):
        runs = rle.encode(np.asfortranarray(mask.view(np.uint8)))
        truth["annotations"].append(
            {
                "id": len(truth["annotations"]) + 1,
                "image_id": index + 1,
                "category_id": label,
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "area": int(mask.sum()),
                "iscrowd": 0,
                "segmentation": {"size": list(runs["size"]), "counts": runs["counts"].decode("ascii")},
            }
        )
    return name


def _categories() -> list[dict[str, object]]:
    return [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES)]


def _label_lines(drawn: Scene, side: int) -> str:
    left, top, right, bottom = drawn.boxes.T.astype(np.float64) / side
    rows = zip(drawn.labels, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top, strict=True)
    return "".join(f"{label} {x:.8f} {y:.8f} {w:.8f} {h:.8f}\n" for label, x, y, w, h in rows)


def _data_yaml(seed: int) -> str:
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(CLASS_NAMES))
    return f"# Scenes of seed {seed}, drawn by y12.\npath: .\ntrain: images\nval: images\nnames:\n{names}"
