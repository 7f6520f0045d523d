"""What a classifier sees of an image: its centre, with the network's proportions.

The image is resized until it just covers the network's input (H, W): r = max(H/h, W/w), the side that decides
becomes exactly as long as the input's, the other int(side r). Of that the middle is cut out, from
round((resized - input) / 2) on. For a square input this is "resize the shorter side, crop the centre", as
classifiers are trained; an oblong input is covered by the same rule, and nothing is ever stretched or padded.
The resizing is Pillow's BILINEAR, which averages over all pixels when it makes an image smaller.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.preprocess.reduced import Image, ReducedImage, hw_of


@dataclass(frozen=True)
class CentreCrop:
    """Where the network's input lies in an image; all in pixels.

    Attributes:
        region_xyxy: the part of the original image that the network sees.
        input_hw: the network's input.
        image_hw: the original image.
    """

    region_xyxy: tuple[float, float, float, float]
    input_hw: tuple[int, int]
    image_hw: tuple[int, int]

    @classmethod
    def fit(cls, image_hw: tuple[int, int], input_hw: tuple[int, int]) -> "CentreCrop":
        """Find the part of an image of `image_hw` that fills an input of `input_hw`.

        Raises:
            InputError: the image or the input has no pixels.
        """
        (height, width), (input_height, input_width) = image_hw, input_hw
        if min(height, width, input_height, input_width) < 1:
            raise InputError(f"expected an image and an input of 1x1 pixel or more, found {image_hw} and {input_hw}")
        if input_height * width >= input_width * height:  # the height decides; compared without rounding
            resized_hw = input_height, input_height * width // height
        else:
            resized_hw = input_width * height // width, input_width
        top = round((resized_hw[0] - input_height) / 2)
        left = round((resized_hw[1] - input_width) / 2)
        y, x = height / resized_hw[0], width / resized_hw[1]
        return cls((left * x, top * y, (left + input_width) * x, (top + input_height) * y), input_hw, image_hw)


def centre_crop(image: Image, input_hw: tuple[int, int]) -> tuple[NDArray[np.uint8], CentreCrop]:
    """Resize and cut an (h, w, 3) image to (H, W, 3), and say what part of it that is.

    Pillow computes the part that is kept only: a panorama resized as a whole could take all memory.

    Raises:
        InputError: the image or the input has no pixels.
    """
    from PIL import Image as PilImage

    frame = CentreCrop.fit(hw_of(image), input_hw)
    bgr, box = image, frame.region_xyxy
    if isinstance(image, ReducedImage):
        bgr, box = image.bgr, image.box_in_bgr(box)
    picture = PilImage.fromarray(np.ascontiguousarray(bgr))  # as if it were RGB: channels do not mix
    resized = picture.resize(input_hw[::-1], PilImage.Resampling.BILINEAR, box=box)
    return np.asarray(resized, dtype=np.uint8), frame
