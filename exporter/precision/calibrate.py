"""Calibration: run the FP32 graph on images, count what its activations are, and choose the range of each.

One pass over the images, a batch at a time: what is kept is one histogram a tensor (64 KiB each), so that memory does
not depend on how many images there are. The result depends on neither their order nor on the machine's files' order.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from exporter.errors import CalibrationError
from exporter.precision.activations import activations
from exporter.precision.clipping import entropy_range, least_error_range, max_range, mse_range, percentile_range
from exporter.precision.histograms import Histogram
from exporter.precision.options import METHODS, CalibrationOptions
from exporter.precision.range_cache import content_key, load_ranges, prepare_folder, store_ranges
from exporter.precision.ranges import Range, Ranges
from exporter.precision.sources import calibration_images
from runtime.manifest import Manifest
from runtime.tasks import TASKS

__all__ = [
    "METHODS",
    "CalibrationError",
    "CalibrationOptions",
    "calibrate",
    "calibration_images",
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
    "entropy": lambda histogram, options: entropy_range(histogram, options.symmetric),
}


def calibrate(
    graph: onnx.ModelProto,
    tensors: Sequence[str],
    images: Sequence[Path],
    manifest: Manifest,
    options: CalibrationOptions,
    progress: Progress | None = None,
) -> Ranges:
    """Give the range of each tensor over the images, from the cache where it has them.

    Args:
        graph: the simplified FP32 graph.
        tensors: names of float32 activations in it; its input is one too.
        images: files; each is prepared exactly as the runtime does it for the manifest's task and size.
        manifest: of the graph.
        options: how ranges are chosen.
        progress: called after each batch with the images done and their number; not called where the cache answers.

    Raises:
        CalibrationError: a tensor is unknown or not float32, an image cannot be used, or an activation is NaN or Inf.
        Y12Error: ONNX Runtime failed, or the cache cannot be written.
    """
    notes = _notes(images)
    folder, key = options.cache, ""
    if folder is not None:
        prepare_folder(folder)
        fit = TASKS[manifest.task].fit
        share = options.percentile if options.method == "percentile" else None
        settings = (options.method, share, options.symmetric, fit.__qualname__, manifest.profile)
        key = content_key(graph, tensors, images, settings)
        try:
            known = load_ranges(folder, key)
        except CalibrationError as error:
            known = None
            notes.append(f"{error}: calibrated again, and replaced it")
        if known is not None:
            return Ranges(known.by_tensor, known.method, known.images, (*notes, f"calibration from the cache {folder}"))
    histograms = collect_histograms(graph, tensors, images, manifest, progress)
    ranges = ranges_from_histograms(histograms, len(images), options)
    if folder is not None:
        store_ranges(folder, key, ranges)
    return Ranges(ranges.by_tensor, ranges.method, ranges.images, tuple(notes))


def ranges_from_histograms(histograms: Mapping[str, Histogram], images: int, options: CalibrationOptions) -> Ranges:
    """Choose the range of each tensor; one collection of histograms serves several methods and both grids."""
    clip = _CLIPS[options.method]
    return Ranges({name: clip(h, options) for name, h in histograms.items()}, options.in_words(), images)


def collect_histograms(
    graph: onnx.ModelProto,
    tensors: Sequence[str],
    images: Sequence[Path],
    manifest: Manifest,
    progress: Progress | None = None,
) -> dict[str, Histogram]:
    """Count the values of each tensor over the images; arguments and errors as of `calibrate`."""
    histograms = {name: Histogram() for name in tensors}
    for done, paths, values in activations(graph, list(histograms), images, manifest):
        for name, histogram in histograms.items():
            _count(histogram, name, values.pop(name), paths)  # frees it before the next run
        if progress is not None:
            progress(done, len(images))
    return histograms


def _count(histogram: Histogram, name: str, values: NDArray[np.float32], paths: Sequence[Path]) -> None:
    """Add a tensor's values, (B, …) with as many of the first axis for each image."""
    try:
        histogram.add(values)
    except ValueError as error:
        by_image = values.reshape(len(paths), -1)
        bad = next(path for path, own in zip(paths, by_image, strict=True) if not np.isfinite(own).all())
        raise CalibrationError(
            f"'{name}' holds {error} on the image {bad}: such a network cannot be quantised; check it in FP32"
        ) from error


def _notes(images: Sequence[Path]) -> list[str]:
    if len(images) >= FEW_IMAGES:
        return []
    return [f"calibrated on {len(images)} images only; {FEW_IMAGES} or more make the ranges reliable"]
