"""What y12 itself adds to an inference, on one core: everything but the network.

Run: python benchmarks/runtime_overhead.py
It makes its own 640x480 JPEG and its own network output (A=8400, 80 classes, 20 objects with 12 candidates
each among noise), and prints one JSON object: p50, p90 and p99 per stage in milliseconds of
time.perf_counter after warm-up. The goal is 8 ms in all at the median.
"""

import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from a checkout

from y12.runtime.artefact.output_layout import OutputLayout
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.boxes import decode_boxes
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import blob_from, letterbox

GOAL_MS = 8.0
WARMUP, ITERATIONS = 20, 300
INPUT_HW = (640, 640)
NAMES = tuple(f"class {i}" for i in range(80))
STAGES = ("decode_jpeg", "letterbox", "blob", "decode_output", "total")


def main() -> None:
    """Measure and print."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    rng = np.random.default_rng(12)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.jpg"
        cv2.imwrite(str(path), made_up_scene(rng), [cv2.IMWRITE_JPEG_QUALITY, 90])
        rows = measure(path, made_up_output(rng))
    quantiles = np.percentile(rows, (50, 90, 99), axis=0)  # (3, stages)
    report = {
        "unit": "ms",
        "iterations": ITERATIONS,
        "machine": f"{platform.machine()}, one core, Python {platform.python_version()}",
        "opencv": cv2.__version__,
        "stages": {
            stage: {f"p{q}": round(float(quantiles[i, column]), 3) for i, q in enumerate((50, 90, 99))}
            for column, stage in enumerate(STAGES)
        },
        "goal_total_p50": GOAL_MS,
        "goal_met": bool(quantiles[0, -1] <= GOAL_MS),
    }
    print(json.dumps(report, indent=2))


def measure(path: Path, output0: NDArray[np.float32]) -> NDArray[np.float64]:
    """Time the stages of one image, (ITERATIONS, stages) in milliseconds."""
    rows = []
    for i in range(WARMUP + ITERATIONS):
        marks = [perf_counter()]
        image = image_from(path)
        marks.append(perf_counter())
        padded, frame = letterbox(image, INPUT_HW)
        marks.append(perf_counter())
        blob_from([padded])
        marks.append(perf_counter())
        decode_boxes({"output0": output0}, frame, DetectOptions(), OutputLayout("detect", len(NAMES)), NAMES)
        marks.append(perf_counter())
        if i >= WARMUP:
            rows.append([*np.diff(marks), marks[-1] - marks[0]])
    return np.array(rows) * 1e3


def made_up_scene(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a 480x640 picture whose detail, and so whose JPEG, resembles a photograph's."""
    coarse = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(scene + rng.normal(0, 6, scene.shape), 0, 255).astype(np.uint8)


def made_up_output(rng: np.random.Generator, objects: int = 20, candidates: int = 12) -> NDArray[np.float32]:
    """Return a raw output (84, 8400): objects that several anchors see, the rest below the threshold."""
    output0 = np.concatenate([rng.random((4, 8400)) * 600, rng.random((80, 8400)) * 0.05]).astype(np.float32)
    anchors = rng.choice(8400, (objects, candidates), replace=False)
    for group in anchors:
        box = rng.random(4) * [500, 400, 120, 120] + [70, 120, 20, 20]
        output0[:4, group] = (box + rng.normal(0, 3, (candidates, 4))).T
        output0[4 + rng.integers(0, 80), group] = rng.uniform(0.3, 0.95, candidates)
    return output0


if __name__ == "__main__":
    main()
