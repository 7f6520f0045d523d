"""Accuracy of a detector that is being trained, by the same code that judges artefacts."""

from pathlib import Path

from y12.exporter.data.classes import class_map
from y12.exporter.data.dataset import Dataset
from y12.exporter.evaluate.classification import ClassTree, top_figures
from y12.exporter.evaluate.coco import KIND_NAMES, evaluate
from y12.exporter.evaluate.evaluate_options import ValOptions
from y12.exporter.evaluate.fit import detect_options, kinds_for
from y12.exporter.evaluate.inference import Inference
from y12.exporter.evaluate.predictions import CocoResults
from y12.exporter.model.detector import Detector
from y12.exporter.verify.backends import TorchExecutor
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.opened import Artefact
from y12.runtime.session import Runtime

__all__ = ["Validation", "manifest_of"]

_BATCH = AxisRange(1, 8, 8)


def manifest_of(detector: Detector, imgsz: int) -> Manifest:
    """Describe a detector as its artefact would be, for square images of `imgsz` pixels."""
    spec = detector.spec
    size = AxisRange(imgsz, imgsz, imgsz)
    return Manifest(
        spec.task,
        detector.names,
        spec.strides,
        InputProfile(_BATCH, size, size),
        model=spec.name,
        kpt_shape=spec.kpt_shape,
        localisation=detector.head.localisation,
    )


class Validation:
    """Measures detectors on labelled images.

    Args:
        labels: the images.
        imgsz: side of the network's input, in pixels.
    """

    def __init__(self, labels: Dataset | ClassTree, imgsz: int) -> None:
        self._labels, self._imgsz = labels, imgsz

    def __call__(self, detector: Detector) -> dict[str, float]:
        """Return COCO's AP50-95 and AP50 of each kind that the labels tell, or top-1 and top-5; 0-1, the leading first.

        Of several kinds the leading figure is their mean AP50-95.

        Raises:
            DatasetError: the labels do not fit the detector.
            Y12Error: an image cannot be used.
        """
        manifest = manifest_of(detector, self._imgsz)
        artefact = Artefact(Path(manifest.model), "onnx", manifest, "the network itself")
        with Runtime(artefact, TorchExecutor(detector)) as runtime:
            if isinstance(self._labels, ClassTree):
                tops = top_figures(self._labels, Inference(runtime, runtime.options))
                return {"top1": tops.top1, "top5": tops.top5}
            return _detected(runtime, self._labels)


def _detected(runtime: Runtime, labels: Dataset) -> dict[str, float]:
    manifest = runtime.manifest
    classes = class_map(manifest.names, labels.categories, str(labels.origin), unused=labels.unused)
    collected = CocoResults(classes, kinds_for(labels, manifest.task, manifest.kpt_shape)[0])
    inference = Inference(runtime, detect_options(ValOptions(), manifest.nms, classes))
    for sample, detections in inference.over(labels.samples):
        collected.keep(sample, detections)
    truth = labels.ground_truth(collected.sizes_hw)
    figures: dict[str, float] = {}
    for kind in collected.kinds_to_evaluate:
        values = evaluate(truth, collected.results, kind).values
        figures |= {f"{KIND_NAMES[kind]} {name}": values[name] or 0.0 for name in ("AP", "AP50")}
    averages = [value for name, value in figures.items() if name.endswith(" AP")]
    return {"mean AP": sum(averages) / len(averages), **figures} if len(averages) > 1 else figures
