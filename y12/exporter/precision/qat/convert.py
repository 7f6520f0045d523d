"""The last step of quantisation-aware training: plain weights, and the ranges that belong to them."""

from torch import nn

from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.detector import Detector
from y12.exporter.precision.qat.learned import LearnedRanges
from y12.exporter.precision.qat.modules import ActivationQuantizer
from y12.exporter.precision.qat.prepare import PreparedDetector
from y12.exporter.precision.ranges import INT8_MAX, Range, Ranges
from y12.exporter.trace.to_onnx import INPUT_NAME

__all__ = ["convert"]

_OWN = "quantizers."


def convert(prepared: PreparedDetector) -> tuple[Detector, LearnedRanges]:
    """Return a detector of plain modules, on the CPU and in evaluation mode, and the ranges to export it with.

    Weights, and BatchNorm beside them, are as they were trained: an export folds and rounds them as training did, so
    that the integers are the same. Write both with `write_checkpoint(..., extra={RANGES_KEY: ranges.to_json()})`.
    """
    state = {key: value for key, value in prepared.state_dict().items() if not key.startswith(_OWN)}
    detector = detector_from_spec(prepared.spec)
    detector.load_state_dict(state)
    for path, module in detector.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            trained = prepared.get_submodule(path)
            assert isinstance(trained, nn.BatchNorm2d)
            module.eps = trained.eps
    detector.names = prepared.names
    ranges = {}
    for tensor, quantizer in zip(prepared.tensors, prepared.quantizers, strict=True):
        assert isinstance(quantizer, ActivationQuantizer)
        if tensor != INPUT_NAME:  # 0 to 1 by contract
            reach = INT8_MAX * float(quantizer.step.detach())
            ranges[tensor] = Range(-reach, reach)
    begun = prepared.calibration
    learned = any(True for _ in prepared.quantizers.parameters())  # fixed steps are buffers
    method = f"learned from {begun.method}" if learned else begun.method
    return detector, LearnedRanges(Ranges(ranges, method, begun.images), prepared.keep)
