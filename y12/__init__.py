"""Take a trained YOLOv12-family detector to a verified ONNX graph and TensorRT engine, and run it without torch.

What is named here is imported on first use: `import y12` alone, and a command's --help, do not wait for numpy or torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import version

    from y12 import models
    from y12.errors import AddressError, ArtefactError, ExecutorError, InputError, MissingPackageError, Y12Error
    from y12.exporter.export_config import ExportConfig
    from y12.exporter.export_pipeline import export
    from y12.remote.options import FetchOptions
    from y12.runtime.options import DetectOptions, GpuOptions
    from y12.runtime.results.detections import Detections
    from y12.runtime.session import Runtime

    __version__ = version("y12")

__all__ = [
    "AddressError",
    "ArtefactError",
    "DetectOptions",
    "Detections",
    "ExecutorError",
    "ExportConfig",
    "FetchOptions",
    "GpuOptions",
    "InputError",
    "MissingPackageError",
    "Runtime",
    "Y12Error",
    "__version__",
    "export",
    "models",
]

if not TYPE_CHECKING:  # a type checker takes the imports above, and so still finds a name that does not exist
    _MODULES = {  # the others are errors
        "Detections": "runtime.results.detections",
        "DetectOptions": "runtime.options",
        "GpuOptions": "runtime.options",
        "FetchOptions": "remote.options",
        "ExportConfig": "exporter.export_config",
        "Runtime": "runtime.session",
        "export": "exporter.export_pipeline",
    }

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "__version__":
            from importlib.metadata import version

            value: object = version("y12")
        elif name == "models":
            from importlib import import_module

            value = import_module("y12.models")
        else:
            from importlib import import_module

            value = getattr(import_module(f"y12.{_MODULES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
