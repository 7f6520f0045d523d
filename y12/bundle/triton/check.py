"""An existing model repository, held against the artefact that it is to serve.

protobuf's text format finds misspelt fields and types, and the server some contradictions; neither knows the graph, and
nothing but the manifest knows how many images it takes at a time.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from y12.bundle.triton.config import CONFIG, ModelConfig, Tensor
from y12.bundle.triton.models import MODEL_PY, models_of
from y12.bundle.triton.options import BACKENDS, TritonOptions
from y12.errors import InputError, Y12Error
from y12.files import check_file, file_sha256
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.opened import Artefact
from y12.text import one_line, shown

__all__ = ["NOTE", "configs_in", "problems_of"]

NOTE = "note: "  # before what is no mistake, and may matter
MAX_CONFIG_BYTES = 4 << 20
_PLATFORMS = {"tensorrt_plan": "tensorrt", "onnxruntime_onnx": "onnxruntime"}
_FILES = {"tensorrt": "model.plan", "onnxruntime": "model.onnx", "python": MODEL_PY}
_KINDS = ("KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL")


def configs_in(folder: Path) -> list[Path]:
    """Return the configurations of the models in a bundle, in a model repository, or of one model.

    Raises:
        InputError: there is none.
    """
    if not folder.is_dir():
        raise InputError(f"--check: expected a folder with a model repository, found none at '{folder}'")
    for depth in ("", "*/", "*/*/"):
        if found := sorted(folder.glob(f"{depth}{CONFIG}")):
            return found
    raise InputError(
        f"--check: expected {CONFIG} in '{folder}', or one or two folders below it, found none; y12-bundle triton "
        "ARTEFACT --output DIR writes them"
    )


def problems_of(config: Path, artefact: Artefact) -> Iterator[str]:
    """Yield what is wrong with a model, each in words: text, contradictions, then what is not the graph's.

    What begins with `NOTE` is no mistake.

    Raises:
        InputError: the configuration is no plain file.
        ArtefactError: the artefact is not what its manifest says.
    """
    try:
        said = _parsed(config)
    except ValueError as error:
        yield one_line(str(error))
        return
    backend = _backend_of(said)
    if backend is None:
        yield (
            f"platform and backend: expected one of {', '.join((*_PLATFORMS, *BACKENDS))}, found "
            f"{shown(said.platform)} and {shown(said.backend)}"
        )
        return
    try:
        (model,) = models_of(artefact, TritonOptions("any", backend))
    except Y12Error as error:
        yield str(error)
        return
    yield from _own_problems(said, config, artefact, backend)
    yield from _batch_problems(said, model.config, artefact.manifest)
    for kind, found, right in (
        ("input", said.input, model.config.inputs),
        ("output", said.output, model.config.outputs),
    ):
        yield from _tensor_problems(kind, found, right, _batched_differently(said, model.config))
    yield from _file_problems(said, config, artefact, backend)


def _parsed(config: Path) -> Any:
    """Return a configuration as Triton's own message.

    Raises:
        ValueError: it is no text of one; where and why is said.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    check_file(config, "a model's configuration", MAX_CONFIG_BYTES)
    try:
        text = config.read_text(encoding="utf-8")
        return text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise ValueError(f"expected a model's configuration in protobuf's text format, found at {error}") from error


def _backend_of(said: Any) -> str | None:
    """Return what is to run a model; None where platform and backend are none of those that y12 writes for."""
    of_platform = _PLATFORMS.get(said.platform)
    if said.platform and of_platform is None:
        return None
    if of_platform and said.backend not in ("", of_platform):
        return None
    found = of_platform or said.backend
    return found if found in BACKENDS else None


def _own_problems(said: Any, config: Path, artefact: Artefact, backend: str) -> Iterator[str]:
    """Yield what no graph is needed for."""
    if said.name and said.name != config.parent.name:
        yield f"name: expected that of its folder, {shown(config.parent.name)}, found {shown(said.name)}"
    runs_on_gpu = backend == "tensorrt" or artefact.kind == "engine"
    for group in said.instance_group:
        kind = _KINDS[group.kind] if group.kind < len(_KINDS) else str(group.kind)
        if kind == "KIND_MODEL" or (kind == "KIND_CPU" and runs_on_gpu):
            other = "KIND_GPU" if runs_on_gpu else "KIND_AUTO, KIND_CPU or KIND_GPU"
            yield f"instance_group: expected {other} for {backend}, found {kind}"
        if kind == "KIND_GPU" and not _gpus_here():
            yield f"{NOTE}instance_group: Triton refuses KIND_GPU where there is no GPU, as on this machine"
        if group.count < 0:
            yield f"instance_group: expected a count of 1 or more, found {group.count}"


