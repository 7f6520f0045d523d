"""The range of values each tensor is quantised over, and the scales that follow from it.

    symmetric int8:  x ~ s q,        q in -127..127,  s = max(|low|, |high|) / 127
    affine uint8:    x ~ s (q - z),  q in 0..255,     s = (high - low) / 255,  z = round(-low / s)

Int8 leaves -128 out: the grid is then the same on both sides, and so is the error (arXiv:2004.09602, section 3.1.2).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from y12.errors import CalibrationError

__all__ = ["INT8_MAX", "UINT8_MAX", "Range", "Ranges"]

INT8_MAX, UINT8_MAX = 127, 255
# FP16's smallest normal number: a scale is written in FP16 where the rest of the graph is FP16, and this one's
# reciprocal, which kernels multiply with, is finite there too. A tensor has it that was 0 in every image.
_LEAST_SCALE = 2.0**-14
_SCHEMA = 1


@dataclass(frozen=True)
class Range:
    """The values of one tensor that quantisation keeps apart; what lies outside saturates.

    Attributes:
        low: at most 0, which quantisation has to hit exactly: padding and SiLU's floor are 0.
        high: at least 0.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= 0 <= self.high):
            raise CalibrationError(f"a range: expected finite numbers low <= 0 <= high, found {self.low}, {self.high}")

    @classmethod
    def around_zero(cls, low: float, high: float) -> Self:
        """Return the range from `low` to `high`, widened to hold 0."""
        return cls(min(0.0, low), max(0.0, high))

    @property
    def magnitude(self) -> float:
        """The largest absolute value in it."""
        return max(-self.low, self.high)

    def symmetric_scale(self) -> float:
        """Return the step of the int8 grid -127..127, a float32 number and never 0."""
        return float(np.float32(max(self.magnitude / INT8_MAX, _LEAST_SCALE)))

    def affine(self) -> tuple[float, int]:
        """Return the step (a float32 number) and the zero point of the uint8 grid 0..255.

        A tensor of nothing but 0 has the step 1 and the zero point 0, as ONNX Runtime's quantiser says.
        """
        scale = float(np.float32((self.high - self.low) / UINT8_MAX))
        if not scale > float(np.finfo(np.float32).tiny):
            return 1.0, 0
        return scale, min(UINT8_MAX, round(-self.low / scale))


@dataclass(frozen=True)
class Ranges:
    """The ranges of a graph's tensors, and how they were found.

    Attributes:
        by_tensor: tensor name → range.
        method: what made them, such as "percentile 99.99, symmetric".
        images: on how many images.
        notes: what the user has to know about this run, one line each; not part of the result or of its JSON.
    """

    by_tensor: Mapping[str, Range]
    method: str
    images: int
    notes: tuple[str, ...] = field(default=(), compare=False)

    def to_json(self) -> str:
        """Return them as JSON text; numbers come back to the bit."""
        tensors = {name: [r.low, r.high] for name, r in self.by_tensor.items()}
        data = {"schema": _SCHEMA, "method": self.method, "images": self.images, "ranges": tensors}
        return json.dumps(data, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            CalibrationError: the text is something else, or a number in it is impossible.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CalibrationError(f"calibrated ranges: not readable as JSON ({error!s:.120})") from error
        keys = {"schema", "method", "images", "ranges"}
        if not isinstance(data, dict) or set(data) != keys or data["schema"] != _SCHEMA:
            raise CalibrationError(f"calibrated ranges: expected {', '.join(sorted(keys))} of schema {_SCHEMA}")
        method, images, ranges = data["method"], data["images"], data["ranges"]
        if not isinstance(method, str) or type(images) is not int or images < 1 or not isinstance(ranges, dict):
            raise CalibrationError("calibrated ranges: expected a method, a number of images and ranges by tensor")
        return cls({name: _range(name, value) for name, value in ranges.items()}, method, images)


def _range(name: str, value: Any) -> Range:
    if not isinstance(value, list) or len(value) != 2 or not all(type(v) in (int, float) for v in value):
        raise CalibrationError(f"calibrated ranges: '{name}': expected [low, high], found {value!r:.60}")
    try:
        return Range(float(value[0]), float(value[1]))
    except (CalibrationError, OverflowError) as error:
        raise CalibrationError(f"calibrated ranges: '{name}': {error}") from error
