"""NVRTC, the compiler of CUDA C++, through cuda-core. It needs neither a GPU nor a driver."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from y12.errors import ExecutorError, MissingPackageError
from y12.runtime.kernels.cache import cache_dir, cached, prebuilt
from y12.text import one_line

__all__ = ["compile_cubin", "cubin_parts", "cuda_core", "nvrtc_cubin", "nvrtc_version"]


def compile_cubin(source: str, sm: int, folder: Path | None = None) -> bytes:
    """Return the code of CUDA C++ for one GPU generation: compiled once, and kept on disk.

    Where $Y12_KERNELS names a folder that `y12.runtime.cli.prebuild` filled, the code is taken from there, which
    needs no NVRTC.

    Args:
        source: without includes.
        sm: compute capability, tens and ones, such as 89.
        folder: to keep the code in; None takes `y12.runtime.kernels.cache.cache_dir()`.

    Raises:
        ExecutorError: NVRTC refused the source, or does not know the GPU generation; or what was compiled
            beforehand is damaged.
        MissingPackageError: cuda-core or NVRTC is not installed.
    """
    parts = cubin_parts(source, sm)
    code = prebuilt(parts)
    if code is not None:
        return code
    return cached((*parts, nvrtc_version()), lambda: nvrtc_cubin(source, sm), folder or cache_dir())


def cubin_parts(source: str, sm: int) -> tuple[str, str]:
    """Return all that the code depends on but NVRTC's version."""
    return source, repr(sorted(_options(sm).items()))


def nvrtc_cubin(source: str, sm: int) -> bytes:
    """Compile CUDA C++ for one GPU generation.

    Products and sums are not contracted (fma), so that FP32 results equal those of the kernels' numpy twins.

    Raises:
        ExecutorError: NVRTC refused the source, or does not know the GPU generation.
        MissingPackageError: cuda-core is not installed.
    """
    core = cuda_core("kernels on the GPU")
    try:
        program = core.Program(source, "c++", core.ProgramOptions(**_options(sm)))
        try:
            return bytes(program.compile("cubin").code)
        finally:
            del program  # held by a traceback, it would be freed by the collector of cycles, where cuda-core fails
    except Exception as error:  # cuda-core has no public parent class for its errors
        raise ExecutorError(
            f"NVRTC could not compile a kernel for SM {sm} ({one_line(str(error).replace(chr(0), ''))}): "
            "expected a GPU generation that the installed nvidia-cuda-nvrtc knows; update it"
        ) from error


def nvrtc_version() -> str:
    """Return NVRTC's version, such as "13.5".

    Raises:
        ExecutorError: it does not tell.
        MissingPackageError: it is not installed.
    """
    try:
        result, major, minor = importlib.import_module("cuda.bindings.nvrtc").nvrtcVersion()
    except Exception as error:  # cuda-bindings or the library it opens is missing; each has an error of its own
        raise MissingPackageError("nvidia-cuda-nvrtc", "gpu", "compiling kernels for the GPU") from error
    if int(result):
        raise ExecutorError(f"expected NVRTC to tell its version, found {result}: install nvidia-cuda-nvrtc again")
    return f"{major}.{minor}"


def cuda_core(needed_for: str) -> ModuleType:
    """Load cuda-core, which imports without a driver.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module("cuda.core")
    except ImportError as error:
        raise MissingPackageError("cuda-core", "gpu", needed_for) from error


def _options(sm: int) -> dict[str, Any]:
    return {"arch": f"sm_{sm}", "std": "c++17", "fma": False}
