"""Run an exported detector, without torch: `Runtime("model.engine").infer(img)`."""

from runtime.detections import Detections
from runtime.errors import ArtefactError, ExecutorError, InputError, MissingPackageError, Y12Error
from runtime.options import DetectOptions
from runtime.session import Runtime

__all__ = [
    "ArtefactError",
    "DetectOptions",
    "Detections",
    "ExecutorError",
    "InputError",
    "MissingPackageError",
    "Runtime",
    "Y12Error",
]
