"""How accurate and how fast an export is beside FP32, on images that the user names."""

from collections.abc import Callable
from contextlib import ExitStack

import onnx

from y12.exporter.engine.build import BuiltEngine
from y12.exporter.evaluate.evaluation_set import Trial
from y12.exporter.evaluate.graph_results import detections_of
from y12.exporter.evaluate.precisions import Measured, measured
from y12.exporter.evaluate.results import Speed
from y12.exporter.evaluate.speed import speeds_of
from y12.exporter.precision.cast import cast_to_fp16
from y12.exporter.report.pictures import Picture, picture_from
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.backends.tensorrt.executor import TrtExecutor
from y12.runtime.executor import Executor
from y12.runtime.preprocess.images import image_from

__all__ = ["measured_on", "pictures_of", "speeds"]

Advance = Callable[[int, int], None]


def measured_on(
    trial: Trial, simplified: onnx.ModelProto, typed: onnx.ModelProto, manifest: Manifest, advance: Advance | None
) -> Measured:
    """Measure FP32, FP16 and the artefact's precision on the same images, in ONNX Runtime.

    Raises:
        DatasetError: the labels do not fit the model, or there are none and FP32 finds nothing.
        Y12Error: an image cannot be used.
    """
    graphs = {"fp32": simplified}
    if manifest.precision != "fp32":
        graphs["fp16"] = typed if manifest.precision == "fp16" else cast_to_fp16(simplified)[0]
        graphs[manifest.precision] = typed
    return measured(graphs, trial, manifest, advance)


def pictures_of(
    found: Measured, simplified: onnx.ModelProto, typed: onnx.ModelProto, manifest: Manifest
) -> tuple[Picture, ...]:
    """Draw what FP32 and the artefact find in the images on which they differ most."""
    if not found.worst:
        return ()
    paths = list(found.worst.values())
    ours, theirs = (detections_of(graph, manifest, paths) for graph in (simplified, typed))
    return tuple(
        picture_from(image_from(path), name, before, after, f"Agreement {found.accuracy.worst[name]:.3f}.")
        for (name, path), before, after in zip(found.worst.items(), ours, theirs, strict=True)
    )


def speeds(
    simplified: onnx.ModelProto, typed: onnx.ModelProto, built: BuiltEngine | None, manifest: Manifest
) -> tuple[Speed, ...]:
    """Time the engine on the GPU at hand, or where there is no engine the graph beside FP32's in ONNX Runtime.

    Raises:
        Y12Error: one of them failed.
    """
    precision = manifest.precision.upper()
    executors: dict[str, Executor] = {}
    with ExitStack() as stack:
        if built is not None:
            executors[f"{precision} engine"] = TrtExecutor(built.plan)
            stack.callback(executors[f"{precision} engine"].close)
        else:
            for name, graph in {"FP32": simplified, precision: typed}.items():
                executors[f"{name} ONNX"] = OrtExecutor(graph.SerializeToString(), "cpu")
                stack.callback(executors[f"{name} ONNX"].close)
        return speeds_of(executors, manifest.profile)
