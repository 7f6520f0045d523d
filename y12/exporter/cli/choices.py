"""The choices that the commands offer. Some repeat a list of another room: a command's help does not wait for that."""

from enum import StrEnum


class Format(StrEnum):
    """What to make."""

    ONNX = "onnx"
    ENGINE = "engine"


class Scale(StrEnum):
    """How wide and deep a network is."""

    N = "n"
    S = "s"
    M = "m"
    L = "l"
    X = "x"


class Bits(StrEnum):
    """The precision by its bits, as another tool has it."""

    INT8 = "8"
    FP16 = "16"


class Flavour(StrEnum):
    """Which TensorRT builds the engine."""

    AUTO = "auto"
    FULL = "full"
    RTX = "rtx"


class Method(StrEnum):
    """How a range is chosen: `y12.exporter.precision.quantization_options.METHODS`."""

    AUTO = "auto"
    MSE = "mse"
    L3 = "l3"
    PERCENTILE = "percentile"
    MAX = "max"


class Int8Target(StrEnum):
    """What runs the INT8 graph: `y12.exporter.precision.quantization_options.TARGETS`."""

    TRT = "trt"
    CPU = "cpu"


class NmsForm(StrEnum):
    """How detections leave the graph: `y12.runtime.artefact.manifest.NMS_FORMS`."""

    PACKED = "packed"
    SPLIT = "split"


class Split(StrEnum):
    """A part of a data.yaml: `y12.exporter.data.data_yaml.SPLITS`."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class IouLoss(StrEnum):
    """The loss of boxes."""

    IOU = "iou"
    GIOU = "giou"
    DIOU = "diou"
    CIOU = "ciou"


class ClassLoss(StrEnum):
    """The loss of classes."""

    BCE = "bce"
    FOCAL = "focal"
    VARIFOCAL = "varifocal"


class TrainPrecision(StrEnum):
    """What training computes in: `y12.exporter.train.options.PRECISIONS`."""

    AUTO = "auto"
    FP32 = "32"
    BF16 = "bf16"


class Device(StrEnum):
    """What trains."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
