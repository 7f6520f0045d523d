"""Calibration: run the FP32 graph on images, count what its activations are, and choose the range of each.

One pass over the images, a batch at a time: what is kept is one histogram a tensor (64 KiB each), so that memory does
not depend on how many images there are. The result depends on neither their order nor on the machine's files' order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from exporter.errors import CalibrationError
from exporter.precision.clipping import entropy_range, max_range, mse_range, percentile_range
from exporter.precision.histograms import Histogram
from exporter.precision.options import METHODS, CalibrationOptions
from exporter.precision.range_cache import content_key, load_ranges, prepare_folder, store_ranges
from exporter.precision.ranges import Range, Ranges
from exporter.precision.sources import calibration_images
from runtime.errors import Y12Error
from runtime.images import image_from
from runtime.letterbox import blob_from
from runtime.manifest import Manifest
from runtime.ort import OrtExecutor
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
    if not images:
        raise CalibrationError("expected images to calibrate on, found none")
    histograms = {name: Histogram() for name in tensors}
    given = graph.graph.input[0].name
    executor = _executor(graph, [name for name in histograms if name != given])
    try:
        for done, paths, blob in _batches(images, manifest):
            values = {given: blob, **executor.run(blob)}
            for name, histogram in histograms.items():
                _count(histogram, name, values.pop(name), paths, len(blob))  # frees it before the next run
            if progress is not None:
                progress(done, len(images))
    finally:
        executor.close()
    return histograms


def _count(histogram: Histogram, name: str, values: NDArray[np.float32], paths: Sequence[Path], batch: int) -> None:
    """Add a tensor's values, those of the images only: a last batch may be filled up with others."""
    if values.shape[:1] == () or values.shape[0] % batch:
        raise CalibrationError(f"'{name}': expected a first axis of images, {batch} at a time, found {values.shape}")
    by_image = values.reshape(batch, -1)[: len(paths)]
    try:
        histogram.add(by_image)
    except ValueError as error:
        bad = next(path for path, own in zip(paths, by_image, strict=True) if not np.isfinite(own).all())
        raise CalibrationError(
            f"'{name}' holds {error} on the image {bad}: such a network cannot be quantised; check it in FP32"
        ) from error


def _batches(images: Sequence[Path], manifest: Manifest) -> Iterator[tuple[int, Sequence[Path], NDArray[np.float32]]]:
    """Give batches of prepared images, (B, 3, H, W), with how many images are done after each.

    B is the least the graph accepts. The last batch is filled up with its last image where it is too short.
    """
    fit, input_hw, batch = TASKS[manifest.task].fit, manifest.profile.opt_hw, manifest.profile.batch.min
    for start in range(0, len(images), batch):
        paths = images[start : start + batch]
        try:
            fitted = [fit(image_from(path), input_hw)[0] for path in paths]
        except Y12Error as error:
            raise CalibrationError(f"cannot calibrate on this image: {error}") from error
        fitted += fitted[-1:] * (batch - len(paths))
        yield start + len(paths), paths, blob_from(fitted)


def _executor(graph: onnx.ModelProto, tensors: Sequence[str]) -> OrtExecutor:
    """Open the graph with these tensors as its only outputs.

    Raises:
        CalibrationError: there is no such tensor, or it is not of float32.
    """
    made = {name for node in graph.graph.node for name in node.output}
    for name in tensors:
        if name not in made:
            raise CalibrationError(f"expected an activation to calibrate, found no '{name}' in the graph")
    shown = onnx.ModelProto()
    shown.CopyFrom(graph)
    if tensors:
        del shown.graph.output[:]
        shown.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors)
    try:
        return OrtExecutor(shown.SerializeToString(), provider="cpu")
    except Y12Error as error:
        raise CalibrationError(f"the graph cannot be run with its activations as outputs: {error}") from error


def _notes(images: Sequence[Path]) -> list[str]:
    if len(images) >= FEW_IMAGES:
        return []
    return [f"calibrated on {len(images)} images only; {FEW_IMAGES} or more make the ranges reliable"]
