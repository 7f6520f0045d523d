"""Find small objects in a large image: supervision cuts it into overlapping tiles, y12 looks at each.

    python examples/slicing.py model.onnx photograph.jpg [--tile 640] [--overlap 128] [--save drawn.jpg]

Takes an .engine too; needs supervision (`pip install supervision`). One line an object: class, confidence, box; then
how many there are, and how many were found in the image as a whole.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from y12 import Runtime, Y12Error
from y12.files import write_atomically
from y12.runtime.preprocess.images import image_from


def sliced(runtime: Runtime, image_bgr: NDArray[np.uint8], tile: int, overlap: int) -> sv.Detections:
    """Return what is found in the tiles, in pixels of the whole image, each object once."""
    slicer = sv.InferenceSlicer(
        callback=lambda part: runtime(part).to_supervision(),
        slice_wh=tile,
        overlap_wh=overlap,
        iou_threshold=0.5,
        overlap_metric=sv.OverlapMetric.IOS,  # a piece of an object, cut by a tile's edge, lies within the whole one
    )
    return slicer(image_bgr)


def main() -> int:
    """Parse the command line and tell what is found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("artefact", help="an .engine or .onnx made by y12-export")
    parser.add_argument("image", type=Path)
    parser.add_argument("--tile", type=int, default=640, help="side of a tile in pixels")
    parser.add_argument("--overlap", type=int, default=128, help="of neighbours, in pixels: as large as an object")
    parser.add_argument("--save", type=Path, metavar="FILE.jpg", help="write the image with the objects drawn in")
    asked = parser.parse_args()
    try:
        with Runtime(asked.artefact) as runtime:
            image_bgr = image_from(asked.image)
            found = sliced(runtime, image_bgr, asked.tile, asked.overlap)
            whole = runtime(image_bgr)
    except Y12Error as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, confidence, box in zip(found["class_name"], found.confidence, found.xyxy.tolist(), strict=True):
        print(f"{name} {confidence:.2f}", *(f"{v:.1f}" for v in box))
    print(f"{len(found)} in tiles of {asked.tile}, {len(whole)} in the whole image")
    if asked.save:
        import cv2

        drawn = sv.LabelAnnotator().annotate(sv.BoxAnnotator().annotate(image_bgr.copy(), found), found)
        write_atomically(asked.save, cv2.imencode(".jpg", drawn)[1].tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
