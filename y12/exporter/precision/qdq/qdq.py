"""INT8 as a property of the graph: QuantizeLinear and DequantizeLinear where a target's integer kernels need them."""

import onnx

from y12.exporter.precision.qdq.cpu import cpu_tensors, quantize_for_cpu
from y12.exporter.precision.qdq.plan import TARGETS, QdqReport, QuantizeOptions, plan_of
from y12.exporter.precision.qdq.tensorrt import quantize_for_trt, trt_tensors
from y12.exporter.precision.ranges import Ranges

__all__ = ["TARGETS", "QdqReport", "QuantizeOptions", "quantize", "tensors_to_calibrate"]

_TENSORS = {"trt": trt_tensors, "cpu": cpu_tensors}
_QUANTIZE = {"trt": quantize_for_trt, "cpu": quantize_for_cpu}


def tensors_to_calibrate(graph: onnx.ModelProto, options: QuantizeOptions) -> tuple[str, ...]:
    """Return the activations of an FP32 graph whose ranges `quantize` needs, in the order they are made.

    The network's input is not among them: its range is 0 to 1.
    """
    return _TENSORS[options.target](plan_of(graph, options))


def quantize(graph: onnx.ModelProto, ranges: Ranges, options: QuantizeOptions) -> tuple[onnx.ModelProto, QdqReport]:
    """Return the typed graph for a target, and a report; the given graph stays as it is.

    Args:
        graph: the simplified FP32 graph.
        ranges: of the tensors that `tensors_to_calibrate` names, and perhaps of others.
        options: what to quantise.

    Raises:
        GraphError: the graph is quantised already or too old, or a range is missing or does not fit.
        OptionsError: a convolution to keep is not in the graph.
    """
    typed, report = _QUANTIZE[options.target](graph, ranges, plan_of(graph, options))
    onnx.checker.check_model(typed, full_check=True)
    return typed, report
