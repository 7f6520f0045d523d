"""How large the network's input is: the same for every image; or, rectangular, just what holds the picture.

Equation, with (H, W) the full size, s the largest stride and (h', w') the picture as it is resized to fit (H, W): a
rectangular input is (s ceil(h'/s), s ceil(w'/s)), or the least that the network takes where that is more. The picture
is resized as for the full size, so that only padding goes.
"""

from dataclasses import dataclass

from y12.runtime.preprocess.letterbox import Letterbox

__all__ = ["InputSize"]


@dataclass(frozen=True)
class InputSize:
    """The network's input for each image.

    Attributes:
        full_hw: height and width that an image is made to fit; where the input is rectangular, multiples of `stride`.
        least_hw: the smallest rectangular input; None where every image gets `full_hw`.
        stride: what the sides of rectangular inputs are multiples of.
    """

    full_hw: tuple[int, int]
    least_hw: tuple[int, int] | None = None
    stride: int = 1

    @property
    def is_rectangular(self) -> bool:
        """Whether it depends on the image."""
        return self.least_hw is not None

    def frame(self, image_hw: tuple[int, int]) -> Letterbox:
        """Return where an image of `image_hw` lies in its input."""
        full = Letterbox.fit(image_hw, self.full_hw)
        if self.least_hw is None:
            return full
        height, width = (
            max(least, -(-side // self.stride) * self.stride)
            for least, side in zip(self.least_hw, full.resized_hw, strict=True)
        )
        return full.in_input((height, width))

    def input_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the input for an image of `image_hw`."""
        return self.full_hw if self.least_hw is None else self.frame(image_hw).input_hw
