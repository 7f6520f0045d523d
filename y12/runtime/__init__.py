"""Run an exported detector, without torch: `Runtime("model.engine").infer(img)`.

What is named here is imported on first use: `import runtime` alone, and a command's --help, do not wait for numpy.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.detections import Detections
    from runtime.errors import ArtefactError, ExecutorError, InputError, MissingPackageError, Y12Error
    from runtime.gpu.pipeline import GpuOptions
    from runtime.options import DetectOptions
    from runtime.session import Runtime

__all__ = [
    "ArtefactError",
    "DetectOptions",
    "Detections",
    "ExecutorError",
    "GpuOptions",
    "InputError",
    "MissingPackageError",
    "Runtime",
    "Y12Error",
]

if not TYPE_CHECKING:  # a type checker takes the imports above, and so still finds a name that does not exist
    _MODULES = {  # the others are errors
        "Detections": "detections",
        "DetectOptions": "options",
        "GpuOptions": "gpu.pipeline",
        "Runtime": "session",
    }

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        globals()[name] = value = getattr(import_module(f"runtime.{_MODULES.get(name, 'errors')}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
