"""An image from whatever the user has: a path, a PIL image or an array, as HWC uint8 BGR.

Files are read by Pillow. What can be decoded is decoded as OpenCV's `IMREAD_COLOR` does: EXIF orientation
applied, alpha dropped (not composited), ICC profiles ignored, the first frame of an animation, 16 bits to 8
by keeping the high byte, or by what the image holds (`depth.py`). Everything else is refused in one line that names
the file.
"""

import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.files import check_file
from y12.runtime.preprocess.depth import (
    DARK,
    FULL,
    Levels,
    content_of,
    deep_colours,
    extremes_of,
    has_deep_colours,
    is_scaled,
    levels_of,
    refuse_samples,
    stated_levels,
    to_bytes,
)
from y12.runtime.preprocess.opening import FORMATS, opened_image
from y12.runtime.preprocess.orientation import ON_ITS_SIDE, UNDONE_BY, UPRIGHT, as_stored
from y12.runtime.preprocess.shares import Shares
from y12.runtime.preprocess.whole import early_end

if TYPE_CHECKING:
    from PIL.Image import Image

    ImageSource = str | os.PathLike[str] | NDArray[Any] | Image

MAX_FILE_BYTES = 512 << 20
MAX_PIXELS = 128_000_000  # a 100-megapixel camera gives 11,648 x 8,736; decoded, this bound is 384 MB, on the way 1 GB
# Their libraries hold a picture several times over, 16 bytes a pixel; all others stay below 8.
_DEAR_FORMATS = ("WEBP", "AVIF", "JPEG2000", "HEIF")
_BAND_PIXELS = 4 << 20  # of a larger image so many are converted at a time; it is a large one, decoded in its turn
_EXIF_ORIENTATION = 0x0112
_QUIET = threading.Lock()


