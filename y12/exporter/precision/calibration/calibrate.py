"""Calibration: run the FP32 graph on images, count what its activations are, and choose the range of each.

One pass over the images, a batch at a time: what is kept is one histogram a tensor (64 KiB each), so that memory does
not depend on how many images there are. The result depends on neither their order nor on the machine's files' order.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
import onnx

from y12.errors import CalibrationError
from y12.exporter.precision.calibration.activations import Values, activations
from y12.exporter.precision.calibration.clipping import least_error_range, max_range, mse_range, percentile_range
from y12.exporter.precision.calibration.histograms import Histogram
from y12.exporter.precision.quantization_options import METHODS, CalibrationOptions
from y12.exporter.precision.ranges import Range, Ranges
from y12.runtime.artefact.manifest import InputProfile
from y12.runtime.backends.onnx_runtime import threads_at_hand

__all__ = [
    "METHODS",
    "CalibrationError",
    "CalibrationOptions",
    "calibrate",
    "collect_histograms",
    "ranges_from_histograms",
]

FEW_IMAGES = 100  # under these, a range hangs on single images
_ROOM = 1 << 30  # bytes, for activations

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
    histograms = {name: (Histogram(), Lock()) for name in tensors}
    take = partial(_count, histograms)
    threads = _at_a_time(graph, tensors)
    for done, _ in activations(graph, list(histograms), images, task, profile, take, bits, threads=threads):
        if progress is not None:
            progress(done, len(images))
    return {name: histogram for name, (histogram, _) in histograms.items()}


def _at_a_time(graph: onnx.ModelProto, tensors: Sequence[str]) -> int:
    """Return how many images to count at a time: as many as have room with all their activations."""
    sizes = {
        value.name: math.prod(max(1, axis.dim_value) for axis in value.type.tensor_type.shape.dim)
        for value in graph.graph.value_info
    }
    of_image = 4 * sum(sizes.get(name, 0) for name in tensors)
    return max(1, min(threads_at_hand(), _ROOM // of_image)) if of_image else 1


def _count(histograms: Mapping[str, tuple[Histogram, Lock]], paths: Sequence[Path], values: Values) -> None:
    """Add the tensors' values, (B, …) with as many of the first axis for each image, and free them."""
    for name, (histogram, lock) in histograms.items():
        own = values.pop(name)
        try:
            with lock:  # counts do not depend on the order
                histogram.add(own)
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
