"""Images varied for training: four put together, resized, moved, turned, mirrored, and their colours changed.

Kornia draws the affine maps, resamples and converts the colours. Every draw comes from the generator that is given: the
same generator gives the same example, whichever process asks for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from y12.exporter.train.examples.example import Example
from y12.exporter.train.examples.objects import Frame, Labels, Objects, joined, moved
from y12.exporter.train.examples.options import AugmentOptions
from y12.runtime.preprocess.letterbox import PAD_GRAY, Letterbox, scale_xy

__all__ = ["Fitted", "augmented", "plain", "recoloured"]

Image = NDArray[np.uint8]
Array = NDArray[np.float64]

_GRAY = PAD_GRAY / 255
_NEAR, _FAR = 0.25, 0.75  # where in the picture a mosaic's four images meet, as shares of its side


@dataclass(frozen=True)
class Fitted:
    """An image resized as inference resizes it, RGB (h, w, 3) without the padding, and its objects."""

    image: Image
    frame: Letterbox
    objects: Objects


def plain(fitted: Fitted) -> Example:
    """Return an image exactly as inference would see it."""
    side, frame = fitted.frame.input_hw[0], fitted.frame
    canvas = np.full((side, side, 3), PAD_GRAY, np.uint8)
    _paste(canvas, fitted.image, frame.left, frame.top)
    labels = moved(fitted.objects, _placed(frame, frame.left, frame.top), Frame(side))
    return Example(canvas, **_columns(labels))


def augmented(images: Sequence[Fitted], options: AugmentOptions, rng: np.random.Generator) -> Example:
    """Return one image, or four as a mosaic, varied.

    Args:
        images: one or four, fitted to the same square.
        options: how much to vary.
        rng: where all draws come from.
    """
    side = images[0].frame.input_hw[0]
    canvas, places, corner = _mosaic(images, rng) if len(images) == 4 else _single(images[0])
    points = None if images[0].objects.keypoints is None else images[0].objects.keypoints.shape[1]
    order = options.flips(points)
    mirrored = rng.random() < options.flip and order is not None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng.integers(2**63)))  # torch.manual_seed formats a stack: 3 ms
        matrix = _affine(side, options)
    matrix = matrix @ _shift(-corner[0], -corner[1])
    if mirrored:
        matrix = np.array([[-1.0, 0, side], [0, 1, 0], [0, 0, 1]]) @ matrix
    frame = Frame(side, options.min_visible, order if mirrored else None)
    labels = joined([moved(one.objects, matrix @ place, frame) for one, place in zip(images, places, strict=True)])
    picture = recoloured(_resampled(canvas, matrix, side), options, rng)
    pixels = picture[0].permute(1, 2, 0).mul(255).round_().to(torch.uint8).contiguous().numpy()
    return Example(pixels, **_columns(labels))


def _columns(labels: Labels) -> dict[str, Any]:
    return {name: getattr(labels, name) for name in ("labels", "boxes", "masks", "keypoints", "angles")}


def _single(one: Fitted) -> tuple[Image, list[Array], tuple[float, float]]:
    """Return an image in the middle of a gray square, where it lies there, and the corner of the picture to show."""
    side, frame = one.frame.input_hw[0], one.frame
    canvas = np.full((side, side, 3), PAD_GRAY, np.uint8)
    _paste(canvas, one.image, frame.left, frame.top)
    return canvas, [_placed(frame, frame.left, frame.top)], (0.0, 0.0)


def _mosaic(images: Sequence[Fitted], rng: np.random.Generator) -> tuple[Image, list[Array], tuple[float, float]]:
    """Put four images about the middle of a square of twice the side, where each has room: none is cut there.

    The picture to show has that point at a random place; mosaic is from YOLOv4 (arXiv 2004.10934, section 3.4).
    """
    side = images[0].frame.input_hw[0]
    canvas = np.full((2 * side, 2 * side, 3), PAD_GRAY, np.uint8)
    places = []
    for quarter, one in enumerate(images):
        height, width = one.frame.resized_hw
        left = side if quarter % 2 else side - width
        top = side if quarter // 2 else side - height
        _paste(canvas, one.image, left, top)
        places.append(_placed(one.frame, left, top))
    corner = side * (1 - rng.uniform(_NEAR, _FAR, 2))
    return canvas, places, (float(corner[0]), float(corner[1]))


def _paste(canvas: Image, image: Image, left: int, top: int) -> None:
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image


def _placed(frame: Letterbox, left: int, top: int) -> Array:
    """Return the map (3, 3) from pixels of the original image to a square that the resized image is pasted into."""
    scale_x, scale_y = scale_xy(frame)
    return np.array([[scale_x, 0, left], [0, scale_y, top], [0, 0, 1]])


def _shift(x: float, y: float) -> Array:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def _affine(side: int, options: AugmentOptions) -> Array:
    """Draw a map (3, 3) from the picture to itself, from torch's random state; in label coordinates."""
    if not (options.scale or options.translate or options.rotate):
        return np.eye(3)
    random = _random_affine(options.rotate, options.translate, options.scale)
    shape = torch.Size((1, 3, side, side))
    drawn = random.forward_parameters(shape)
    matrix = random.compute_transformation(torch.zeros(1).expand(shape), drawn, random.flags)
    # Kornia counts from the centre of the first pixel, labels from its edge.
    return np.asarray(_shift(0.5, 0.5) @ matrix[0].double().numpy() @ _shift(-0.5, -0.5))


@cache
def _random_affine(rotate: float, translate: float, scale: float) -> Any:
    from kornia.augmentation import RandomAffine

    return RandomAffine(float(rotate), (translate, translate), (1 - scale, 1 + scale), p=1.0)


def _resampled(canvas: Image, matrix: Array, side: int) -> torch.Tensor:
    """Resample (h, w, 3) to (1, 3, side, side) in 0-1, gray outside.

    Gray is subtracted and added: the zeros that are put outside are gray then, at a third of the cost of a fill.
    """
    from kornia.geometry.transform import warp_affine

    source = torch.from_numpy(canvas.transpose(2, 0, 1)[None].astype(np.float32)).div_(255).sub_(_GRAY)
    centred = _shift(-0.5, -0.5) @ matrix @ _shift(0.5, 0.5)
    moving = torch.from_numpy(centred[None, :2]).float()
    return warp_affine(source, moving, (side, side)).add_(_GRAY).clamp_(0, 1)


def recoloured(image: torch.Tensor, options: AugmentOptions, rng: np.random.Generator) -> torch.Tensor:
    """Turn the hue and multiply saturation and value of (1, 3, H, W), RGB in 0-1."""
    if not (options.hue or options.saturation or options.brightness):
        return image
    from kornia.color import hsv_to_rgb, rgb_to_hsv

    turn, richer, brighter = rng.uniform(-1, 1, 3) * (options.hue, options.saturation, options.brightness)
    hsv = rgb_to_hsv(image)
    hsv[:, 0].add_(turn * 2 * np.pi).remainder_(2 * np.pi)
    hsv[:, 1].mul_(1 + richer).clamp_(0, 1)
    hsv[:, 2].mul_(1 + brighter).clamp_(0, 1)
    return hsv_to_rgb(hsv).clamp_(0, 1)
