"""What masks and oriented boxes cost: `python benchmarks/postprocess.py`, no network and no shared material needed.

Masks: 20 objects in a 1920x1080 image, 32 prototypes at 160x160; boxes of a quarter to a half of each side, and, as
the worst case, 20 boxes of the whole image. NMS with ProbIoU: 2,000 candidates at IoU 0.7. One JSON object is
printed: the median of REPEATS runs after a warm-up, in milliseconds of time.perf_counter. Set OMP_NUM_THREADS to
choose the cores that numpy's matrix products use.
"""

import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from a checkout

from y12.runtime.postprocess.nms import rotated_nms
from y12.runtime.preprocess.letterbox import Letterbox
from y12.runtime.results.masks import Masks

REPEATS = 15
IMAGE_HW, INPUT_HW, OBJECTS = (1080, 1920), (640, 640), 20
CANDIDATES, SIDE = 2000, 1024


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(12)
    report = {
        "unit": "ms",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
        "masks": {name: mask_times(rng, boxes) for name, boxes in mask_boxes(rng).items()},
        "rotated_nms": {name: nms_times(rng, *case) for name, case in oriented_boxes(rng).items()},
        "goals": {"masks, part of the image": 60, "rotated_nms": 30},
    }
    print(json.dumps(report, indent=2))


def median_ms(call: Callable[[], object]) -> float:
    """Time a call."""
    times = []
    for i in range(REPEATS + 2):
        started = perf_counter()
        call()
        if i >= 2:
            times.append((perf_counter() - started) * 1e3)
    return round(float(np.median(times)), 2)


def mask_boxes(rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Return boxes x1 y1 x2 y2 by case, (OBJECTS, 4)."""
    size = np.array(IMAGE_HW[::-1])
    sides = rng.uniform(0.25, 0.5, (OBJECTS, 2)) * size
    corner = rng.random((OBJECTS, 2)) * (size - sides)
    return {
        "part of the image": np.concatenate([corner, corner + sides], axis=1).astype(np.float32),
        "whole image": np.tile(np.array([0, 0, *size], np.float32), (OBJECTS, 1)),
    }


def mask_times(rng: np.random.Generator, xyxy: NDArray[np.float32]) -> dict[str, float]:
    """Time each thing that masks can be asked for; all but the first start from drawn masks."""
    protos = np.stack([cv2.resize(rng.normal(size=(12, 12)).astype(np.float32), (160, 160)) for _ in range(32)])
    coefficients = rng.normal(size=(OBJECTS, 32)).astype(np.float32)

    def fresh() -> Masks:
        return Masks.from_prototypes(coefficients, protos, xyxy, Letterbox.fit(IMAGE_HW, INPUT_HW))

    drawn = fresh()
    assert len(drawn.crops) == OBJECTS
    return {
        "bitmaps": median_ms(lambda: fresh().bitmaps),
        "crops": median_ms(lambda: fresh().crops),
        "coco_rle of drawn masks": median_ms(drawn.coco_rle),
        "polygons of drawn masks": median_ms(drawn.polygons),
    }


def oriented_boxes(rng: np.random.Generator) -> dict[str, tuple[NDArray[np.float32], int]]:
    """Return boxes (CANDIDATES, 5) and their number of classes by case; as aerial images have them, and worse."""
    centres = rng.random((CANDIDATES, 2)) * SIDE
    sides = rng.random((CANDIDATES, 2)) * [60, 20] + [10, 6]
    angles = rng.random((CANDIDATES, 1)) * np.pi
    spread = np.concatenate([centres, sides, angles], axis=1)
    noise = rng.normal(0, 1, (CANDIDATES, 5)) * [2, 2, 2, 1, 0.05]
    nested = np.concatenate(
        [np.full((CANDIDATES, 2), SIDE / 2), np.exp(rng.random((CANDIDATES, 2)) * 6) * 2, angles], 1
    )
    return {
        "spread out": (spread.astype(np.float32), 15),
        "20 clusters": ((spread[rng.integers(0, 20, CANDIDATES)] + noise).astype(np.float32), 1),
        "100 clusters": ((spread[rng.integers(0, 100, CANDIDATES)] + noise).astype(np.float32), 1),
        "worst case: all in one place, of all shapes": (nested.astype(np.float32), 1),
    }


def nms_times(rng: np.random.Generator, boxes: NDArray[np.float32], classes: int) -> dict[str, float]:
    """Time NMS for two limits."""
    scores, class_ids = rng.random(CANDIDATES), rng.integers(0, classes, CANDIDATES)
    return {
        f"max_det {limit}": median_ms(lambda limit=limit: rotated_nms(boxes, scores, class_ids, 0.7, limit))
        for limit in (300, 2000)
    }


if __name__ == "__main__":
    main()
