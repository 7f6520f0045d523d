"""Batches of images for the letterbox kernels: used by twin, shim and GPU alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from y12.runtime.kernels.layout import LETTERBOX_BLOCK, letterbox_grid, letterbox_images
from y12.runtime.preprocess.letterbox import Letterbox

__all__ = ["CASES", "LetterboxCase", "run_letterbox"]


@dataclass(frozen=True)
class LetterboxCase:
    name: str
    input_hw: tuple[int, int]
    image_hws: tuple[tuple[int, int], ...]
    gap: int = 0  # bytes between the rows of an image

    def __str__(self) -> str:
        return self.name

    def images(self) -> list[np.ndarray]:
        """Return images of noise; of rows with a gap, the gap is 255."""
        rng = np.random.default_rng(12)
        images = []
        for height, width in self.image_hws:
            rows = np.full((height, 3 * width + self.gap), 255, np.uint8)
            rows[:, : 3 * width] = rng.integers(0, 256, (height, 3 * width), dtype=np.uint8)
            images.append(np.lib.stride_tricks.as_strided(rows, (height, width, 3), (rows.strides[0], 3, 1)))
        return images


CASES = (
    LetterboxCase("smaller", (64, 64), ((97, 131),)),
    LetterboxCase("larger", (96, 64), ((11, 7),)),
    LetterboxCase("as it is", (64, 64), ((64, 64),)),
    LetterboxCase("padding only, odd", (64, 64), ((37, 64), (64, 37))),
    LetterboxCase("sizes mixed", (32, 160), ((5, 300), (300, 5), (1, 1), (31, 159), (32, 160))),
    LetterboxCase("rows with gaps", (64, 64), ((97, 131), (20, 20)), gap=5),
    LetterboxCase("a width not of fours", (33, 37), ((97, 131), (9, 200))),
    LetterboxCase("one pixel", (1, 1), ((3, 3), (1, 9))),
    LetterboxCase("two blocks across", (16, 132), ((40, 300),)),
    LetterboxCase("longest side", (8, 64), ((2, 32767),)),
    LetterboxCase("longest sides", (1, 32767), ((1, 32767),)),
)


def run_letterbox(
    kernels: Mapping[str, Callable[..., None]],
    put: Callable[[np.ndarray], int],
    images: list[np.ndarray],
    input_hw: tuple[int, int],
    dtype: type,
    **options,
) -> np.ndarray:
    """Run the kernel for `dtype`; `put` gives the address of an image's bytes where the kernel runs."""
    frames = [Letterbox.fit(image.shape[:2], input_hw) for image in images]
    described = letterbox_images([put(image) for image in images], [image.strides[0] for image in images], frames)
    out = np.full((len(images), 3, *input_hw), np.nan, dtype)
    name = {np.float32: "letterbox_f32", np.float16: "letterbox_f16"}[dtype]
    grid = letterbox_grid(input_hw, len(images))
    kernels[name](grid, LETTERBOX_BLOCK, described, out, np.int32(input_hw[0]), np.int32(input_hw[1]), **options)
    return out
