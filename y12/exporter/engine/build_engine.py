"""Typed ONNX to a TensorRT plan. Precision is in the graph already: building is a plain compile step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from y12.errors import EngineBuildError, ExecutorError, MissingPackageError
from y12.exporter.engine.layers import Layer, UnreadLayersError, layers_from_inspector, layers_from_log
from y12.interrupts import interrupts_held_back
from y12.runtime.artefact.manifest import InputProfile
from y12.runtime.backends.tensorrt.executor import Bindings, capture, load_bindings, process_logger
from y12.runtime.gpu.cuda import Gpu
from y12.text import one_line

if TYPE_CHECKING:
    from y12.runtime.backends.tensorrt.bindings import tensorrt

__all__ = [
    "RTX_DEFAULT_SMS",
    "BuildOptions",
    "BuiltEngine",
    "bindings_for_build",
    "engine_from_onnx",
    "gpu_problem",
]

# The compute capabilities an RTX engine runs on where none is asked for, by NVIDIA's documentation; SM 75 is built
# only when it is named, since it makes the engine larger and slower on the others.
RTX_DEFAULT_SMS = (80, 86, 89, 120, 121)
# A warning in TensorRT's words, but the profile is then not the one that was asked for.
_FATAL_WARNINGS = ("values are not self-consistent",)


@dataclass(frozen=True)
class BuildOptions:
    """What to build.

    Attributes:
        profile: the input shapes; an optimisation profile is made where they are not fixed.
        input_name: of the graph's input.
        workspace_gib: the most device memory a layer may use as scratch, in GiB; TensorRT's default where None.
        sms: compute capabilities to build for, such as (80, 89), in TensorRT-RTX; its default where empty.
        network_name: stored in the plan; carries the manifest.
    """

    profile: InputProfile
    input_name: str = "images"
    workspace_gib: float | None = None
    sms: tuple[int, ...] = ()
    network_name: str = ""


@dataclass(frozen=True)
class BuiltEngine:
    """A plan and what is known of it.

    Attributes:
        plan: the serialized engine.
        builder: such as "TensorRT-RTX 1.7.1.116".
        layers: its final layers; none where what tells them could not be read.
        seconds: the build took.
        unread: why what tells the layers could not be read; empty where it could.
    """

    plan: bytes
    builder: str
    layers: tuple[Layer, ...]
    seconds: float
    unread: str = ""


def bindings_for_build(flavour: str) -> Bindings:
    """Return the TensorRT to build with: "full", "rtx", or "auto".

    "auto" is full TensorRT where it is installed and there is a GPU, which it needs to build, else TensorRT-RTX.

    Raises:
        EngineBuildError: full TensorRT was asked for and there is no GPU.
        ExecutorError: it is installed, but broken or too old.
        MissingPackageError: it is not installed, or cuda-core is not, which tells whether there is a GPU.
    """
    if flavour == "rtx":
        return load_bindings("rtx")
    if flavour == "full":
        bindings = load_bindings("full")
        problem = gpu_problem()
        if problem:
            raise EngineBuildError(
                f"full TensorRT builds engines on a GPU only, and here is none ({problem}); use --tensorrt rtx"
            )
        return bindings
    try:
        bindings = load_bindings("full")
    except MissingPackageError:
        return load_bindings("rtx")
    return load_bindings("rtx") if gpu_problem() else bindings


def gpu_problem() -> str:
    """Return why there is no GPU to use; empty where there is one.

    Raises:
        MissingPackageError: it cannot be told, since cuda-core is not installed.
    """
    try:
        Gpu().close()
    except ExecutorError as error:
        return str(error)
    return ""


def engine_from_onnx(model: bytes, options: BuildOptions, bindings: Bindings) -> BuiltEngine:
    """Return the plan of a typed ONNX graph.

    Args:
        model: the serialized ONNX graph, with the precision of everything written in it.
        options: what to build.
        bindings: of `bindings_for_build`.

    Raises:
        EngineBuildError: TensorRT refused the graph or an option, or logged an error and went on.
    """
    started = time.perf_counter()
    # Raised while TensorRT calls its logger, an interrupt would be lost.
    with interrupts_held_back(), capture(bindings) as messages, _vendor_errors(bindings):
        builder: tensorrt.Builder = bindings.trt.Builder(process_logger(bindings))
        network = _network(bindings, builder, model, options, messages)
        config = _config(bindings, builder, options)
        memory: tensorrt.IHostMemory | None = builder.build_serialized_network(network, config)
        plan = b"" if memory is None else bytes(memory)
        _refuse_logged_errors(bindings, messages)
        if not plan:
            raise EngineBuildError(f"{bindings.product} built nothing and does not say why")
        seconds = time.perf_counter() - started
        layers, unread = _final_layers(bindings, plan, messages)
    return BuiltEngine(plan, bindings.product, layers, seconds, unread)


@contextmanager
def _vendor_errors(bindings: Bindings) -> Iterator[None]:
    try:
        yield
    # What the bindings raise where an argument is wrong or memory runs out; refusals come through the log.
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise EngineBuildError(f"{bindings.product} failed: {one_line(str(error))}") from error


def _refuse_logged_errors(bindings: Bindings, messages: list[tuple[str, str]]) -> None:
    """Stop where an ERROR was logged: a bad setter does no more, and another engine than was asked for is built."""
    for severity, text in messages:
        if severity in ("ERROR", "INTERNAL_ERROR") or any(warning in text for warning in _FATAL_WARNINGS):
            raise EngineBuildError(f"{bindings.product} could not build the engine: {one_line(text)}")


def _network(
    bindings: Bindings,
    builder: "tensorrt.Builder",
    model: bytes,
    options: BuildOptions,
    messages: list[tuple[str, str]],
) -> "tensorrt.INetworkDefinition":
    trt = bindings.trt
    flags = 0
    # All releases known to us have it; where every network is strongly typed it may go.
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network: tensorrt.INetworkDefinition = builder.create_network(flags)
    parser: tensorrt.OnnxParser = trt.OnnxParser(network, process_logger(bindings))
    if not parser.parse(model):
        error: tensorrt.ParserError | None = parser.get_error(0) if parser.num_errors else None
        reason = "it does not say why"
        if error is not None:
            reason = f"node {error.node_name() or error.node()} {error.node_operator()}: {error.desc()}"
        raise EngineBuildError(f"{bindings.product} cannot read the graph: {one_line(reason)}")
    _refuse_logged_errors(bindings, messages)
    if options.network_name:
        network.name = options.network_name
    return network


def _config(bindings: Bindings, builder: "tensorrt.Builder", options: BuildOptions) -> "tensorrt.IBuilderConfig":
    trt = bindings.trt
    config: tensorrt.IBuilderConfig = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # Without this flag an engine of TensorRT-RTX cannot be captured in a CUDA graph.
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if options.workspace_gib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options.workspace_gib * (1 << 30)))
    if not options.profile.is_fixed:
        profile: tensorrt.IOptimizationProfile = builder.create_optimization_profile()
        least, best, largest = _profile_shapes(options.profile)
        profile.set_shape(options.input_name, least, best, largest)
        if config.add_optimization_profile(profile) < 0:
            raise EngineBuildError(
                f"{bindings.product} refused the optimisation profile {_profile_shapes(options.profile)}"
            )
    if options.sms:
        _target(bindings, config, options.sms)
    return config


def _target(bindings: Bindings, config: "tensorrt.IBuilderConfig", sms: tuple[int, ...]) -> None:
    trt = bindings.trt
    if not hasattr(trt, "ComputeCapability"):
        raise EngineBuildError(f"{bindings.product} builds for the GPU at hand only; --sm needs --tensorrt rtx")
    known = [name for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    for sm in sms:
        if f"SM{sm}" not in known:
            raise EngineBuildError(f"{bindings.product} does not build for SM {sm}; it knows {', '.join(known)}")
    config.num_compute_capabilities = len(sms)
    for i, sm in enumerate(sms):
        if not config.set_compute_capability(trt.ComputeCapability.__members__[f"SM{sm}"], i):
            raise EngineBuildError(f"{bindings.product} refused the target SM {sm}")


def _profile_shapes(profile: InputProfile) -> list[tuple[int, int, int, int]]:
    """Return the least, best and largest (B, 3, H, W)."""
    axes = (profile.batch, profile.height, profile.width)
    return [(b, 3, h, w) for b, h, w in zip(*((axis.min, axis.opt, axis.max) for axis in axes), strict=True)]


def _final_layers(bindings: Bindings, plan: bytes, messages: list[tuple[str, str]]) -> tuple[tuple[Layer, ...], str]:
    """Return the final layers, or none and why: an engine is no worse for a log in words that y12 does not know."""
    try:
        return layers_from_log(messages) if bindings.flavour == "rtx" else _inspected_layers(bindings, plan), ""
    except UnreadLayersError as error:
        return (), str(error)


def _inspected_layers(bindings: Bindings, plan: bytes) -> tuple[Layer, ...]:
    """Return what the engine itself says; full TensorRT's build log has no list of final layers."""
    trt = bindings.trt
    vendor_runtime: tensorrt.Runtime = trt.Runtime(process_logger(bindings))
    engine: tensorrt.ICudaEngine | None = vendor_runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineBuildError(f"{bindings.product} cannot load the engine it has just built")
    inspector: tensorrt.EngineInspector = engine.create_engine_inspector()
    return layers_from_inspector(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
