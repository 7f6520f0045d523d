"""An image from whatever the user has: a path, a PIL image or an array, as HWC uint8 BGR.

Files are read by Pillow. What can be decoded is decoded as OpenCV's `IMREAD_COLOR` does: EXIF orientation
applied, alpha dropped (not composited), ICC profiles ignored, the first frame of an animation, 16 bits to 8
by keeping the high byte. Everything else is refused in one line that names the file.
"""

import io
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.files import check_file
from y12.runtime.preprocess.whole import early_end

if TYPE_CHECKING:
    from PIL.Image import Image

    ImageSource = str | os.PathLike[str] | NDArray[Any] | Image

MAX_FILE_BYTES = 512 << 20
MAX_PIXELS = 128_000_000  # a 100-megapixel camera gives 11,648 x 8,736; decoded, this bound is 384 MB, on the way 1 GB
# The named formats only: Pillow would also hand PostScript to Ghostscript and fetch files for others.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
_PLUGINS = ("Jpeg", "Png", "WebP", "Avif", "Tiff", "Bmp", "Gif", "Ppm", "Jpeg2K")  # all 49 take 30 ms to import
# Their libraries hold a picture several times over, 16 bytes a pixel; all others stay below 8.
_DEAR_FORMATS = ("WEBP", "AVIF", "JPEG2000")
_BAND_PIXELS = 4 << 20  # of a larger image so many are converted at a time; it is a large one, decoded in its turn
_EXIF_ORIENTATION = 0x0112
_QUIET = threading.Lock()


def image_from(source: "ImageSource") -> NDArray[np.uint8]:
    """Return `source` as a contiguous (H, W, 3) uint8 array in BGR order.

    Args:
        source: a path; a PIL image (its EXIF orientation is applied where it still carries one); or a uint8
            array, (H, W, 3) BGR, (H, W, 4) BGRA, (H, W) or (H, W, 1) gray. A BGR array may be given back as
            it is, uncopied.

    Raises:
        InputError: `source` is none of these, is damaged, or is larger than `MAX_PIXELS` or `MAX_FILE_BYTES`.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, str | os.PathLike):
        return _from_file(Path(source))
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(source, pillow.Image):
        with _translated("the PIL image"):
            return _from_pil(source)
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


def _from_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Check and convert an (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) array."""
    import cv2

    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size and array.flags.c_contiguous:
        return array  # what nearly all are: the words for the others take longer than everything else here
    found = f"found {array.dtype} {array.shape}"
    if array.dtype != np.uint8:
        raise InputError(f"expected a uint8 image array (H, W, 3) with values 0-255, {found}")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        raise InputError(f"expected an image array (H, W, 3), {found}, which looks like CHW: use .transpose(1, 2, 0)")
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise InputError(f"expected an image array (H, W, 3) BGR, (H, W, 4) BGRA or (H, W) gray, {found}")
    array = np.ascontiguousarray(array)
    if array.shape[2] == 3:
        return array
    code = cv2.COLOR_BGRA2BGR if array.shape[2] == 4 else cv2.COLOR_GRAY2BGR
    return np.asarray(cv2.cvtColor(array, code), dtype=np.uint8)


def _from_file(path: Path) -> NDArray[np.uint8]:
    """Decode one file; only regular files of a bounded size are opened."""
    check_file(path, "an image file", MAX_FILE_BYTES)
    with _translated(str(path)), path.open("rb") as stream:
        return _from_open_file(stream)


def image_from_bytes(content: bytes, name: str) -> NDArray[np.uint8]:
    """Return the image whose file has this content, as `image_from` does; `name` stands in the messages.

    Raises:
        InputError: it is no image that is read here, is damaged or too large.
    """
    if not 0 < len(content) <= MAX_FILE_BYTES:
        raise InputError(f"{name}: expected an image of 1 to {MAX_FILE_BYTES} bytes, found {len(content)} or more")
    with _translated(name):
        return _from_open_file(io.BytesIO(content))


def _from_open_file(stream: BinaryIO) -> NDArray[np.uint8]:
    from PIL import Image

    with _quiet():
        image = Image.open(stream, formats=_formats_here())
    bgr = _from_pil(image)
    if problem := early_end(stream):
        raise InputError(f"expected a whole image, found one that was cut short ({problem})")
    return bgr


@cache
def _formats_here() -> list[str]:
    """List those of `FORMATS` that this build of Pillow reads; an older one has no AVIF."""
    from PIL import Image

    for plugin in _PLUGINS:
        with suppress(ImportError):
            import_module(f"PIL.{plugin}ImagePlugin")
    return [name for name in FORMATS if name in Image.OPEN]


