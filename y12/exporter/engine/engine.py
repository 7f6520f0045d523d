"""The engine of a typed graph, and what its layers say of it."""

from collections.abc import Iterator
from dataclasses import replace

import onnx

from y12.errors import EngineBuildError
from y12.exporter.engine.build import RTX_DEFAULT_SMS, BuildOptions, BuiltEngine, bindings_for_build, engine_from_onnx
from y12.exporter.engine.inspect import EngineFacts, facts_of
from y12.exporter.precision.qdq.qdq import QdqReport
from y12.exporter.recipe import Target
from y12.exporter.report.report import ExportReport
from y12.exporter.trace.to_onnx import INPUT_NAME
from y12.runtime.artefact.manifest import Manifest

__all__ = ["engine_for"]


def engine_for(
    target: Target, graph: onnx.ModelProto, manifest: Manifest, report: ExportReport
) -> tuple[BuiltEngine, Manifest]:
    """Build the engine of a typed graph, and write what it proves into the report.

    Args:
        target: what to build for.
        graph: the typed graph.
        manifest: of the artefact; the engine's own, which is given back, says what built it and where it runs.
        report: gets the facts and what the user must be told.

    Raises:
        EngineBuildError: TensorRT failed, or computes in another precision than the graph says.
    """
    bindings = bindings_for_build(target.tensorrt)
    sms = target.sms or RTX_DEFAULT_SMS
    gpus = (
        f"SM {', '.join(map(str, sms))} (not Hopper, not Jetson)"
        if bindings.flavour == "rtx"
        else "the kind of GPU it was built on"
    )
    manifest = replace(manifest, engine={"builder": bindings.product, "gpus": gpus})
    options = BuildOptions(
        manifest.profile,
        INPUT_NAME,
        target.workspace_gib,
        target.sms,
        manifest.to_network_name(),
    )
    built = engine_from_onnx(graph.SerializeToString(), options, bindings)
    report.builder, report.gpus = bindings.product, gpus
    report.engine = facts_of(built.layers, graph)
    _check_precision(manifest.precision, report.engine, report.quantization)
    report.notes += _engine_notes(manifest.precision, report.engine, bindings.flavour)
    return built, manifest


def _check_precision(precision: str, facts: EngineFacts, quantization: QdqReport | None) -> None:
    """Refuse an engine that computes in another precision what the graph says.

    Raises:
        EngineBuildError: it does.
    """
    asked = f"asked for {precision.upper()}, but TensorRT"
    if precision != "fp32" and facts.fp32_convolutions:
        raise EngineBuildError(
            f"{asked} left {len(facts.fp32_convolutions)} convolutions in FP32, first {facts.fp32_convolutions[0]}"
        )
    if quantization is not None and quantization.attentions and facts.unfused:
        raise EngineBuildError(
            f"asked for INT8 attention, but TensorRT fuses {facts.attentions_fused} of {facts.attentions_expected}; "
            "drop --int8-attention"
        )
    found = facts.convolutions_by_precision.get("int8", 0)
    if quantization is not None and found < quantization.quantized:
        raise EngineBuildError(f"{asked} computes {found} of the {quantization.quantized} INT8 convolutions in INT8")


def _engine_notes(precision: str, facts: EngineFacts, flavour: str) -> Iterator[str]:
    """Give what the user must be told of an engine."""
    if precision == "int8" and flavour == "rtx":
        yield (
            "TensorRT-RTX runs what follows an INT8 convolution (bias, activation) as a kernel of its own; with its "
            f"{facts.kernels} kernels this engine may be slower than --half: measure both with y12-bench"
        )
    if precision == "fp32" and facts.unfused and flavour == "rtx":
        yield "TensorRT-RTX does not fuse attention in FP32; --half fuses it"
    if precision != "fp32" and facts.unfused:
        yield (
            f"{len(facts.unfused)} of {facts.attentions_expected} attentions are not fused, "
            f"first {facts.unfused[0]}; export from the checkpoint to get the form that fuses"
        )
