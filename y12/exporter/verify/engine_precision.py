"""An engine computes in the precision that its graph says, or is refused; what else must be told of it."""

from collections.abc import Iterator

from y12.errors import EngineBuildError
from y12.exporter.engine.engine import Engine
from y12.exporter.engine.inspect import EngineFacts
from y12.exporter.engine.releases import newer_note
from y12.exporter.precision.qdq.qdq import QdqReport

__all__ = ["check_engine_precision", "engine_notes"]

_WORTH = 0.75  # of FP16's bytes: moving them, not arithmetic, is what a detector's kernels wait for


def check_engine_precision(precision: str, facts: EngineFacts | None, quantization: QdqReport | None) -> None:
    """Refuse an engine that computes in another precision what the graph says.

    What TensorRT does not tell in words that y12 knows refuses nothing: `engine_notes` says what is not proved.

    Raises:
        EngineBuildError: it does.
    """
    if facts is None:
        return
    requested = f"asked for {precision.upper()}, but TensorRT"
    if precision != "fp32" and facts.fp32_convolutions:
        raise EngineBuildError(
            f"{requested} left {len(facts.fp32_convolutions)} convolutions in FP32, first {facts.fp32_convolutions[0]}"
        )
    if quantization is not None and quantization.attentions and facts.unfused:
        raise EngineBuildError(
            f"asked for INT8 attention, but TensorRT fuses {facts.attentions_fused} of {facts.attentions_expected}; "
            "drop --int8-attention"
        )
    counts = facts.convolutions_by_precision
    int8_convolutions = counts.get("int8", 0)
    if quantization is not None and int8_convolutions + counts.get("unknown", 0) < quantization.quantized:
        raise EngineBuildError(
            f"{requested} computes {int8_convolutions} of the {quantization.quantized} INT8 convolutions in INT8"
        )


def engine_notes(engine: Engine) -> Iterator[str]:
    """Yield what the user must be told of an engine."""
    precision, facts, flavour = engine.manifest.precision, engine.facts, engine.flavour
    if newer := newer_note(engine.builder):
        yield newer
    if facts is None:
        yield (
            f"what the engine computes in is not proved, nor whether its attentions are fused: {engine.built.unread}; "
            "the engine is as TensorRT built it"
        )
        return
    if unknown := facts.convolutions_by_precision.get("unknown", 0):
        yield (
            f"of {unknown} of {len(facts.convolutions)} convolutions {engine.builder} does not tell what the engine "
            "computes them in: that is not proved"
        )
    half = engine.half
    if half is not None and facts.bytes_moved > _WORTH * half.bytes_moved:
        moved, least = (f"{one.bytes_moved / 1e6:.0f} MB in {one.kernels} kernels" for one in (facts, half))
        yield (
            f"--half is likely the better engine for TensorRT-RTX: INT8 reads and writes {moved}, FP16 {least}: "
            "what follows an INT8 convolution (bias, activation) is a kernel of its own. Measure both with y12-bench"
        )
    if precision == "fp32" and facts.unfused and flavour == "rtx":
        yield "TensorRT-RTX does not fuse attention in FP32; --half fuses it"
    if precision != "fp32" and facts.unfused:
        yield (
            f"{len(facts.unfused)} of {facts.attentions_expected} attentions are not fused, "
            f"first {facts.unfused[0]}; export from the checkpoint to get the form that fuses"
        )
