"""What a user may choose for an evaluation."""

from dataclasses import dataclass
from pathlib import Path

from y12.errors import DatasetError
from y12.exporter.data.splits import SPLITS
from y12.runtime.options import DetectOptions

__all__ = ["ValOptions"]


@dataclass(frozen=True)
class ValOptions:
    """How to evaluate; the thresholds are those with which COCO figures are published.

    Attributes:
        conf: take boxes scored above this, 0-1: low, as AP looks at the whole curve.
        iou: of two boxes of one class that overlap more than this, 0-1, take the better.
        max_det: take at most this many boxes per image. COCO looks at the best 100 per class, 20 for keypoints.
        multi_label: let a box carry several classes.
        split: which part of a data.yaml; None is "val".
        by_order: match the data's classes with the model's by their order, where the names differ.
        strict: refuse labels of nothing, which are otherwise left out and told.
        images: where a COCO JSON's file names start; None looks beside the JSON.
        imgsz: the network's input, a number or (height, width); None takes the size it was made for.
        rect: give each image the smallest input that holds it.
        bits: how many bits 16-bit images hold; None goes by each file, else takes all.
        reduced_decode: decode large JPEGs at a part of their size, as `Runtime`.
        provider: for an .onnx: "auto", "cpu" or "cuda".
        device: which GPU, as CUDA counts.

    The thresholds may be None: 0.001, 0.7, 300 and True, or those of the NMS in an artefact's graph.

    Raises:
        DatasetError: the split is none of train, val and test.
        InputError: a threshold is out of range.
    """

    conf: float | None = None
    iou: float | None = None
    max_det: int | None = None
    multi_label: bool | None = None
    split: str | None = None
    images: Path | None = None
    by_order: bool = False
    strict: bool = False
    imgsz: int | tuple[int, int] | None = None
    rect: bool = False
    bits: int | None = None
    reduced_decode: bool = False
    provider: str = "auto"
    device: int = 0

    def __post_init__(self) -> None:
        if self.split is not None and self.split not in SPLITS:
            raise DatasetError(f"split: expected one of {', '.join(SPLITS)}, found {self.split!r}")
        given = {name: getattr(self, name) for name in ("conf", "iou", "max_det") if getattr(self, name) is not None}
        DetectOptions(**given)  # which refuses them now, not when the data are read

    @property
    def chosen_thresholds(self) -> tuple[str, ...]:
        """The names of the thresholds that were chosen."""
        return tuple(name for name in ("conf", "iou", "max_det", "multi_label") if getattr(self, name) is not None)
