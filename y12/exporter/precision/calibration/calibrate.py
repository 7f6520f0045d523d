"""Calibration: run the FP32 graph on images, count what its activations are, and choose the range of each.

One pass over the images, a batch at a time: what is kept is one histogram a tensor (64 KiB each), so that memory does
not depend on how many images there are. The result depends on neither their order nor on the machine's files' order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from y12.errors import CalibrationError
from y12.exporter.parallel import in_order, threads_at_hand
from y12.exporter.precision.calibration.activations import activations
from y12.exporter.precision.calibration.clipping import least_error_range, max_range, mse_range, percentile_range
from y12.exporter.precision.calibration.histograms import Histogram
from y12.exporter.precision.quantization_options import METHODS, CalibrationOptions
from y12.exporter.precision.ranges import Range, Ranges
from y12.runtime.artefact.manifest import InputProfile

__all__ = [
    "METHODS",
    "CalibrationError",
    "CalibrationOptions",
    "calibrate",
    "collect_histograms",
    "ranges_from_histograms",
]

FEW_IMAGES = 100  # under these, a range hangs on single images

Progress = Callable[[int, int], None]
Clip = Callable[[Histogram, "CalibrationOptions"], Range]
_CLIPS: dict[str, Clip] = {
    "max": lambda histogram, _: max_range(histogram),
    "percentile": lambda histogram, options: percentile_range(histogram, options.percentile, options.symmetric),
    "mse": lambda histogram, options: mse_range(histogram, options.symmetric),
    "l3": lambda histogram, options: least_error_range(histogram, options.symmetric, power=3),
}


def calibrate(
    graph: onnx.ModelProto,
    tensors: Sequence[str],
    images: Sequence[Path],
    task: str,
    profile: InputProfile,
    options: CalibrationOptions,
    progress: Progress | None = None,
) -> tuple[Ranges, ...]:
    """Return the range of each tensor over the images by each method that is to be tried.

    Args:
        graph: the simplified FP32 graph.
        tensors: names of float32 activations in it; its input is one too.
        images: files; each is prepared exactly as the runtime does it for the task and the size.
        task: of the network.
        profile: the graph's input shapes.
        options: how ranges are chosen.
        progress: called after each batch with the images done and their number.

    Raises:
        CalibrationError: a tensor is unknown or not float32, an image cannot be used, or an activation is NaN or Inf.
        Y12Error: ONNX Runtime failed.
    """
    histograms = collect_histograms(graph, tensors, images, task, profile, progress, options.bits)
    by_method = [ranges_from_histograms(histograms, len(images), own) for own in options.tried]
    return tuple(replace(ranges, notes=_notes(images)) for ranges in by_method)


def ranges_from_histograms(histograms: Mapping[str, Histogram], images: int, options: CalibrationOptions) -> Ranges:
    """Return the range of each tensor; one collection of histograms serves several methods and both grids."""
    clip = _CLIPS[options.method]
    return Ranges({name: clip(h, options) for name, h in histograms.items()}, options.in_words(), images)


def collect_histograms(
    graph: onnx.ModelProto,
    tensors: Sequence[str],
    images: Sequence[Path],
    task: str,
    profile: InputProfile,
    progress: Progress | None = None,
    bits: int | None = None,
) -> dict[str, Histogram]:
    """Return the histogram of each tensor's values over the images; arguments and errors as of `calibrate`.

    `bits` are of 16-bit images.
    """
    histograms = {name: Histogram() for name in tensors}
    for done, paths, values in activations(graph, list(histograms), images, task, profile, bits):
        for _ in in_order(partial(_count, histograms, values, paths), histograms, threads_at_hand()):
            pass
        if progress is not None:
            progress(done, len(images))
    return histograms


def _count(
    histograms: Mapping[str, Histogram], values: dict[str, NDArray[np.float32]], paths: Sequence[Path], name: str
) -> None:
    """Add a tensor's values, (B, …) with as many of the first axis for each image, and free them."""
    own = values.pop(name)
    try:
        histograms[name].add(own)
    except ValueError as error:
        by_image = own.reshape(len(paths), -1)
        bad = next(path for path, part in zip(paths, by_image, strict=True) if not np.isfinite(part).all())
        raise CalibrationError(
            f"'{name}' holds {error} on the image {bad}: such a network cannot be quantised; check it in FP32"
        ) from error


def _notes(images: Sequence[Path]) -> tuple[str, ...]:
    if len(images) >= FEW_IMAGES:
        return ()
    return (f"calibrated on {len(images)} images only; {FEW_IMAGES} or more make the ranges reliable",)
