"""Calibration: run the FP32 graph on images, count what its activations are, and choose the range of each.

One pass over the images, a batch at a time: what is kept is one histogram a tensor (64 KiB each), so that memory does
not depend on how many images there are. The result depends on neither their order nor on the machine's files' order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from exporter.errors import CalibrationError
from exporter.precision.activations import activations
from exporter.precision.clipping import entropy_range, least_error_range, max_range, mse_range, percentile_range
from exporter.precision.histograms import Histogram
from exporter.precision.options import METHODS, CalibrationOptions
from exporter.precision.range_cache import content_key, key_with, load_ranges, prepare_folder, store_ranges
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
) -> tuple[Ranges, ...]:
    """Give the range of each tensor over the images by each method that is to be tried, from the cache where it can.

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
    cache = None if options.cache is None else _Cache(options.cache, graph, tensors, images, manifest)
    known = {} if cache is None else {own: cache.load(own, notes) for own in options.tried}
    found = {own: ranges for own, ranges in known.items() if ranges is not None}
    if len(found) < len(options.tried):
        histograms = collect_histograms(graph, tensors, images, manifest, progress)
        for own in options.tried:
            found[own] = ranges_from_histograms(histograms, len(images), own)
            if cache is not None:
                cache.store(own, found[own])
    else:
        notes.append(f"calibration from the cache {options.cache}")
    return tuple(replace(found[own], notes=tuple(notes)) for own in options.tried)


class _Cache:
    """Ranges on disk, by what they depend on."""

    def __init__(
        self,
        folder: Path,
        graph: onnx.ModelProto,
        tensors: Sequence[str],
        images: Sequence[Path],
        manifest: Manifest,
    ) -> None:
        prepare_folder(folder)
        self._folder = folder
        fit = TASKS[manifest.task].fit
        self._key = content_key(graph, tensors, images, (fit.__qualname__, manifest.profile))

    def load(self, options: CalibrationOptions, notes: list[str]) -> Ranges | None:
        """Give what is known; of a damaged file say so."""
        try:
            return load_ranges(self._folder, self._key_of(options))
        except CalibrationError as error:
            notes.append(f"{error}: calibrated again, and replaced it")
            return None

    def store(self, options: CalibrationOptions, ranges: Ranges) -> None:
        """Keep ranges."""
        store_ranges(self._folder, self._key_of(options), ranges)

    def _key_of(self, options: CalibrationOptions) -> str:
        return key_with(self._key, (options.method, options.percentile, options.symmetric))


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
