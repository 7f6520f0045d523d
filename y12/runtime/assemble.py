"""What runs an artefact's network, on what size of input, and what is put around it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from y12.errors import ArtefactError, ExecutorError, InputError, MissingPackageError
from y12.runtime.agreement import check_agreement
from y12.runtime.artefact.graph_refusals import check_graph
from y12.runtime.artefact.manifest import InputProfile, Manifest
from y12.runtime.artefact.opened import Artefact, onnx_beside
from y12.runtime.artefact.output_layout import output_layout
from y12.runtime.executor import Executor
from y12.runtime.options import GpuOptions
from y12.runtime.pipeline import HostPipeline, Pipeline
from y12.runtime.preprocess.images import Reading
from y12.runtime.preprocess.input_size import InputSize
from y12.runtime.tasks import task_for

if TYPE_CHECKING:
    from y12.runtime.gpu.device import DeviceNetwork

__all__ = ["backend_for", "input_size_of", "pipeline_for", "reading_for", "reduced_on_gpu"]


def backend_for(
    artefact: Artefact, provider: str, gpu: GpuOptions, throughput: bool = False
) -> "Executor | DeviceNetwork":
    """Open what runs an artefact: ONNX Runtime or TensorRT.

    Args:
        artefact: what is to be run.
        provider: for an .onnx: "auto", "cpu" or "cuda"; an engine runs on the GPU only.
        gpu: for an engine, which GPU.
        throughput: for an .onnx on the CPU, several images at a time.

    Raises:
        ArtefactError: the file is damaged.
        ExecutorError: it cannot be run on this machine.
        InputError: `provider` is unknown, or not one of an engine's.
    """
    return _BACKENDS[artefact.kind](artefact, provider, gpu, throughput)


def pipeline_for(
    backend: "Executor | DeviceNetwork",
    manifest: Manifest,
    input_size: InputSize,
    gpu: GpuOptions,
    reading: Reading,
) -> Pipeline:
    """Put what belongs before and after the network around it, where the network's tensors are.

    Raises:
        ExecutorError: the GPU gives no stream or no memory.
        InputError: images are to be reduced for a GPU.
    """
    if isinstance(backend, Executor):
        return HostPipeline(backend, task_for(manifest), manifest.profile.batch.min, input_size, reading)
    if reading.scale_of is not None:
        backend.close()
        raise reduced_on_gpu()
    from y12.runtime.gpu.pipeline import GpuPipeline  # an .onnx needs none of it

    return GpuPipeline(backend, task_for(manifest), manifest.profile.batch, input_size, gpu, reading.bits)


def reading_for(task: str, input_size: InputSize, bits: int | None, reduced: bool) -> Reading:
    """Return how images are read for a network of a task; `reduced`, no larger than its input needs them."""
    if not reduced:
        return Reading(bits)
    height, width = input_size.full_hw
    deciding = max if task == "classify" else min  # a centre crop covers the input, any other image lies in it
    return Reading(bits, lambda image_hw: deciding(height / image_hw[0], width / image_hw[1]))


def reduced_on_gpu() -> InputError:
    """Return the refusal to reduce what a GPU makes fit."""
    return InputError(
        "reduced_decode: expected an .onnx or a classifier, whose images are made to fit on the processor, found an "
        "engine, whose images are on a GPU by then: leave it out"
    )


def input_size_of(manifest: Manifest, imgsz: int | tuple[int, int] | None, rect: bool) -> InputSize:
    """Return the size of the network's input: what is asked for, else what it was made for; or less, with `rect`.

    Raises:
        InputError: the network cannot take it, or nothing less.
    """
    profile, stride = manifest.profile, manifest.max_stride
    full_hw = _input_hw(profile, stride, imgsz)
    if not rect:
        return InputSize(full_hw)
    if manifest.task == "classify":
        raise InputError("rect: expected a model that finds objects, found a classifier: leave it out")
    least_hw = tuple(min(-(-axis.min // stride) * stride, axis.max) for axis in (profile.height, profile.width))
    height, width = full_hw
    if profile.height.is_fixed and profile.width.is_fixed:
        raise InputError(
            f"rect: expected an artefact whose height or width is free, found {height}x{width} fixed in it: leave it "
            "out, or export the model with --dynamic"
        )
    if least_hw == full_hw:
        raise InputError(
            f"rect: expected an artefact that takes less than {height}x{width}, found one that does not: leave it out, "
            "choose a larger imgsz, or export the model for smaller sizes"
        )
    if height % stride or width % stride:
        raise InputError(f"rect: expected imgsz in multiples of {stride}, found {height}x{width}: choose one")
    return InputSize(full_hw, (least_hw[0], least_hw[1]), stride)


def _input_hw(profile: InputProfile, stride: int, imgsz: int | tuple[int, int] | None) -> tuple[int, int]:
    """Return the size of the network's input: what is asked for, else what it was made for.

    Raises:
        InputError: the network cannot take it.
    """
    if imgsz is None:
        return profile.opt_hw
    height, width = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    for name, size, axis in (("height", height, profile.height), ("width", width, profile.width)):
        if not axis.min <= size <= axis.max or size % stride:
            wanted = str(axis.min) if axis.is_fixed else f"a multiple of {stride} from {axis.min} to {axis.max}"
            raise InputError(f"imgsz: expected a {name} of {wanted}, as the artefact was exported for, found {size}")
    return height, width


def _onnx_backend(artefact: Artefact, provider: str, gpu: GpuOptions, throughput: bool) -> Executor:
    from y12.runtime.backends.onnx_runtime import OrtExecutor

    check_graph(artefact.path)
    integers = artefact.manifest.is_for_cpu or artefact.manifest.recipe is None  # else y12 placed it for TensorRT
    executor = OrtExecutor(artefact.path, provider, device=gpu.device, throughput=throughput, integers=integers)
    check_agreement(artefact, executor.input_shape)
    return executor


def _engine_backend(
    artefact: Artefact, provider: str, gpu: GpuOptions, _throughput: bool
) -> "Executor | DeviceNetwork":
    if provider not in ("auto", "cuda"):
        raise InputError(
            f"{artefact.path}: an engine runs on an NVIDIA GPU only, found provider {provider!r}{_other_way(artefact)}"
        )
    from y12.runtime.backends.tensorrt.executor import TrtExecutor, TrtNetwork

    on_host = output_layout(artefact.manifest) is None  # a classifier: a crop before it, five numbers after it
    try:
        return (TrtExecutor if on_host else TrtNetwork)(artefact.read_model(), "auto", gpu.device)
    except (ExecutorError, MissingPackageError) as error:
        raise ExecutorError(f"{artefact.path}: {error}{_other_way(artefact)}") from error
    except ArtefactError as error:
        raise ArtefactError(f"{artefact.path}: {error}") from error


def _other_way(artefact: Artefact) -> str:
    """Name the .onnx beside an engine, where there is one."""
    onnx = onnx_beside(artefact.path)
    return f"; {onnx} runs without a GPU" if onnx.is_file() else ""


_BACKENDS: dict[str, Callable[[Artefact, str, GpuOptions, bool], "Executor | DeviceNetwork"]] = {
    "onnx": _onnx_backend,
    "engine": _engine_backend,
}
