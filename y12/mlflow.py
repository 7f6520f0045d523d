"""A model of MLflow's `pyfunc` flavour: an artefact that `mlflow.pyfunc.load_model` and `mlflow models serve` run.

    import y12.mlflow

    y12.mlflow.save_model("best.onnx", "model")                         # or log_model("best.onnx", name="detector")
    mlflow.pyfunc.load_model("model").predict(pd.DataFrame({"image": [open("photo.jpg", "rb").read()]}))

A row is an image as a file's bytes (over HTTP, base64); the answer is a list an image, of y12's records. `params` are
`conf`, `iou`, `max_det` and `classes` by name; left out, they are the artefact's own. It needs mlflow-skinny of y12's
extra [mlflow], pandas, and the extra that runs the artefact.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from y12.errors import InputError, MissingPackageError, Y12Error
from y12.installing import requirements_of
from y12.runtime.preprocess.images import image_from_bytes
from y12.runtime.session import Runtime

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

__all__ = ["log_model", "save_model"]

COLUMN = "image"
_EXTRAS = {"onnx": ("ort",), "full": ("tensorrt", "gpu"), "rtx": ("rtx", "gpu")}


def save_model(artefact: str | Path, path: str | Path, **more: Any) -> None:
    """Write a model of MLflow's to a folder.

    Args:
        artefact: an .onnx or .engine that carries its manifest.
        path: the folder, which must be empty or absent.
        more: further arguments of `mlflow.pyfunc.save_model`, such as `code_paths` or `pip_requirements`.

    Raises:
        ArtefactError: the artefact is damaged, or says nothing of what it is.
        MissingPackageError: MLflow is not installed.
        Y12Error: pandas is not.
    """
    _pyfunc().save_model(str(path), **_model_of(artefact) | more)


def log_model(artefact: str | Path, name: str = "model", **more: Any) -> Any:
    """Log it to the run that is under way, by `mlflow.pyfunc.log_model`, and give what that gives.

    Raises:
        ArtefactError: as `save_model`.
        MissingPackageError: MLflow is not installed.
    """
    return _pyfunc().log_model(name=name, **_model_of(artefact) | more)


def _pyfunc() -> Any:
    try:
        import mlflow.pyfunc
    except ImportError as error:
        if error.name == "pandas":  # which mlflow-skinny leaves out
            raise Y12Error("y12.mlflow: expected the package pandas, found none: pip install pandas") from error
        raise MissingPackageError("mlflow-skinny", "mlflow", "y12.mlflow") from error
    return mlflow.pyfunc


def _model_of(path: str | Path) -> dict[str, Any]:
    """Return what MLflow is told of an artefact."""
    from y12 import __version__
    from y12.runtime.artefact.opened import open_artefact
    from y12.runtime.tasks import default_options

    artefact = open_artefact(path)
    kind = artefact.plan_header.flavour if artefact.plan_header else "onnx"
    manifest = artefact.manifest
    return {
        "loader_module": "y12.mlflow",
        "data_path": str(path),
        "pip_requirements": [f"y12=={__version__}", "mlflow-skinny", "pandas", *requirements_of(*_EXTRAS[kind])],
        "signature": _signature(default_options(manifest)),
        "metadata": {"task": manifest.task, "names": list(manifest.names), "precision": manifest.precision},
    }


def _signature(options: Any) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    params = [
        ParamSpec("conf", DataType.double, options.conf),
        ParamSpec("iou", DataType.double, options.iou),
        ParamSpec("max_det", DataType.long, options.max_det),
        ParamSpec("classes", DataType.string, [], shape=(-1,)),
    ]
    return ModelSignature(inputs=Schema([ColSpec(DataType.binary, COLUMN)]), params=ParamSchema(params))


class _Model:
    """What MLflow calls.

    Args:
        runtime: of the artefact.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def predict(self, images: Any, params: dict[str, Any] | None = None) -> list[list[dict[str, Any]]]:
        """Return the records of each image.

        Raises:
            InputError: there is no column of images, one cannot be read, or an option is none.
        """
        if COLUMN not in images:
            raise InputError(f"expected a column {COLUMN}, found {', '.join(map(str, images))}")
        options = {name: value for name, value in (params or {}).items() if name != "classes" or len(value)}
        pictures = [image_from_bytes(content, f"row {i}") for i, content in enumerate(images[COLUMN])]
        return [found.as_records() for found in self._runtime.infer_batch(pictures, **options)]


def _load_pyfunc(path: str) -> _Model:
    """Open what `save_model` wrote; MLflow calls it by this name."""
    return _Model(Runtime(path))
