"""The models that Triton is to serve, as an artefact's manifest and graph have them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from y12.bundle.triton.config import ModelConfig, Tensor
from y12.bundle.triton.options import TritonOptions
from y12.errors import ArtefactError, OptionsError
from y12.runtime.agreement import check_agreement
from y12.runtime.artefact.graph_refusals import check_graph
from y12.runtime.artefact.manifest import AxisRange
from y12.runtime.artefact.onnx_header import TensorHeader
from y12.runtime.artefact.opened import Artefact, onnx_beside, open_artefact
from y12.runtime.results.tensors import outputs_of

__all__ = ["IMAGES", "Model", "models_of"]

IMAGES = "_images"  # behind the name of the model that takes encoded images
MODEL_PY = "model.py"
_TYPES = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "bfloat16": "TYPE_BF16",
    "float64": "TYPE_FP64",
    "int8": "TYPE_INT8",
    "uint8": "TYPE_UINT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "bool": "TYPE_BOOL",
}
_PROTOCOL = {"FP32": "TYPE_FP32", "INT32": "TYPE_INT32", "BYTES": "TYPE_STRING"}
_RUNNERS = {
    "tensorrt": (("platform", "tensorrt_plan"), "model.plan"),
    "onnxruntime": (("platform", "onnxruntime_onnx"), "model.onnx"),
}
_KINDS = {"auto": "KIND_AUTO", "cpu": "KIND_CPU", "gpu": "KIND_GPU"}


@dataclass(frozen=True)
class Model:
    """One model of a bundle.

    Attributes:
        repository: the model repository that it lies in, by the name of its backend.
        config: what Triton is told of it.
        holds: the artefact's file in it: the network; None where it is to be built (`trtexec`).
    """

    repository: str
    config: ModelConfig
    holds: str | None


def models_of(artefact: Artefact, options: TritonOptions) -> tuple[Model, ...]:
    """Return the models of a bundle.

    Raises:
        ArtefactError: the graph is not what the manifest says, or it is not there.
        OptionsError: a backend that does not load the artefact, or a device that it does not run on.
    """
    wanted = (options.backend,) if options.backend else (_own_backend(artefact), "python")
    _check_engine(artefact, wanted, options)
    return tuple(
        _image_model(artefact, options) if backend == "python" else _network_model(artefact, backend, options)
        for backend in wanted
    )


def _own_backend(artefact: Artefact) -> str:
    return "onnxruntime" if artefact.kind == "onnx" else "tensorrt"


def _check_engine(artefact: Artefact, wanted: Sequence[str], options: TritonOptions) -> None:
    """Refuse an engine that a backend does not load, or that is to run where no engine does."""
    if artefact.kind != "engine":
        _check_alone(artefact.path)
        if options.device == "cpu" and "tensorrt" in wanted:
            raise OptionsError("--device cpu: expected gpu or auto for the backend tensorrt, which runs on GPUs only")
        return
    header, onnx = artefact.plan_header, onnx_beside(artefact.path)
    if "onnxruntime" in wanted:
        raise OptionsError(f"--backend onnxruntime: expected an .onnx, found {artefact.path}; bundle {onnx.name}")
    if "tensorrt" in wanted and header is not None and header.flavour == "rtx":
        raise ArtefactError(
            f"{artefact.path}: expected a plan of full TensorRT, found one of {header.product}, which Triton's "
            f"tensorrt backend does not load; bundle {onnx.name} (with --backend tensorrt, trtexec builds its plan), "
            "or this file with --backend python"
        )
    if options.device == "cpu":
        raise OptionsError(
            f"--device cpu: expected gpu or auto for an engine, found {artefact.path}; bundle {onnx.name}"
        )


def _check_alone(onnx: Path) -> None:
    """Refuse an .onnx that y12 does not run, or whose weights lie in other files, which would not be beside a copy."""
    check_graph(onnx)
    with TemporaryDirectory() as folder:
        alone = Path(folder, onnx.name)
        alone.symlink_to(onnx.resolve())
        try:
            check_graph(alone)
        except ArtefactError as error:
            raise ArtefactError(
                f"{onnx}: expected a network in one file, found weights in others; save it as one with onnx.save"
            ) from error


def _network_model(artefact: Artefact, backend: str, options: TritonOptions) -> Model:
    """Return the network alone: pixels in, its raw outputs out."""
    inputs, outputs = _graph_of(artefact)
    batch = artefact.manifest.profile.batch
    batched = batch.min == 1 and batch.max > 1  # Triton gives one image where no other comes
    runner, file = _RUNNERS[backend]
    labels = outputs[0].name if artefact.manifest.task == "classify" and outputs else None
    config = ModelConfig(
        options.name,
        runner,
        tuple(_tensor(tensor, batch, batched) for tensor in inputs),
        tuple(_tensor(tensor, batch, batched) for tensor in outputs),
        max_batch_size=batch.max if batched else 0,
        preferred=_preferred(batch) if batched else (),
        kind="KIND_GPU" if backend == "tensorrt" else _KINDS[options.device],
        instances=options.instances or 1,
        queue=options.queue,
        max_wait_us=options.max_wait_us if batched else 0,
        file=file,
        labels=labels,
    )
    to_be_built = backend == "tensorrt" and artefact.kind == "onnx"
    return Model(backend, config, None if to_be_built else file)


def _image_model(artefact: Artefact, options: TritonOptions) -> Model:
    """Return the model that takes encoded images: y12's Runtime, which fills up what it needs more of by itself."""
    manifest, file = artefact.manifest, f"model{artefact.path.suffix.lower()}"
    batch = manifest.profile.batch
    config = ModelConfig(
        options.name + IMAGES,
        ("backend", "python"),
        (Tensor("image", "TYPE_STRING", (1,)),),
        tuple(
            Tensor(output.name, _PROTOCOL[output.datatype], output.shape)
            for output in outputs_of(manifest.task, manifest.kpt_shape)
        ),
        max_batch_size=batch.max,
        preferred=_preferred(batch),
        kind="KIND_GPU" if artefact.kind == "engine" else _KINDS[options.device],
        instances=options.instances or 2,
        queue=options.queue,
        max_wait_us=options.max_wait_us,
        file=MODEL_PY,
        parameters={"artefact": file},
    )
    return Model("python", config, file)


