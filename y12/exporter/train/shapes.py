"""An endless labelled data set made by code: shapes of ten classes that overlap, before textured backgrounds.

What it is for: to train on where nothing can be downloaded, and to see that training works at all. Each scene is a
pure function of (seed, index). `python -m y12.exporter.train.shapes FOLDER` writes some to look at or to measure on,
without torch.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from y12.errors import InputError
from y12.exporter.train.batch import MASK_STRIDE
from y12.exporter.train.scenes.forms import CLASS_NAMES
from y12.exporter.train.scenes.scene import SMALLEST_SIDE, Scene, draw_scene
from y12.exporter.train.scenes.write import shapes_ground_truth, write_shapes
from y12.runtime.cli.common import put, require_packages, run_command

__all__ = ["CLASS_NAMES", "Scene", "draw_scene", "main", "shapes_ground_truth", "write_shapes"]

_LARGEST_SIDE = 4096


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, write the scenes, give the exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _write(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m y12.exporter.train.shapes",
        description="Draw labelled scenes of shapes into FOLDER: images, a data.yaml with boxes, and a COCO "
        "instances.json with masks.",
    )
    add: Any = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="where to write; new or empty")
    add("--images", type=int, default=128, metavar="N", help="how many (default: 128)")
    add("--seed", type=int, default=1, metavar="N", help="which scenes: another seed, other scenes (default: 1)")
    add("--imgsz", type=int, default=320, metavar="PX", help="side of the images in pixels (default: 320)")
    return parser


def _write(arguments: argparse.Namespace) -> int:
    images, seed, side = arguments.images, arguments.seed, arguments.imgsz
    if images < 1:
        raise InputError(f"--images: expected 1 or more, found {images}")
    if seed < 0:
        raise InputError(f"--seed: expected 0 or more, found {seed}")
    if not SMALLEST_SIDE <= side <= _LARGEST_SIDE or side % MASK_STRIDE:
        raise InputError(
            f"--imgsz: expected {SMALLEST_SIDE} to {_LARGEST_SIDE} pixels, a multiple of {MASK_STRIDE}, found {side}"
        )
    require_packages(("pycocotools",), "val", "python -m y12.exporter.train.shapes")
    write_shapes(arguments.folder, seed, images, side)
    put(f"{arguments.folder}: {images} scenes of {side}x{side} pixels, {len(CLASS_NAMES)} classes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
