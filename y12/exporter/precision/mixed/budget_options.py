"""What may be asked for of measuring; light, since an `ExportConfig` holds it before anything is loaded."""

import math
from dataclasses import dataclass
from pathlib import Path

from y12.errors import OptionsError

__all__ = ["BudgetOptions"]


@dataclass(frozen=True)
class BudgetOptions:
    """How much INT8 may cost.

    Attributes:
        max_drop: points of AP (of 100) that may be lost against FP32, by the upper end of a 90 % interval; of agreement
            with FP32's detections where there are no labels, or where they cannot tell so few points.
        data: to measure on: a data.yaml (its training images that are not calibrated on are not taken; its `val` is),
            a COCO JSON or a folder of images. None takes every second image of those to calibrate on.
    """

    max_drop: float
    data: Path | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_drop) and 0 <= self.max_drop <= 100):
            raise OptionsError(f"--max-drop: expected points from 0 to 100, found {self.max_drop:g}")
