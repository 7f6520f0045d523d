"""What may be chosen of INT8, refused at construction; light: an `ExportConfig` holds it before anything is loaded."""

from dataclasses import dataclass, replace

from y12.errors import CalibrationError, OptionsError
from y12.runtime.artefact.manifest import TARGETS

__all__ = ["CLIPPINGS", "LEAST_OPSET", "METHODS", "TARGETS", "CalibrationOptions", "QuantizeOptions"]

CLIPPINGS = ("mse", "l3", "percentile", "max")  # the preferred first
METHODS = ("auto", *CLIPPINGS)
# FP16 scales came with opset 19; scales per channel, which the FP32 graph needs, with 13.
LEAST_OPSET = {"trt": 19, "cpu": 13}


@dataclass(frozen=True)
class CalibrationOptions:
    """How ranges are chosen.

    Attributes:
        method: one of `METHODS`: the largest value, a percentile, the least sum of squared (mse) or cubed (l3) errors;
            or "auto", which tries them all and takes the one whose scores are nearest.
        percentile: for the method percentile, how much of the values a range holds, in percent.
        symmetric: for int8 around 0; False for uint8 with a zero point. The method max is the same for both.
        bits: how many bits 16-bit images hold; None goes by each file, else takes all.
    """

    method: str = "auto"
    percentile: float = 99.99
    symmetric: bool = True
    bits: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise CalibrationError(f"calibration: expected one of {', '.join(METHODS)}, found {self.method!r}")
        if not 50 < self.percentile <= 100:
            raise CalibrationError(f"calibration: expected a percentile in 50..100, found {self.percentile}")

    @property
    def tried(self) -> "tuple[CalibrationOptions, ...]":
        """The options of each method that is to be tried; these themselves where one is named."""
        return tuple(replace(self, method=method) for method in CLIPPINGS) if self.method == "auto" else (self,)

    def in_words(self) -> str:
        """Return the method and what it depends on, such as "percentile 99.99, symmetric"."""
        share = f" {self.percentile:g}" if self.method == "percentile" else ""
        return f"{self.method}{share}, {'symmetric' if self.symmetric else 'affine'}"


@dataclass(frozen=True)
class QuantizeOptions:
    """What to quantise.

    Attributes:
        target: "trt" (symmetric int8, the rest FP16) or "cpu" (uint8 activations, the rest FP32; ONNX Runtime).
        keep: names of convolutions that are not to be quantised.
        attention: quantise attention too; "trt" only.
        image: quantise the convolution that reads the network's input too, of whose 256 levels symmetric int8 has
            128; "trt" only, as an integer kernel for three channels is slower than an FP32 one on a CPU.
        depthwise: quantise depthwise convolutions too; "cpu" always does.
    """

    target: str = "trt"
    keep: frozenset[str] = frozenset()
    attention: bool = False
    image: bool = True
    depthwise: bool = True

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise OptionsError(f"INT8 target: expected one of {', '.join(TARGETS)}, found {self.target!r}")
        if self.attention and self.target != "trt":
            raise OptionsError("INT8 attention is for TensorRT: drop --int8-attention, or --target cpu")
