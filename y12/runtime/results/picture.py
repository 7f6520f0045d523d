"""The picture that objects were found in, with them drawn in: as pixels, as a file, in a notebook."""

import base64
import html
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError, Y12Error
from y12.files import write_atomically
from y12.runtime.preprocess.images import image_from
from y12.runtime.results.convert import described
from y12.runtime.results.draw import annotated
from y12.runtime.results.objects import Objects

if TYPE_CHECKING:
    from y12.runtime.preprocess.images import ImageSource

__all__ = ["html_of", "pixels_of", "plotted", "saved"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_NOTEBOOK_SIDE = 960  # pixels: a notebook keeps its pictures in itself
_QUALITY = 90


def plotted(found: Objects, image: "ImageSource | None" = None) -> NDArray[np.uint8]:
    """Return a BGR copy of the image, the result's own or another of its size, with the objects drawn in.

    Raises:
        InputError: there is no image, it cannot be read, or it has another size.
    """
    return annotated(pixels_of(found, image), found)


def pixels_of(found: Objects, image: "ImageSource | None" = None, use: str = "plot") -> NDArray[np.uint8]:
    """Return the image, the result's own or another of its size, (H, W, 3) BGR; `use` is the method that needs it.

    Raises:
        InputError: there is none, it cannot be read, or it has another size.
    """
    source = found.image if image is None else image
    if source is None:
        raise InputError(
            f"{use}: expected the image, found none: the result of a stream, or of an image on a GPU, keeps it not; "
            f"give it, as in {use}(image)"
        )
    pixels = image_from(source, found.bits)
    if pixels.shape[:2] != found.image_hw:
        (height, width), (wanted_height, wanted_width) = pixels.shape[:2], found.image_hw
        raise InputError(
            f"{use}: expected the image of {wanted_width}x{wanted_height} in which the objects were found, "
            f"found one of {width}x{height}"
        )
    return pixels


def saved(found: Objects, path: str | os.PathLike[str], image: "ImageSource | None" = None) -> Path:
    """Write the picture as its suffix says, and give its path.

    Raises:
        InputError: as `plotted`; or the suffix is of no picture, the path is the image's own, or cannot be written.
    """
    import cv2

    target, source = Path(path), found.image if image is None else image
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"{target}: expected a name that ends in one of {', '.join(SUFFIXES)}")
    if isinstance(source, str | os.PathLike) and target.resolve() == Path(source).resolve():
        raise InputError(f"{target}: expected another file than the image itself, which would be lost")
    drawn = plotted(found, image)
    try:
        done, content = cv2.imencode(target.suffix.lower(), drawn)
    except cv2.error:  # such as WebP beyond 16,383 pixels
        done = False
    if not done:
        raise InputError(f"{target}: a picture of {drawn.shape[1]}x{drawn.shape[0]} cannot be written in this format")
    write_atomically(target, content.tobytes())
    return target


def html_of(found: Objects) -> str:
    """Return what a notebook shows: the words, and the picture where it is at hand."""
    import cv2

    told = html.escape(described(found))
    try:
        drawn = plotted(found)
    except Y12Error as error:  # a repr is always given
        return f"<p>{told}</p><p><small>no picture: {html.escape(str(error))}</small></p>"
    height, width = drawn.shape[:2]
    scale = min(1.0, _NOTEBOOK_SIDE / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        drawn = np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, content = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return (
        f'<p>{told}</p><img alt="{told}" src="data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}">'
    )
