"""The errors a user of y12 can meet.

Y12Error
├── InputError           an image, option or array that was handed in cannot be used
├── AddressError         a model's address cannot be used, or what it leads to cannot be had
├── ArtefactError        an .onnx or .engine file (or its manifest) is damaged, foreign or contradicts itself
├── ExecutorError        the artefact is sound, but it cannot be run here, or the vendor's library failed
├── MissingPackageError  an optional package is not installed; the message ends with the pip line
├── OptionsError          options contradict each other or the model
├── ModelSpecError       a model YAML is wrong: file, row and the nearest known name are in the message
├── CheckpointError      a weights file is truncated, foreign, malicious, or does not fit the model
├── GraphError           a graph pass or the simplifier failed, or changed the result
├── CalibrationError     images to calibrate on, or the ranges found on them, cannot be used
├── BudgetError          INT8 cannot stay within what it may cost
├── EngineBuildError     TensorRT could not build the engine, or built another than was asked for
├── VerificationError    the artefact differs from the model beyond tolerance
│   └── InconclusiveError too few detections to tell
├── DatasetError         labelled data is damaged, contradicts itself or does not fit the model
└── OutputError          the output folder cannot be written

Each message is one line: what was expected, what was found, what to do. `except Y12Error` catches everything that y12
refuses.
"""

from y12.text import MESSAGE, visible


class Y12Error(Exception):
    """The parent of every error y12 raises on purpose; whatever a stranger's file put into it, it can be printed.

    Args:
        message: shown by `y12.text.visible`, as one printable line of bounded length.
    """

    def __init__(self, message: object) -> None:
        super().__init__(visible(message, MESSAGE))


class InputError(Y12Error):
    """An image, option or array that was handed in cannot be used."""


class AddressError(Y12Error):
    """A model's address cannot be used, or what it leads to cannot be had."""


class ArtefactError(Y12Error):
    """An .onnx or .engine file, or its manifest, is damaged, foreign or contradicts itself."""


class ExecutorError(Y12Error):
    """The artefact is sound but cannot be run here, or the vendor's library failed."""


class MissingPackageError(Y12Error):
    """An optional package is not installed.

    Args:
        package: its name on PyPI.
        extra: the extra of y12 that holds it.
        needed_for: the command, option or work that needs it.
    """

    def __init__(self, package: str, extra: str, needed_for: str) -> None:
        from y12.installing import install_command  # reads the installation: only where there is something to say

        super().__init__(
            f"{needed_for} needs the package '{package}' of y12's extra [{extra}], which is not installed: "
            f"{install_command(extra)}"
        )


class OptionsError(Y12Error):
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
