"""The exporter's errors; each is one line: what was expected, what was found, what to do.

runtime.Y12Error
├── RecipeError            options contradict each other or the model
├── ModelSpecError         a model YAML is wrong: file, row and the nearest known name are in the message
├── CheckpointError        a weights file is truncated, foreign, malicious, or does not fit the model
├── GraphError             a graph pass or the simplifier failed, or changed the result
├── CalibrationError       images to calibrate on, or the ranges found on them, cannot be used
├── BudgetError            INT8 cannot stay within what it may cost
├── EngineBuildError       TensorRT could not build the engine, or built another than was asked for
├── VerificationError      the artefact differs from the model beyond tolerance
│   └── InconclusiveError  too few detections to tell
├── DatasetError           labelled data is damaged, contradicts itself or does not fit the model
└── OutputError            the output folder cannot be written
"""

from y12.errors import Y12Error


class RecipeError(Y12Error):
    """Options contradict each other or the model."""


class ModelSpecError(Y12Error):
    """A model YAML is wrong."""


class CheckpointError(Y12Error):
    """A weights file is truncated, foreign, malicious, or does not fit the model."""


class GraphError(Y12Error):
    """A graph pass or the simplifier failed, or changed the result."""


class CalibrationError(Y12Error):
    """Images to calibrate on, or the ranges found on them, cannot be used."""


class BudgetError(Y12Error):
    """INT8 cannot stay within what it may cost: FP16 is the better choice."""


class EngineBuildError(Y12Error):
    """TensorRT could not build the engine, or built another than was asked for."""


class VerificationError(Y12Error):
    """The artefact differs from the model beyond tolerance."""


class InconclusiveError(VerificationError):
    """Too few detections to tell whether the artefact equals the model."""


class DatasetError(Y12Error):
    """Labelled data is damaged, contradicts itself or does not fit the model."""


class OutputError(Y12Error):
    """The output folder cannot be written."""
