"""The errors a user of y12 can meet.

Y12Error
├── InputError           an image, option or array that was handed in cannot be used
├── ArtefactError        an .onnx or .engine file (or its manifest) is damaged, foreign or contradicts itself
├── ExecutorError        the artefact is sound, but it cannot be run here, or the vendor's library failed
└── MissingPackageError  an optional package is not installed; the message ends with the pip line

Each message is one line: what was expected, what was found, what to do. The exporter's errors (`y12.exporter.errors`)
are children of Y12Error too, so that `except Y12Error` catches everything a command reports without a traceback.
"""


class Y12Error(Exception):
    """The parent of every error y12 raises on purpose."""


class InputError(Y12Error):
    """An image, option or array that was handed in cannot be used."""


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


def one_line(text: str, limit: int = 300) -> str:
    """Give what another library says on one line of at most `limit` characters."""
    return " ".join(text.split())[:limit]
