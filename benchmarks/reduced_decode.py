"""What --reduced-decode changes of the results, and what it saves: figures for docs/benchmarks.md.

    python benchmarks/reduced_decode.py MODEL.onnx --images DIR [--imgsz 640] [--enlarge 3] [--count 64]

Each photograph is looked at twice by one network, decoded in full and reduced; those that are not reduced at that size
are left out. `--enlarge` makes JPEGs of them first, of quality 90, so many times as large on each side. Detections of
one class are paired by their overlap, best first; those above 0.25 in one or the other count. Distances are of the
corners, in pixels of the network's input. Milliseconds are the process' own, of decoding alone, in turns.
"""

import argparse
import io
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import process_time

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from a checkout

from y12.files import IMAGE_SUFFIXES
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.preprocess.letterbox import Letterbox
from y12.runtime.preprocess.reduced import ReducedImage
from y12.runtime.results.detections import Detections
from y12.runtime.session import Runtime

CONF, LEAST_CONF, LEAST_IOU = 0.25, 0.05, 0.5


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description="Reduced decoding beside full decoding.")
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--imgsz", type=int)
    parser.add_argument("--enlarge", type=int, default=1)
    parser.add_argument("--count", type=int, default=64, help="photographs (default: %(default)s)")
    asked = parser.parse_args()
    photos = sorted(path for path in asked.images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)[: asked.count]
    executor = OrtExecutor(asked.model, "cpu", 1)
    full, reduced = (
        Runtime(asked.model, executor, imgsz=asked.imgsz, reduced_decode=is_reduced) for is_reduced in (False, True)
    )
    options = replace(full.options, conf=LEAST_CONF)
    pixels, scores, milliseconds, single = [], [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        for photo in photos:
            path = enlarged(photo, Path(folder), asked.enlarge) if asked.enlarge > 1 else photo
            if not isinstance(reduced.reading.image(path), ReducedImage):
                continue
            milliseconds.append([timed(runtime, path) for runtime in (full, reduced)])
            one, other = (runtime.infer(path, options) for runtime in (full, reduced))
            px, score, alone = compared(one, other, Letterbox.fit(one.image_hw, full.input_hw).scale)
            pixels, scores, single = pixels + px, scores + score, single + alone
    report = {
        "images reduced": f"{len(milliseconds)} of {len(photos)}",
        "objects in both": len(pixels),
        "lost or new above 0.25": single,
        "px of the input, median p95 max": quantiles(pixels),
        "scores, median p95 max": quantiles(scores),
        "decoding ms, full reduced": np.round(np.mean(milliseconds, axis=0) * 1e3, 2).tolist(),
    }
    print(json.dumps(report, indent=2))


def enlarged(photo: Path, folder: Path, times: int) -> Path:
    """Write a photograph so many times as large on each side, and give its path."""
    from PIL import Image

    picture = Image.open(io.BytesIO(photo.read_bytes())).convert("RGB")
    path = folder / f"{photo.stem}.jpg"
    size = picture.width * times, picture.height * times
    picture.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return path


def timed(runtime: Runtime, path: Path) -> float:
    """Return the processor's seconds for decoding a file, the less of two."""
    took = []
    for _ in range(2):
        began = process_time()
        runtime.reading.image(path)
        took.append(process_time() - began)
    return min(took)


def compared(one: Detections, other: Detections, scale: float) -> tuple[list[float], list[float], int]:
    """Pair two results; give distances in pixels of the input, differences of scores, and how many lack a partner."""
    overlaps = iou(one.xyxy, other.xyxy) * (one.class_id[:, None] == other.class_id)
    left, right = one.confidence > CONF, other.confidence > CONF
    pixels, scores, alone = [], [], 0
    while overlaps.size and overlaps.max() > LEAST_IOU:
        i, j = np.unravel_index(overlaps.argmax(), overlaps.shape)
        if left[i] or right[j]:
            pixels.append(float(np.abs(one.xyxy[i] - other.xyxy[j]).max() * scale))
            scores.append(float(abs(one.confidence[i] - other.confidence[j])))
            alone += int(left[i] != right[j])
        left[i] = right[j] = False
        overlaps[i], overlaps[:, j] = 0, 0
    return pixels, scores, alone + int(left.sum() + right.sum())


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the overlaps of (N, 4) and (M, 4) boxes, (N, M)."""
    sides = np.minimum(one[:, None, 2:], other[:, 2:]) - np.maximum(one[:, None, :2], other[:, :2])
    common = np.maximum(sides, 0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    return np.asarray(common / np.maximum(areas[0][:, None] + areas[1] - common, 1e-9))


def quantiles(values: list[float]) -> list[float]:
    """Return the median, the 95th percentile and the largest."""
    return np.round(np.quantile(values, (0.5, 0.95, 1.0)), 4).tolist() if values else []


if __name__ == "__main__":
    main()
