"""A network whose answers are known, and a data set of one image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NAMES = ("cat", "dog")
SIDE = 64


@dataclass(frozen=True)
class ScriptedBox:
    """What the network finds: a class, a score, left, top, right, bottom in pixels, and the task's own values."""

    class_id: int
    score: float
    xyxy: tuple[float, float, float, float]
    extras: tuple[float, ...] = ()


class ScriptedExecutor:
    """Gives one script of findings an image, in the order in which the images come."""

    description = "scripted"

    def __init__(
        self, script: Sequence[Sequence[ScriptedBox]], extras: int = 0, protos: NDArray[np.float32] | None = None
    ):
        self.script, self.extras, self.protos = list(script), extras, protos
        self.images: list[NDArray[np.float32]] = []

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        at = len(self.images)
        self.images += list(images)
        outputs = {"output0": np.stack([self._output(at + i) for i in range(len(images))])}
        if self.protos is not None:
            outputs["protos"] = np.stack([self.protos] * len(images))
        return outputs

    def _output(self, index: int) -> NDArray[np.float32]:
        output = np.zeros((4 + len(NAMES) + self.extras, 8), np.float32)
        for anchor, box in enumerate(self.script[index] if index < len(self.script) else []):
            left, top, right, bottom = box.xyxy
            output[:4, anchor] = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
            output[4 + box.class_id, anchor] = box.score
            output[4 + len(NAMES) :, anchor] = box.extras
        return output

    def close(self) -> None:
        pass


class ClassExecutor:
    """Gives one row of probabilities an image."""

    description = "classes"

    def __init__(self, rows: Sequence[Sequence[float]]):
        self.rows = iter(rows)

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return {"output0": np.array([next(self.rows) for _ in images], np.float32)}

    def close(self) -> None:
        pass


def coco_data() -> dict:
    """A COCO JSON of one image with one object."""
    return {
        "images": [{"id": 7, "file_name": "a.png", "height": SIDE, "width": SIDE}],
        "annotations": [
            {"id": 0, "image_id": 7, "category_id": 3, "bbox": [16, 16, 32, 32], "area": 1024, "iscrowd": 0}
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
    }
