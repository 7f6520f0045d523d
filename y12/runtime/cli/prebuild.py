"""Compile every kernel beforehand, so that where it runs NVRTC need not be: a container, or a machine without it.

    python -m y12.runtime.cli.prebuild --sm 75,86,89 --output /opt/y12/kernels
    Y12_KERNELS=/opt/y12/kernels y12-infer model.engine images

The folder holds the code of this version's kernels only: fill it again after an update of y12. It needs no GPU.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from y12.errors import ExecutorError, InputError
from y12.runtime.cli.app import Command, Options, main_of
from y12.runtime.cli.common import put
from y12.runtime.cli.options import Numbers
from y12.runtime.cli.values import reader
from y12.runtime.kernels.cache import keep_prebuilt
from y12.runtime.kernels.nvrtc import cubin_parts, nvrtc_cubin, nvrtc_version
from y12.runtime.kernels.sources import SMS, entry_points, kernel_names, kernel_source

__all__ = ["Built", "main", "prebuild"]

OLDEST_SM = 75  # CUDA 13 compiles for Turing and later
NEWEST_SM = 999
_EVERY = Numbers(SMS)


@dataclass(frozen=True)
class Built:
    """One source that was compiled.

    Attributes:
        name: the source's, such as "letterbox".
        sm: the compute capability it is for, tens and ones.
        path: the file.
    """

    name: str
    sm: int
    path: Path


def prebuild(sms: Sequence[int], folder: Path) -> Iterator[Built]:
    """Compile every kernel for each compute capability (tens and ones) into `folder`, and tell each when it is there.

    Raises:
        ExecutorError: NVRTC refused a kernel, or does not know a compute capability.
        InputError: the folder cannot be written to.
        MissingPackageError: cuda-core or NVRTC is not installed.
    """
    for name in kernel_names():
        source = kernel_source(name)
        for sm in sms:
            code = nvrtc_cubin(source, sm)
            missing = [entry for entry in entry_points(source) if entry.encode() not in code]
            if missing:
                raise ExecutorError(f"{name}.cu for SM {sm}: expected {missing[0]} in the compiled code, found none")
            try:
                path = keep_prebuilt(cubin_parts(source, sm), code, folder)
            except OSError as error:
                raise InputError(f"{folder}: expected a folder to write to, found {error.strerror or error}") from error
            yield Built(name, sm, path)


def compute_capabilities(text: str) -> Numbers:
    """Read --sm: "75,89", each once, in rising order.

    Raises:
        ValueError: it is no such list.
    """
    found = sorted({int(part) for part in text.split(",")})
    if found[0] < OLDEST_SM or found[-1] > NEWEST_SM:
        raise ValueError(text)
    return Numbers(tuple(found))


@dataclass(frozen=True, kw_only=True)
class Prebuild(Options):
    """What can be asked of it."""

    sm: Annotated[
        Numbers,
        typer.Option(
            parser=reader(compute_capabilities, "compute capabilities such as 75,89 (8.9)"),
            metavar="SM,SM",
            show_default=False,
            help=f"compute capabilities, such as 89 for 8.9 (default: {','.join(map(str, SMS))})",
        ),
    ] = _EVERY
    output: Annotated[Path, typer.Option(metavar="DIR", show_default=False, help="where to; made if need be")]

    def run(self) -> int:
        """Compile, and print each file."""
        return _prebuild(self.sm, self.output)


COMMAND = Command(
    "python -m y12.runtime.cli.prebuild",
    "Compile every kernel for some GPU generations into a folder that $Y12_KERNELS names later.",
    Prebuild,
    completion=False,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, compile, give the exit code."""
    return main_of(COMMAND, argv)


def _prebuild(sms: Sequence[int], folder: Path) -> int:
    compiler = f"NVRTC {nvrtc_version()}"  # first: where it is missing, this says so
    total = 0
    for built in prebuild(sms, folder):
        size = built.path.stat().st_size
        total += size
        put(f"{built.name} sm_{built.sm} {size} bytes {built.path.name}")
    put(f"{len(kernel_names()) * len(sms)} files, {total} bytes by {compiler} in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
