"""How training images are read and varied; each value is checked where it is given."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from y12.errors import OptionsError

__all__ = ["COCO_FLIP", "UNCHANGED", "AugmentOptions", "DataOptions"]

# COCO's 17 points with left and right exchanged: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
COCO_FLIP = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)


@dataclass(frozen=True)
class AugmentOptions:
    """How much an image is varied each time it is shown; all draws are uniform.

    Attributes:
        mosaic: probability that an image is shown with three others, the four about one point.
        flip: probability that it is mirrored, left to right.
        scale: it is resized by a factor from 1 - scale to 1 + scale, about its centre.
        translate: it is moved by up to this share of its side, along each axis.
        rotate: it is turned by up to this many degrees, either way.
        hue: its hue is turned by up to this share of the circle, either way.
        saturation: its saturation is multiplied by 1 - saturation to 1 + saturation.
        brightness: its value, of hue, saturation and value, is multiplied by 1 - brightness to 1 + brightness.
        min_visible: an object of whose box a smaller share is left in the image is no longer labelled.
        flip_indices: which point each keypoint becomes when mirrored; None takes what the data say (flip_idx), or
            COCO's for persons of 17 points; others with keypoints are not mirrored.

    Raises:
        OptionsError: a value is out of range.
    """

    mosaic: float = 1.0
    flip: float = 0.5
    scale: float = 0.5
    translate: float = 0.1
    rotate: float = 0.0
    hue: float = 0.015
    saturation: float = 0.7
    brightness: float = 0.4
    min_visible: float = 0.1
    flip_indices: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        most = {"scale": 0.9, "translate": 0.5, "rotate": 180.0, "hue": 0.5}
        for name in (*most, "mosaic", "flip", "saturation", "brightness", "min_visible"):
            value, limit = getattr(self, name), most.get(name, 1.0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limit:
                raise OptionsError(f"{name}: expected a number from 0 to {limit:g}, found {value!r:.40}")
        flipped = self.flip_indices
        if flipped is not None and any(not 0 <= i < len(flipped) or flipped[flipped[i]] != i for i in flipped):
            raise OptionsError(f"flip_indices: expected pairs of points that become each other, found {flipped!r:.80}")

    def flips(self, points: int | None) -> tuple[int, ...] | None:
        """Return which point each of `points` keypoints becomes when mirrored; None where that is not known.

        Raises:
            OptionsError: `flip_indices` are given for another number of points.
        """
        if not points:
            return ()
        if self.flip_indices is None:
            return None
        if len(self.flip_indices) != points:
            count = len(self.flip_indices)
            raise OptionsError(f"flip_indices: expected {points}, one for each keypoint, found {count}")
        return self.flip_indices


UNCHANGED = AugmentOptions(mosaic=0, flip=0, scale=0, translate=0, hue=0, saturation=0, brightness=0)


@dataclass(frozen=True)
class DataOptions:
    """How a user's data set is read.

    Attributes:
        split: part of a data.yaml or of a folder of classes; of a COCO JSON, None.
        images: where a COCO JSON's file names start; None looks beside it.
        strict: refuse labels of nothing, which are otherwise left out and told.
        bits: how many bits 16-bit images hold; None goes by each file, else takes all.
        check: "decode" decodes each image once before training; "header" looks at the files' headers only.

    Raises:
        OptionsError: a value is out of range.
    """

    split: str | None = None
    images: Path | None = None
    strict: bool = False
    bits: int | None = None
    check: Literal["decode", "header"] = "decode"

    def __post_init__(self) -> None:
        if self.check not in ("decode", "header"):
            raise OptionsError(f"check: expected 'decode' or 'header', found {self.check!r:.40}")
