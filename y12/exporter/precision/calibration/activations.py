"""What a graph's activations are on calibration images, a batch at a time."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from y12.errors import CalibrationError, Y12Error
from y12.exporter.parallel import in_order
from y12.runtime.artefact.manifest import InputProfile
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import blob_from
from y12.runtime.tasks import fit_for

__all__ = ["Values", "activations"]

Values = dict[str, NDArray[np.float32]]
Taken = TypeVar("Taken")


def activations(
    graph: onnx.ModelProto,
    tensors: Sequence[str],
    images: Sequence[Path],
    task: str,
    profile: InputProfile,
    take: Callable[[Sequence[Path], Values], Taken],
    bits: int | None = None,
    *,
    threads: int = 1,
    integers: bool = True,
) -> Iterator[tuple[int, Taken]]:
    """Yield, batch after batch, how many images are done, and what `take` gives of the batch.

    Each tensor's first axis is one of images, or a multiple of them; a batch that was filled up is cut to its images.

    Args:
        graph: an FP32 graph, or a quantised one.
        tensors: names of float32 activations in it; its input is one too.
        images: files; each is prepared exactly as the runtime does it for the task and the size.
        task: of the network.
        profile: the graph's input shapes.
        take: is called with a batch's images and the tensors' values on them, in the thread that ran the batch.
        bits: how many bits 16-bit images hold; None goes by each file.
        threads: how many batches are run at a time, each in one thread, and held in memory; 1 runs one in all threads.
        integers: as of `OrtExecutor`.

    Raises:
        CalibrationError: there are no images, a tensor is unknown or not float32, or an image cannot be used.
        Y12Error: ONNX Runtime failed.
    """
    if not images:
        raise CalibrationError("expected images to calibrate on, found none")
    input_name = graph.graph.input[0].name
    executor = _executor(graph, [name for name in tensors if name != input_name], 0 if threads == 1 else 1, integers)
    batch = profile.batch.min  # the least the graph accepts

    def run(start: int) -> tuple[int, Taken]:
        paths = images[start : start + batch]
        blob = _blob(paths, task, profile, bits)
        # no name here for the values: who takes them may free them
        taken = take(paths, _of_images({input_name: blob, **executor.run(blob)}, tensors, len(paths)))
        return start + len(paths), taken

    try:
        yield from in_order(run, range(0, len(images), batch), threads)
    finally:
        executor.close()


def _of_images(values: Values, tensors: Sequence[str], images: int) -> Values:
    """Return the values of the images only: a last batch may be filled up with others."""
    input_name, *_ = values
    batch = len(values[input_name])
    for name in tensors:
        shape = values[name].shape
        if not shape or shape[0] % batch:
            raise CalibrationError(f"'{name}': expected a first axis of images, {batch} at a time, found {shape}")
    return {name: values[name][: values[name].shape[0] // batch * images] for name in tensors}


def _blob(paths: Sequence[Path], task: str, profile: InputProfile, bits: int | None) -> NDArray[np.float32]:
    """Return prepared images, (B, 3, H, W); B is the least the graph accepts: the last image fills it up."""
    fit = fit_for(task)
    try:
        fitted = [fit(image_from(path, bits), profile.opt_hw)[0] for path in paths]
    except Y12Error as error:
        raise CalibrationError(f"cannot calibrate on this image: {error}") from error
    return blob_from(fitted + fitted[-1:] * (profile.batch.min - len(paths)))


def _executor(graph: onnx.ModelProto, tensors: Sequence[str], threads: int, integers: bool) -> OrtExecutor:
    """Open the graph with these tensors as its only outputs.

    Raises:
        CalibrationError: there is no such tensor, or it is not of float32.
    """
    computed = {name for node in graph.graph.node for name in node.output}
    for name in tensors:
        if name not in computed:
            raise CalibrationError(f"expected an activation to calibrate, found no '{name}' in the graph")
    shown = onnx.ModelProto()
    shown.CopyFrom(graph)
    if tensors:
        del shown.graph.output[:]
        shown.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors)
    try:
        return OrtExecutor(shown.SerializeToString(), provider="cpu", threads=threads, integers=integers)
    except Y12Error as error:
        raise CalibrationError(f"the graph cannot be run with its activations as outputs: {error}") from error
