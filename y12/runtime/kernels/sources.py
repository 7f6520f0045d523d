"""The kernels' sources, and the GPU generations they are compiled for."""

import functools
import re
from pathlib import Path

from y12.errors import InputError

__all__ = ["SMS", "entry_points", "kernel_names", "kernel_source"]

SMS = (75, 80, 86, 89, 90, 100, 120)  # compute capabilities, tens and ones: Turing to Blackwell
_ENTRY = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\s*\(')
_HEADER = '#include "common.cuh"\n'


def kernel_names() -> tuple[str, ...]:
    """Return the names of the sources, sorted."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.cu")))


@functools.cache
def kernel_source(name: str) -> str:
    """Return the text of NAME.cu with the shared header in place of its include.

    Raises:
        InputError: there is no such source.
    """
    if name not in kernel_names():
        raise InputError(f"kernel: expected one of {', '.join(kernel_names())}, found {name!r}")
    folder = Path(__file__).parent
    source = (folder / f"{name}.cu").read_text()
    assert source.count(_HEADER) == 1, f"{name}.cu includes common.cuh once"
    return source.replace(_HEADER, (folder / "common.cuh").read_text())


def entry_points(source: str) -> tuple[str, ...]:
    """Return the names of the kernels that can be launched from a source, in its order."""
    return tuple(_ENTRY.findall(source))
