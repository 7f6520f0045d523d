"""Whether this machine can run engines: for a container's health check, and for whoever sets one up.

    python -m y12.runtime.cli.health [ENGINE]

Checks, in this order, that there is a driver and a GPU, that every kernel of the runtime can be loaded on it, and of an
engine (ENGINE or $Y12_ENGINE) that it can be loaded and gives finite numbers on a gray image. Prints one line; exit
code 0 is healthy, 1 is not. Loading an engine takes as much GPU memory again as the program that serves it.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from y12.errors import ExecutorError
from y12.runtime.cli.app import Command, Options, main_of
from y12.runtime.cli.common import put

if TYPE_CHECKING:
    from y12.runtime.gpu.device import Device

__all__ = ["ENGINE_VARIABLE", "check_artefact", "check_gpu", "check_kernels", "main"]

ENGINE_VARIABLE = "Y12_ENGINE"
GRAY = 114
IMAGE_HW = (480, 640)


@dataclass(frozen=True, kw_only=True)
class Health(Options):
    """What can be asked of the health check."""

    engine: Annotated[
        str | None, typer.Argument(metavar="[ENGINE]", help=f"an engine that must run too; default: ${ENGINE_VARIABLE}")
    ] = None

    def run(self) -> int:
        """Check, and say in one line that all is well."""
        engine = self.engine or os.environ.get(ENGINE_VARIABLE) or None
        healthy = check_gpu()
        if engine is not None:
            healthy += f"; {check_artefact(engine)}"
        put(f"healthy: {healthy}")
        return 0


COMMAND = Command(
    "python -m y12.runtime.cli.health",
    "Say in one line whether this machine can run y12's engines; exit code 0 if so, else 1.",
    Health,
    completion=False,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, check, give the exit code."""
    return main_of(COMMAND, argv)


def check_gpu() -> str:
    """Find a GPU, load every kernel on it, and say which GPU it is and how many kernels there are.

    Raises:
        ExecutorError: there is no driver or no GPU, or a kernel cannot be loaded.
        MissingPackageError: cuda-core is not installed; or a kernel has to be compiled, and NVRTC is not.
    """
    from y12.runtime.gpu.cuda import Gpu

    with closing(Gpu()) as device:
        return f"{device.description}, {check_kernels(device)} kernels"


def check_kernels(device: "Device") -> int:
    """Load every kernel of the runtime on a device, and give how many there are.

    Raises:
        ExecutorError: one cannot be loaded.
        MissingPackageError: one has to be compiled, and NVRTC is not installed.
    """
    from y12.runtime.kernels.sources import entry_points, kernel_names, kernel_source

    entries = [(name, entry) for name in kernel_names() for entry in entry_points(kernel_source(name))]
    for name, entry in entries:
        device.kernel(name, entry)
    return len(entries)


def check_artefact(path: str | Path) -> str:
    """Run an artefact on a gray image, and say what ran it.

    Raises:
        ArtefactError: the file is damaged or foreign.
        ExecutorError: it cannot be run on this machine, or gave NaN or infinity.
        MissingPackageError: what runs it is not installed.
    """
    import numpy as np

    from y12.runtime.session import Runtime

    with Runtime(path) as runtime:
        found = runtime.infer(np.full((*IMAGE_HW, 3), GRAY, np.uint8))
        if not (np.isfinite(found.xyxy).all() and np.isfinite(found.confidence).all()):
            raise ExecutorError(
                f"{path}: expected finite detections on a gray image, found NaN or infinity: export again"
            )
        return f"{path} on {runtime.description}"


if __name__ == "__main__":
    sys.exit(main())
