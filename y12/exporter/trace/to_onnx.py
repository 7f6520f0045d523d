"""Trace a deploy-form detector to ONNX."""

import io
import warnings
from dataclasses import dataclass

import onnx
import torch

from y12.errors import GraphError
from y12.exporter.model.detector import Detector
from y12.exporter.model.one_thread import one_thread
from y12.runtime.artefact.manifest import INPUT_NAME, InputProfile

DEFAULT_OPSET = 20

__all__ = ["DEFAULT_OPSET", "INPUT_NAME", "TraceOptions", "onnx_from_deploy"]


@dataclass(frozen=True)
class TraceOptions:
    """How to trace.

    Attributes:
        profile: the input shapes; an axis whose range is wider than one size becomes dynamic.
        opset: of the ONNX graph; `ExportConfig` says which suit TensorRT.
    """

    profile: InputProfile
    opset: int = DEFAULT_OPSET


@one_thread()
def onnx_from_deploy(deploy: Detector, options: TraceOptions) -> onnx.ModelProto:
    """Return the traced graph of a detector in the form that `y12.exporter.trace.deploy` makes.

    Its input is `images` (B, 3, H, W), its outputs are those that the head names.

    Raises:
        GraphError: torch could not trace it.
    """
    profile = options.profile
    # Not 1 on a dynamic axis: a tracer may take a size of 1 for a constant.
    batch = profile.batch.opt if profile.batch.is_fixed else max(2, profile.batch.opt)
    images = torch.zeros(batch, 3, *profile.opt_hw)
    axes = {INPUT_NAME: ("batch", 3, "height", "width"), **deploy.head.axes}
    free = _free_axes(profile)
    dynamic = {
        name: {i: axis for i, axis in enumerate(axes_of) if axis in free} for name, axes_of in axes.items() if free
    }
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # The tracing exporter is marked as legacy. It takes a tenth of the time of the newer one and keeps
            # plain MatMul and Softmax (docs/decisions/0003-tracing-exporter.md).
            warnings.simplefilter("ignore")
            torch.onnx.export(
                deploy,
                (images,),
                buffer,  # type: ignore[arg-type] # the tracing exporter takes a stream, its annotation does not say so
                dynamo=False,
                input_names=[INPUT_NAME],
                output_names=list(deploy.head.axes),
                opset_version=options.opset,
                dynamic_axes=dynamic or None,
            )
    except RuntimeError as error:
        raise GraphError(f"torch could not trace '{deploy.spec.name}': {str(error).splitlines()[0]}") from error
    graph = onnx.load_from_string(buffer.getvalue())
    for output in graph.graph.output:
        # Beside a free axis the tracer leaves fixed ones open too; who reads the graph needs to know them.
        for dim, axis in zip(output.type.tensor_type.shape.dim, axes[output.name], strict=True):
            if isinstance(axis, int):
                dim.dim_value = axis
    return graph


def _free_axes(profile: InputProfile) -> set[str]:
    """Return the names of the axes whose size is not fixed: of the input, and what follows from them in the outputs."""
    spans = {
        "batch": (profile.batch,),
        "height": (profile.height,),
        "width": (profile.width,),
        "anchors": (profile.height, profile.width),
        "proto_height": (profile.height,),
        "proto_width": (profile.width,),
    }
    return {name for name, sources in spans.items() if not all(span.is_fixed for span in sources)}
