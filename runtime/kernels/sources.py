"""The kernels' sources, and the GPU generations they are compiled for."""

import functools
from pathlib import Path

from runtime.errors import InputError

__all__ = ["SMS", "kernel_names", "kernel_source"]

SMS = (75, 80, 86, 89, 90, 100, 120)  # compute capabilities, tens and ones: Turing to Blackwell
_HEADER = '#include "common.cuh"\n'


def kernel_names() -> tuple[str, ...]:
    """Give the names of the sources, sorted."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.cu")))


@functools.cache
def kernel_source(name: str) -> str:
    """Give the text of NAME.cu with the shared header in place of its include.

    Raises:
        InputError: there is no such source.
    """
    if name not in kernel_names():
        raise InputError(f"kernel: expected one of {', '.join(kernel_names())}, found {name!r}")
    folder = Path(__file__).parent
    source = (folder / f"{name}.cu").read_text()
    assert source.count(_HEADER) == 1, f"{name}.cu includes common.cuh once"
    return source.replace(_HEADER, (folder / "common.cuh").read_text())