def _from_pil(image: "Image") -> NDArray[np.uint8]:
    """Decode an opened PIL image; the size is checked before any pixel is."""
    width, height = image.size
    check_pixels(height, width)
    if image.format in _DEAR_FORMATS and height * width > MAX_PIXELS // 2:
        raise InputError(f"expected a {image.format} image of at most {MAX_PIXELS // 2} pixels, found {width}x{height}")
    if height * width <= _BAND_PIXELS:
        return _decoded(image)
    with _LARGE_IMAGES.share(height * width):
        return _decoded(image)


def _decoded(image: "Image") -> NDArray[np.uint8]:
    """Return a PIL image upright; a large one band by band, so that no second copy of all of it is made."""
    image.load()
    with _quiet():
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    width, height = image.size
    rows = _BAND_PIXELS // width
    if rows >= height:
        return np.ascontiguousarray(_UPRIGHT.get(orientation, _as_stored)(_bgr_from_pil(image, image.format)))
    bgr = np.empty((width, height, 3) if orientation in _ON_ITS_SIDE else (height, width, 3), np.uint8)
    stored = _UPRIGHT.get(_UNDONE_BY.get(orientation, orientation), _as_stored)(bgr)  # a view of it, as the file has it
    for top in range(0, height, max(rows, 1)):
        bottom = min(top + max(rows, 1), height)
        stored[top:bottom] = _bgr_from_pil(image.crop((0, top, width, bottom)), image.format)
    return bgr


def _bgr_from_pil(image: "Image", file_format: str | None) -> NDArray[np.uint8]:
    import cv2

    pixels = _pixels_from_pil(image, file_format)
    code = cv2.COLOR_GRAY2BGR if pixels.ndim == 2 else cv2.COLOR_RGB2BGR
    return np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)


def _pixels_from_pil(image: "Image", file_format: str | None) -> NDArray[np.uint8]:
    """Return the pixels as (H, W) gray or (H, W, 3) RGB uint8."""
    mode = image.mode
    if mode in ("L", "RGB"):
        return np.asarray(image)
    if mode.startswith("I;16") or (mode == "I" and file_format in ("PNG", "PPM")):
        return (np.asarray(image) >> 8).astype(np.uint8)  # the high byte, as Pillow and OpenCV do for 16-bit RGB
    if mode in ("P", "PA"):
        return np.asarray(image.convert("RGBA").convert("RGB"))  # P to RGB at once warns where tRNS is a table
    if mode in ("1", "LA", "La", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"):
        return np.asarray(image.convert("RGB"))
    raise InputError(f"expected 8 or 16 bits per channel in gray, RGB, CMYK or a palette, found Pillow's mode {mode!r}")


def _as_stored(bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return bgr


# What undoes each EXIF orientation (Exif 2.32, tag 0x0112) on (H, W, 3); other values mean "as stored".
_UPRIGHT: dict[int | None, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda bgr: bgr[:, ::-1],
    3: lambda bgr: bgr[::-1, ::-1],
    4: lambda bgr: bgr[::-1],
    5: lambda bgr: bgr.transpose(1, 0, 2),
    6: lambda bgr: bgr.transpose(1, 0, 2)[:, ::-1],
    7: lambda bgr: bgr[::-1, ::-1].transpose(1, 0, 2),
    8: lambda bgr: bgr.transpose(1, 0, 2)[::-1],
}
_ON_ITS_SIDE = (5, 6, 7, 8)  # they exchange height and width
_UNDONE_BY: dict[int | None, int] = {6: 8, 8: 6}  # the others undo themselves


class _Shares:
    """So many pixels at a time, of all threads together; one image always gets its turn."""

    def __init__(self, total: int) -> None:
        self._total, self._taken = total, 0
        self._changed = threading.Condition()

    @contextmanager
    def share(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for so many pixels, and hold it for a while."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + pixels <= self._total)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


_LARGE_IMAGES = _Shares(MAX_PIXELS)


def _renew_locks() -> None:
    """Replace what a thread may have held in the process that this one was forked from."""
    global _QUIET, _LARGE_IMAGES
    _QUIET, _LARGE_IMAGES = threading.Lock(), _Shares(MAX_PIXELS)


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
        formats = ", ".join(FORMATS)
        raise InputError(f"{name}: expected an image ({formats}), found a damaged or a foreign file") from error
    except Exception as error:  # Pillow's plugins raise anything: SyntaxError, struct.error, KeyError …
        raise InputError(f"{name}: cannot be decoded as an image ({' '.join(str(error).split()):.160})") from error