def image_from(source: "ImageSource", bits: int | None = None) -> NDArray[np.uint8]:
    """Return `source` as a contiguous (H, W, 3) uint8 array in BGR order.

    Args:
        source: a path; a PIL image (its EXIF orientation is applied where it still carries one); or a uint8
            or uint16 array, (H, W, 3) BGR, (H, W, 4) BGRA, (H, W) or (H, W, 1) gray. A BGR array of uint8 may be given
            back as it is, uncopied.
        bits: how many a 16-bit image holds; None goes by its file, else takes all. Those of 8 bits are as they are.

    Raises:
        InputError: `source` is none of these, is damaged, or is larger than `MAX_PIXELS` or `MAX_FILE_BYTES`.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, bits)
    if isinstance(source, str | os.PathLike):
        return _from_file(Path(source), bits)
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(source, pillow.Image):
        with _translated("the PIL image"):
            return _from_pil(source, "the PIL image", bits)
    if hasattr(source, "__cuda_array_interface__"):
        raise InputError(
            "expected an image in the host's memory, found an array on a GPU, which only an engine takes: copy it to "
            "the host"
        )
    raise InputError(
        "expected an image as a path, a PIL image or a uint8 BGR array (H, W, 3), "
        f"found {type(source).__module__}.{type(source).__qualname__}"
    )


def kept_source(source: Any) -> "ImageSource | None":
    """Return what a result remembers of its image: the source itself, uncopied; None of one on a GPU."""
    is_kept = isinstance(source, np.ndarray | str | os.PathLike) or type(source).__module__.startswith("PIL.")
    return source if is_kept else None


def check_pixels(height: int, width: int) -> None:
    """Refuse an image without pixels, or with more than `MAX_PIXELS`.

    Raises:
        InputError: it is one.
    """
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise InputError(f"expected an image of 1 to {MAX_PIXELS} pixels, found {width}x{height}")


def _from_array(array: NDArray[Any], bits: int | None) -> NDArray[np.uint8]:
    """Check and convert an (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) array."""
    import cv2

    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size and array.flags.c_contiguous:
        return array  # what nearly all are: the words for the others take longer than everything else here
    found = f"found {array.dtype} {array.shape}"
    is_deep = array.dtype.kind == "u" and array.dtype.itemsize == 2
    if array.dtype != np.uint8 and not is_deep:
        raise InputError(f"expected a uint8 image array (H, W, 3) with values 0-255, or a uint16 one, {found}")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        raise InputError(f"expected an image array (H, W, 3), {found}, which looks like CHW: use .transpose(1, 2, 0)")
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise InputError(f"expected an image array (H, W, 3) BGR, (H, W, 4) BGRA or (H, W) gray, {found}")
    if is_deep:
        array = to_bytes(array, levels_of("the array", (0, int(array.max())), bits=bits))
    array = np.ascontiguousarray(array)
    if array.shape[2] == 3:
        return array
    code = cv2.COLOR_BGRA2BGR if array.shape[2] == 4 else cv2.COLOR_GRAY2BGR
    return np.asarray(cv2.cvtColor(array, code), dtype=np.uint8)


def _from_file(path: Path, bits: int | None) -> NDArray[np.uint8]:
    """Decode one file; only regular files of a bounded size are opened."""
    check_file(path, "an image file", MAX_FILE_BYTES)
    with _translated(str(path)), path.open("rb") as stream:
        return _from_open_file(stream, str(path), bits)


def image_from_bytes(content: bytes, name: str, bits: int | None = None) -> NDArray[np.uint8]:
    """Return the image whose file has this content, as `image_from` does; `name` stands in the messages.

    Raises:
        InputError: it is no image that is read here, is damaged or too large.
    """
    if not 0 < len(content) <= MAX_FILE_BYTES:
        raise InputError(f"{name}: expected an image of 1 to {MAX_FILE_BYTES} bytes, found {len(content)} or more")
    with _translated(name):
        return _from_open_file(io.BytesIO(content), name, bits)


def _from_open_file(stream: BinaryIO, name: str, bits: int | None) -> NDArray[np.uint8]:
    with _quiet():
        image = opened_image(stream)
    bgr = _from_pil(image, name, bits)
    if problem := early_end(stream):
        raise InputError(f"expected a whole image, found one that was cut short ({problem})")
    return bgr


def _from_pil(image: "Image", name: str, bits: int | None) -> NDArray[np.uint8]:
    """Decode an opened PIL image; the size is checked before any pixel is."""
    width, height = image.size
    check_pixels(height, width)
    if image.format in _DEAR_FORMATS and height * width > MAX_PIXELS // 2:
        raise InputError(f"expected a {image.format} image of at most {MAX_PIXELS // 2} pixels, found {width}x{height}")
    if height * width <= _BAND_PIXELS:
        return _decoded(image, name, bits)
    with _LARGE_IMAGES.share(height * width):
        return _decoded(image, name, bits)


def _decoded(image: "Image", name: str, bits: int | None) -> NDArray[np.uint8]:
    """Return a PIL image upright; a large one band by band, so that no second copy of all of it is made."""
    levels, deep_bgr = FULL, None
    if image.format in ("PNG", "TIFF") or image.mode[0] in "IF":  # others have 8 bits
        levels, deep_bgr = _deep(image, name, bits)
    image.load()
    with _quiet():
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    if deep_bgr is not None:
        return np.ascontiguousarray(UPRIGHT.get(orientation, as_stored)(deep_bgr))
    width, height = image.size
    rows = _BAND_PIXELS // width
    if rows >= height:
        return np.ascontiguousarray(UPRIGHT.get(orientation, as_stored)(_bgr_from_pil(image, levels)))
    bgr = np.empty((width, height, 3) if orientation in ON_ITS_SIDE else (height, width, 3), np.uint8)
    stored = UPRIGHT.get(UNDONE_BY.get(orientation, orientation), as_stored)(bgr)  # a view of it, as the file has it
    for top in range(0, height, max(rows, 1)):
        bottom = min(top + max(rows, 1), height)
        stored[top:bottom] = _bgr_from_pil(image.crop((0, top, width, bottom)), levels)
    return bgr


def _deep(image: "Image", name: str, bits: int | None) -> tuple[Levels, NDArray[np.uint8] | None]:
    """Return what is black and white in a 16-bit image and, where Pillow has not all bits that count, all of it."""
    refuse_samples(image)
    is_colour = has_deep_colours(image)
    if is_scaled(image) or (not is_colour and image.mode[0] != "I"):
        return FULL, None
    stated, stream = stated_levels(image), getattr(image, "fp", None)
    if not is_colour:
        if image.mode == "I" and image.format not in ("PNG", "PPM", "TIFF") and bits is None:
            raise InputError("expected 8 or 16 bits per channel, found Pillow's mode 'I' without bits: say how many")
        image.load()
        return levels_of(name, extremes_of(image, _BAND_PIXELS), stated, bits), None
    if bits is not None or stated is not None:
        stream = io.BytesIO(content_of(stream))
        image.load()
    else:  # what Pillow has kept will do; where it is dark, the rest tells which bits fit
        image.load()
        is_dark = 256 * extremes_of(image, _BAND_PIXELS)[1] < DARK and image.width * image.height <= MAX_PIXELS // 2
        if not is_dark or stream is None or stream.closed:
            return FULL, None
    width, height = image.size
    check_pixels(2 * height, width)  # 6 bytes a pixel
    numbers = deep_colours(stream, (height, width))
    levels = levels_of(name, (0, int(numbers.max())), stated, bits)
    return levels, to_bytes(numbers, levels)


def _bgr_from_pil(image: "Image", levels: Levels) -> NDArray[np.uint8]:
    import cv2

    pixels = _pixels_from_pil(image, levels)
    code = cv2.COLOR_GRAY2BGR if pixels.ndim == 2 else cv2.COLOR_RGB2BGR
    return np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)


def _pixels_from_pil(image: "Image", levels: Levels) -> NDArray[np.uint8]:
    """Return the pixels as (H, W) gray or (H, W, 3) RGB uint8."""
    mode = image.mode
    if mode in ("L", "RGB"):
        return np.asarray(image)
    if mode == "I" or mode.startswith("I;16"):
        return to_bytes(np.asarray(image), levels)
    if mode in ("P", "PA"):
        return np.asarray(image.convert("RGBA").convert("RGB"))  # P to RGB at once warns where tRNS is a table
    if mode in ("1", "LA", "La", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"):
        return np.asarray(image.convert("RGB"))
    raise InputError(f"expected 8 or 16 bits per channel in gray, RGB, CMYK or a palette, found Pillow's mode {mode!r}")


_LARGE_IMAGES = Shares(MAX_PIXELS)


def _renew_locks() -> None:
    """Replace what a thread may have held in the process that this one was forked from."""
    global _QUIET, _LARGE_IMAGES
    _QUIET, _LARGE_IMAGES = threading.Lock(), Shares(MAX_PIXELS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings about headers to ourselves: sizes are checked here, odd EXIF does not matter.

    The lock is there because `catch_warnings` changes the whole process.
    """
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises on a damaged file into one InputError that names it."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        formats = ", ".join((*FORMATS, "HEIC"))
        raise InputError(f"{name}: expected an image ({formats}), found a damaged or a foreign file") from error
    except Exception as error:  # Pillow's plugins raise anything: SyntaxError, struct.error, KeyError …
        raise InputError(f"{name}: cannot be decoded as an image ({' '.join(str(error).split()):.160})") from error
