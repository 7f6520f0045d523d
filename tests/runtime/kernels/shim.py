"""Run a kernel's source without a GPU: compiled as host C++ behind shim.h, called with numpy arrays.

    kernels = compiled("letterbox")
    kernels["letterbox_f32"](grid, block, images, np.int32(4), out, order=1)

An array goes by pointer and is written in place; a scalar or a structured `np.void` goes by value and must have the
size the kernel wants. Each array lies between guard bytes, which must be as they were when the kernel is done. An int
is an address in this process, of memory that has no guards; 0 is the null pointer.
"""

import ctypes
import functools
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from y12.runtime.kernels.sources import entry_points, kernel_source

__all__ = ["ORDERS", "Kernel", "compiled", "compiled_source"]

ORDERS = (0, 1, 7)  # of threads and blocks: first to last, last to first, shuffled
FLAGS = (
    "-std=c++20",
    "-O1",
    "-shared",
    "-fPIC",
    "-ffp-contract=off",
    "-fsanitize=alignment",
    "-fsanitize-undefined-trap-on-error",  # a vector that is not aligned is an error on a GPU, not on x86
    "-Wall",
    "-Wno-unknown-pragmas",
    "-Wno-unused-but-set-variable",
    "-Werror",
)
KEPT = Path(__file__).resolve().parents[3] / ".pytest_cache" / "y12-kernels"
GUARD = 256  # bytes on either side of an array
POISON = 0xFF  # read as a float, NaN; as an integer, -1


class Kernel:
    """One kernel of a compiled source."""

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self.name = name
        self._launch = getattr(library, f"shim_{name}")
        self._launch.restype = ctypes.c_char_p

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], *arguments, order: int = 0) -> None:
        """Run the grid to its end.

        Raises:
            RuntimeError: an argument has the wrong size, a barrier is never reached by all, or a guard was written.
        """
        geometry = (ctypes.c_uint * 6)(*_three(grid), *_three(block))
        guarded = [_guarded(value) if isinstance(value, np.ndarray) else None for value in arguments]
        values = [
            np.asarray(value) if buffer is None else np.array(buffer.ctypes.data + GUARD, np.uint64)
            for value, buffer in zip(arguments, guarded, strict=True)
        ]
        pointers = (ctypes.c_void_p * len(values))(*[value.ctypes.data for value in values])
        sizes = (ctypes.c_uint * len(values))(*[value.nbytes for value in values])
        fault = self._launch(geometry, ctypes.c_uint(order), pointers, sizes, ctypes.c_uint(len(values)))
        if fault is not None:
            raise RuntimeError(f"{self.name}: {fault.decode()}")
        for index, (value, buffer) in enumerate(zip(arguments, guarded, strict=True)):
            if buffer is not None:
                self._take_back(index, value, buffer)

    def _take_back(self, index: int, array: np.ndarray, buffer: np.ndarray) -> None:
        end = GUARD + array.nbytes
        if (buffer[:GUARD] != POISON).any() or (buffer[end : end + GUARD] != POISON).any():
            raise RuntimeError(f"{self.name}: argument {index} was written outside its bounds")
        result = buffer[GUARD:end]
        if array.flags.writeable:
            array.reshape(-1).view(np.uint8)[:] = result
        elif result.tobytes() != array.tobytes():
            raise RuntimeError(f"{self.name}: argument {index} is read-only and was written")


def compiled(name: str) -> Mapping[str, Kernel]:
    """Return the kernels of runtime/kernels/NAME.cu by name; skips the test where there is no g++."""
    return compiled_source(kernel_source(name))


@functools.cache
def compiled_source(source: str) -> Mapping[str, Kernel]:
    """Return the kernels of a source by name, each declared `extern "C" __global__ void NAME(...)`."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ on the PATH: a kernel's source is checked by running it as host C++")
    names = entry_points(source)
    if not names:
        raise RuntimeError('no kernel found: expected extern "C" __global__ void NAME(...)')
    code = source + "".join(map(_entry_point, names))
    library = ctypes.CDLL(str(_built(compiler, code)))
    return {name: Kernel(library, name) for name in names}


def _built(compiler: str, code: str) -> Path:
    """Return the library that `code` is compiled to; kept among pytest's own files, as compiling takes seconds."""
    headers = sorted(Path(__file__).parent.glob("*.h"))
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    parts = (code, version, FLAGS, [path.read_text() for path in headers])
    place = KEPT / f"{hashlib.sha256(repr(parts).encode()).hexdigest()}.so"
    if place.is_file():
        return place
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        written, library = Path(folder, "kernel.cpp"), Path(folder, "kernel.so")
        written.write_text(code)
        header = Path(__file__).with_name("shim.h")
        command = [compiler, *FLAGS, "-include", str(header), str(written), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[:3000])
        library.replace(place)  # at once, so that no other worker loads half of it
    return place


def _entry_point(name: str) -> str:
    return f"""
extern "C" const char *shim_{name}(const unsigned *geometry, unsigned order, void **values, const unsigned *sizes,
                                   unsigned count) {{
    return shim::launch({name}, geometry, order, values, sizes, count);
}}
"""


def _three(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return (*sizes, 1, 1)[:3]


def _guarded(array: np.ndarray) -> np.ndarray:
    """Return the bytes of an array with GUARD poisoned bytes on either side; the array itself is 256-byte aligned."""
    if not array.flags.c_contiguous:
        raise RuntimeError("expected a C-contiguous array, as its bytes are what the kernel sees")
    room = np.full(array.nbytes + 3 * GUARD, POISON, np.uint8)
    start = -room.ctypes.data % GUARD
    buffer = room[start : start + array.nbytes + 2 * GUARD]
    buffer[GUARD : GUARD + array.nbytes] = array.reshape(-1).view(np.uint8)
    return buffer