def _preferred(batch: AxisRange) -> tuple[int, ...]:
    """Return the sizes of batches that the artefact was made for."""
    return tuple(dict.fromkeys(size for size in (batch.opt, batch.max) if size > 1))


def _graph_of(artefact: Artefact) -> tuple[tuple[TensorHeader, ...], tuple[TensorHeader, ...]]:
    """Return inputs and outputs of the graph; of an engine, of the .onnx beside it that it was built from.

    Raises:
        ArtefactError: that is not there, or another; or the graph is not what its manifest says.
    """
    graph = artefact
    if artefact.kind == "engine":
        beside = onnx_beside(artefact.path)
        if not beside.is_file():
            raise ArtefactError(
                f"{artefact.path}: expected {beside.name} beside it, which says what its inputs and outputs are, found "
                "none; copy it there, or export again"
            )
        graph = open_artefact(beside)
        if replace(graph.manifest, engine={}) != replace(artefact.manifest, engine={}):
            raise ArtefactError(
                f"{artefact.path}: expected the .onnx that it was built from beside it, found that {beside.name} has "
                "another manifest; export again"
            )
    check_agreement(graph, graph.inputs[0].shape)
    return graph.inputs, graph.outputs


def _tensor(tensor: TensorHeader, batch: AxisRange, batched: bool) -> Tensor:
    first = () if batched else (batch.max if batch.is_fixed else -1,)
    dims = first + tuple(-1 if size is None else size for size in tensor.shape[1:])
    return Tensor(tensor.name, _TYPES[tensor.dtype], dims)
