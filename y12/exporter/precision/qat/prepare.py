"""The first step of quantisation-aware training: a detector whose convolutions compute as INT8 will."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import onnx
from torch import nn

from y12.errors import CalibrationError, OptionsError
from y12.exporter.model.blocks.bit import bit_layers
from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.detector import Detector
from y12.exporter.model.rows import ModelSpec
from y12.exporter.precision.calibration.calibrate import calibrate
from y12.exporter.precision.calibration.method_choice import ScoreError, best_ranges
from y12.exporter.precision.qat.mapping import QuantizedConv, quantized_convs, simplified_graph
from y12.exporter.precision.qat.modules import ActivationQuantizer, QuantConv
from y12.exporter.precision.qdq.plan import IMAGES_RANGE, plan_of
from y12.exporter.precision.qdq.qdq import quantize, tensors_to_calibrate
from y12.exporter.precision.quantization_options import CalibrationOptions, QuantizeOptions
from y12.exporter.precision.ranges import Ranges
from y12.exporter.trace.to_onnx import INPUT_NAME
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest

__all__ = ["PreparedDetector", "QatOptions", "initial_ranges", "prepare"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class QatOptions:
    """How to train for INT8.

    Attributes:
        quantize: what is quantised, as of post-training INT8; for TensorRT's grids, without attention.
        learn_ranges: train the ranges of activations too; False keeps the calibrated ones.
    """

    quantize: QuantizeOptions = field(default_factory=QuantizeOptions)
    learn_ranges: bool = True

    def __post_init__(self) -> None:
        if self.quantize.target != "trt" or self.quantize.attention:
            option = "INT8 attention" if self.quantize.attention else f"the target {self.quantize.target}"
            raise OptionsError(f"--qat: trains convolutions for the target trt, found {option}: drop it, or drop --qat")


class PreparedDetector(Detector):
    """A detector with `QuantConv`s; in all else it is one.

    Args:
        spec: what the network is.
        layers: one module a row, the head last.
        names: class names by id.
        keep: names of the convolutions that are not quantised though they could be.
        calibration: the ranges it begins with.
    """

    def __init__(
        self, spec: ModelSpec, layers: nn.ModuleList, names: tuple[str, ...], keep: frozenset[str], calibration: Ranges
    ) -> None:
        super().__init__(spec, layers)
        self.names, self.keep, self.calibration = names, keep, calibration
        self.quantizers = nn.ModuleList()
        self.tensors: list[str] = []  # the names of what they quantise

    def quantize(self, conv: QuantizedConv, *, learned: bool) -> None:
        """Replace a `Conv` by a `QuantConv`; those that read one tensor share its quantiser.

        Raises:
            CalibrationError: the tensor has no range.
        """
        ranges = self.calibration.by_tensor
        if conv.tensor not in self.tensors:
            is_image = conv.tensor == INPUT_NAME
            if conv.tensor not in ranges and not is_image:
                raise CalibrationError(f"to be trained in INT8: expected a range of '{conv.tensor}', found none")
            step = (IMAGES_RANGE if is_image else ranges[conv.tensor]).symmetric_scale()
            self.tensors.append(conv.tensor)
            self.quantizers.append(ActivationQuantizer(step, learned=learned and not is_image))
        quantizer = self.quantizers[self.tensors.index(conv.tensor)]
        module = self.get_submodule(conv.path)
        assert isinstance(quantizer, ActivationQuantizer)
        assert isinstance(module, Conv)
        parent, _, name = conv.path.rpartition(".")
        setattr(self.get_submodule(parent), name, QuantConv(module, quantizer, conv.rows))


def initial_ranges(
    detector: Detector,
    images: Sequence[Path],
    input_hw: tuple[int, int],
    options: QuantizeOptions,
    calibration: CalibrationOptions,
    progress: Progress | None = None,
) -> Ranges:
    """Return the ranges that an export would calibrate: what quantisation-aware training begins with.

    Args:
        detector: of plain modules, on the CPU.
        images: to calibrate on; of the training images.
        input_hw: height and width of the network's input in pixels.
        options: what is quantised.
        calibration: how ranges are chosen.
        progress: called after each batch with the images done and their number.

    Raises:
        CalibrationError: there are no images, or one cannot be used.
        GraphError: the network cannot be traced.
        OptionsError: the network has Bit layers.
    """
    _refuse_bit_layers(detector)
    graph = simplified_graph(detector, input_hw)
    spec, (height, width) = detector.spec, (AxisRange(side, side, side) for side in input_hw)
    profile = InputProfile(AxisRange(1, 1, 1), height, width)
    manifest = Manifest(
        spec.task,
        detector.names,
        spec.strides,
        profile,
        kpt_shape=spec.kpt_shape,
        localisation=detector.head.localisation,
    )
    tensors = tensors_to_calibrate(graph, options)
    candidates = calibrate(graph, tensors, images, spec.task, profile, calibration, progress)
    if len(candidates) == 1:
        return candidates[0]
    return best_ranges(
        ScoreError(graph, images, manifest, calibration.bits), partial(_quantized, graph, options), candidates
    )


def _quantized(graph: onnx.ModelProto, options: QuantizeOptions, ranges: Ranges) -> onnx.ModelProto:
    return quantize(graph, ranges, options)[0]


def prepare(
    detector: Detector, ranges: Ranges, options: QatOptions, graph: onnx.ModelProto | None = None
) -> PreparedDetector:
    """Return a copy of a detector that computes as its INT8 export will, and can be trained as it can.

    Quantised convolutions round their inputs and weights, and their BatchNorm keeps its statistics. The remainder, FP16
    in the export, is as it was.

    Args:
        detector: of plain modules, on the CPU; it stays as it is.
        ranges: of the tensors that `tensors_to_calibrate` names, as `initial_ranges` gives them.
        options: what to quantise, and whether its ranges are trained.
        graph: the simplified graph of the detector, at any size; made here where None.

    Raises:
        CalibrationError: a tensor has no range.
        GraphError: a convolution that the exporter quantises is not one of the detector's modules.
        OptionsError: a convolution to keep is not in the graph, or the network has Bit layers.
    """
    _refuse_bit_layers(detector)
    if graph is None:
        side = 4 * max(detector.spec.strides)  # tensors have the same names at every size
        graph = simplified_graph(detector, (side, side))
    convs = quantized_convs(detector, graph, options.quantize)
    keep = plan_of(graph, options.quantize).left.keys() - plan_of(graph, QuantizeOptions()).left.keys()
    layers = copy.deepcopy(detector.model)
    prepared = PreparedDetector(detector.spec, layers, detector.names, frozenset(keep), ranges)
    for conv in convs:
        prepared.quantize(conv, learned=options.learn_ranges)
    return prepared.train(detector.training)


def _refuse_bit_layers(detector: Detector) -> None:
    count = len(bit_layers(detector))
    if count:
        raise OptionsError(
            f"--qat: expected a network in full precision, found {count} Bit layers in {detector.spec.name}: they are "
            "trained for 8 bits already; drop --qat"
        )
