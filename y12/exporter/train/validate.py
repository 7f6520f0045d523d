"""Accuracy of a detector that is being trained, by the same code that judges artefacts."""

from pathlib import Path

from y12.exporter.data.dataset import Dataset
from y12.exporter.evaluate.classification import ClassTree
from y12.exporter.evaluate.coco import KIND_NAMES
from y12.exporter.evaluate.evaluate_options import ValOptions
from y12.exporter.evaluate.run import Validation as Measured
from y12.exporter.evaluate.run import validate_opened
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
        bits: how many bits 16-bit images hold; None goes by each file.
    """

    def __init__(self, labels: Dataset | ClassTree, imgsz: int, bits: int | None = None) -> None:
        self._labels, self._imgsz, self._bits = labels, imgsz, bits

    def __call__(self, detector: Detector) -> dict[str, float]:
        """Return COCO's AP50-95 and AP50 of each kind that the labels tell, or top-1 and top-5; 0-1, the leading first.

        Of several kinds the leading figure is their mean AP50-95.

        Raises:
            DatasetError: the labels do not fit the detector.
            Y12Error: an image cannot be used.
        """
        report = self.validated(detector).report
        if report.top1 is not None and report.top5 is not None:
            return {"top1": report.top1, "top5": report.top5}
        figures = {
            f"{KIND_NAMES[one.kind]} {name}": one.values[name] or 0.0
            for one in report.figures
            for name in ("AP", "AP50")
        }
        averages = [value for name, value in figures.items() if name.endswith(" AP")]
        return {"mean AP": sum(averages) / len(averages), **figures} if len(averages) > 1 else figures

    def validated(self, detector: Detector, data: Path = Path(), *, study: bool = False) -> Measured:
        """Return all that measuring tells, as `y12-val` does; `data` is what to call the labels.

        Raises:
            DatasetError: the labels do not fit the detector.
            Y12Error: an image cannot be used.
        """
        manifest = manifest_of(detector, self._imgsz)
        artefact = Artefact(Path(manifest.model), "onnx", manifest, "the network itself")
        with Runtime(artefact, TorchExecutor(detector), bits=self._bits) as runtime:
            return validate_opened(runtime, self._labels, ValOptions(), data, study=study)
