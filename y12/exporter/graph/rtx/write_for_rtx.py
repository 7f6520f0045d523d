"""The passes on the FP16 or INT8 graph that TensorRT-RTX is to build (docs/decisions/0052-fewer-launches.md)."""

import onnx

from y12.exporter.graph.passes import Pass, PassReport, run_passes
from y12.exporter.graph.rtx.bound_residuals import bound_residuals
from y12.exporter.graph.rtx.dilate_pointwise import dilate_pointwise
from y12.exporter.graph.rtx.join_last import join_last

__all__ = ["RTX_PASSES", "write_for_rtx"]

RTX_PASSES: tuple[Pass, ...] = (dilate_pointwise, bound_residuals, join_last)


def write_for_rtx(typed: onnx.ModelProto) -> tuple[PassReport, ...]:
    """Rewrite a typed graph in place so that TensorRT-RTX needs fewer kernels for it, and report what was done.

    Raises:
        GraphError: a pass failed.
    """
    return tuple(run_passes(typed, RTX_PASSES))
