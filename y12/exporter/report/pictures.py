"""The same image twice, with what two graphs find in it, small enough that a page can hold some pairs."""

import io
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image

from y12.exporter.evaluate.graph_results import detections_of
from y12.exporter.evaluate.precisions import Measured
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.preprocess.images import image_from
from y12.runtime.results.detections import Detections
from y12.runtime.results.draw import annotated

__all__ = ["MAX_BYTES", "Picture", "picture_from", "pictures_of"]

MAX_BYTES = 64 * 1024  # of one image: eight pairs then fit into 1.5 MB of page, written as base64
# What is tried one after the other until an image fits: its longest side in pixels, and JPEG's quality. The last one
# fits whatever is in the image: noise of 320x320 takes 58 kB.
_TRIED = ((640, 85), (640, 70), (640, 50), (480, 60), (480, 40), (320, 30))


@dataclass(frozen=True)
class Picture:
    """An image with its detections drawn in.

    Attributes:
        name: of its file.
        caption: what is to be seen.
        left: JPEG, as the reference finds it.
        right: JPEG, as the artefact finds it.
    """

    name: str
    caption: str
    left: bytes
    right: bytes


def picture_from(
    image_bgr: NDArray[np.uint8], name: str, reference: Detections, candidate: Detections, caption: str
) -> Picture:
    """Draw what both find in an (H, W, 3) image."""
    left, right = (_jpeg(annotated(image_bgr, detections)) for detections in (reference, candidate))
    return Picture(name, caption, left, right)


def pictures_of(
    results: Measured,
    simplified: onnx.ModelProto,
    typed: onnx.ModelProto,
    manifest: Manifest,
    bits: int | None = None,
) -> tuple[Picture, ...]:
    """Draw what FP32 and the artefact find in the images on which they differ most; `bits` are of 16-bit images."""
    if not results.worst:
        return ()
    paths = list(results.worst.values())
    ours, theirs = (detections_of(graph, manifest, paths, bits) for graph in (simplified, typed))
    return tuple(
        picture_from(image_from(path, bits), name, before, after, f"Agreement {results.accuracy.worst[name]:.3f}.")
        for (name, path), before, after in zip(results.worst.items(), ours, theirs, strict=True)
    )


def _jpeg(image_bgr: NDArray[np.uint8]) -> bytes:
    """Return an (H, W, 3) image as JPEG of at most `MAX_BYTES`."""
    pixels = Image.fromarray(np.ascontiguousarray(image_bgr[..., ::-1]))
    written = b""
    for side, quality in _TRIED:
        small = pixels.copy()
        small.thumbnail((side, side))  # never larger than it was
        with io.BytesIO() as file:
            # No chroma subsampling: it would blur the thin coloured lines.
            small.save(file, "JPEG", quality=quality, subsampling=0)
            written = file.getvalue()
        if len(written) <= MAX_BYTES:
            break
    return written