def _gpus_here() -> tuple[str, ...]:
    from y12.runtime.gpu.cuda import gpu_names

    return gpu_names()


def _batch_problems(said: Any, right: ModelConfig, manifest: Manifest) -> Iterator[str]:
    most, found, axis = right.max_batch_size, said.max_batch_size, manifest.profile.batch
    takes = f"the artefact takes {axis.min} to {axis.max} images at a time"
    if found < 0 or found > most or (found == 0) != (most == 0):
        expected = f"1 to {most}" if most else "0, with the batch as the first of dims"
        yield f"max_batch_size: expected {expected}, as {takes}, found {found}"
    for size in said.dynamic_batching.preferred_batch_size:
        if not 0 < size <= max(found, 0):
            yield f"preferred_batch_size: expected 1 to max_batch_size, which is {found}, found {size}"


def _batched_differently(said: Any, right: ModelConfig) -> bool:
    return bool(said.max_batch_size) != bool(right.max_batch_size)


def _tensor_problems(kind: str, found: Sequence[Any], right: Sequence[Tensor], other_batch: bool) -> Iterator[str]:
    """Yield how inputs or outputs differ; outputs may be left out, inputs may not."""
    by_name = {tensor.name: tensor for tensor in right}
    names = [tensor.name for tensor in found]
    for missing in [name for name in by_name if name not in names][: None if kind == "input" or not names else 0]:
        yield f"{kind}: expected {shown(missing)}, found {shown(names)}"
    for tensor in found:
        own = by_name.get(tensor.name)
        if own is None:
            yield f"{kind}: expected {', '.join(map(shown, by_name))}, found {shown(tensor.name)}"
            continue
        data_type = (
            type(tensor).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[tensor.data_type].name
        )
        if data_type != own.data_type:
            yield f"{kind} {shown(own.name)}: expected {own.data_type}, found {data_type}"
        if not other_batch and tuple(tensor.dims) != own.dims and not _is_narrower(tensor.dims, own.dims):
            yield f"{kind} {shown(own.name)}: expected dims {list(own.dims)}, found {list(tensor.dims)}"


def _is_narrower(found: Sequence[int], right: Sequence[int]) -> bool:
    """Return whether dims fix what the graph leaves free, and are the graph's otherwise."""
    return len(found) == len(right) and all(
        size == own or (own == -1 and size > 0) for size, own in zip(found, right, strict=True)
    )


def _file_problems(said: Any, config: Path, artefact: Artefact, backend: str) -> Iterator[str]:
    """Yield what is wrong with the files of each version."""
    versions = sorted((path for path in config.parent.iterdir() if path.is_dir() and path.name.isdecimal()), key=str)
    if not versions:
        yield "expected a folder for each version, such as 1, found none"
    name = said.default_model_filename or _FILES[backend]
    network = said.parameters["artefact"].string_value if backend == "python" else name
    if not network:
        yield "parameters: expected artefact, the network's file, for model.py, found none"
        return
    for version in versions:
        for file in dict.fromkeys((name, network)):
            if not (version / file).is_file():
                yield f"{version.name}/{file}: expected a file, found none" + (
                    "; README.md has the command of trtexec" if backend == "tensorrt" else ""
                )
            elif file == network:
                yield from _network_problems(version / file, artefact)


def _network_problems(file: Path, artefact: Artefact) -> Iterator[str]:
    """Yield whether a network is another than the artefact; of a plan that trtexec built of it, what can be told."""
    from y12.runtime.artefact.plan import plan_problem, read_plan_header

    if artefact.kind == "onnx" and file.suffix in (".plan", ".engine"):
        with file.open("rb") as stream:
            head = stream.read(64)
        header = read_plan_header(head)
        if header is None:
            yield f"{file.name}: {plan_problem(head)}"
        elif header.flavour == "rtx":
            yield f"{file.name}: expected a plan of full TensorRT, found one of {header.product}"
        return
    wanted = {artefact.sha256(), hashlib.sha256(artefact.read_model()).hexdigest() if artefact.plan_offset else ""}
    if file_sha256(file) not in wanted:
        yield f"{file.parent.name}/{file.name}: expected the bytes of {artefact.path.name}, found another network"
