"""An image from whatever the user has: a path, a PIL image or an array, as HWC uint8 BGR.

Files are opened by Pillow, and decoded by it but for ordinary JPEGs (`jpeg.py`). What can be decoded is decoded as
OpenCV's `IMREAD_COLOR` does: EXIF orientation applied, alpha dropped (not composited), ICC profiles ignored, the first
frame of an animation, 16 bits to 8 by keeping the high byte, or by what the image holds (`depth.py`). Everything else
is refused in one line that names the file.
"""

import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.files import check_file
from y12.runtime.preprocess.arrays import image_from_array
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
from y12.runtime.preprocess.jpeg import ordinary_jpeg
from y12.runtime.preprocess.opening import FORMATS, opened_image
from y12.runtime.preprocess.orientation import ON_ITS_SIDE, region_upright, stored_view, upright
from y12.runtime.preprocess.pil_pixels import bgr_from_pil
from y12.runtime.preprocess.reduced import Image, ReducedImage, ScaleOf, factor_for
from y12.runtime.preprocess.shares import Shares
from y12.runtime.preprocess.whole import early_end

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

    ImageSource = str | os.PathLike[str] | NDArray[Any] | PilImage | ReducedImage

MAX_FILE_BYTES = 512 << 20
MAX_PIXELS = 128_000_000  # a 100-megapixel camera gives 11,648 x 8,736; decoded, this bound is 384 MB, on the way 1 GB
# Their libraries hold a picture several times over, 16 bytes a pixel; all others stay below 8.
_DEAR_FORMATS = ("WEBP", "AVIF", "JPEG2000", "HEIF")
_JPEGS = ("JPEG", "MPO")  # also with further pictures behind the first
_BAND_PIXELS = 4 << 20  # of a larger image so many are converted at a time; it is a large one, decoded in its turn
_EXIF_ORIENTATION = 0x0112
_QUIET = threading.Lock()


@dataclass(frozen=True)
class Reading:
    """How images are read.

    Attributes:
        bits: how many a 16-bit image holds; None goes by its file, else takes all. Those of 8 bits are as they are.
        scale_of: at which scale an image will be looked at: where that is half its size or less, an ordinary JPEG's
            file is decoded at 1/2, 1/4 or 1/8, and all else in full. None decodes everything in full.
    """

    bits: int | None = None
    scale_of: ScaleOf | None = None

    def image(self, source: "ImageSource") -> Image:
        """Return `source` as a contiguous (H, W, 3) uint8 array in BGR order, or reduced.

        Args:
            source: as for `image_from`; or what was reduced before, which stays as it is.

        Raises:
            InputError: as `image_from`.
        """
        if isinstance(source, ReducedImage):
            return source
        if isinstance(source, np.ndarray):
            return image_from_array(source, self.bits)
        if isinstance(source, str | os.PathLike):
            return self._from_file(Path(source))
        pillow = sys.modules.get("PIL.Image")
        if pillow is not None and isinstance(source, pillow.Image):
            with _translated("the PIL image"):
                return _from_pil(source, "the PIL image", Reading(self.bits))
        if hasattr(source, "__cuda_array_interface__"):
            raise InputError(
                "expected an image in the host's memory, found an array on a GPU, which only an engine takes: copy it "
                "to the host"
            )
        raise InputError(
            "expected an image as a path, a PIL image or a uint8 BGR array (H, W, 3), "
            f"found {type(source).__module__}.{type(source).__qualname__}"
        )

    def image_from_bytes(self, content: bytes, name: str) -> Image:
        """Return the image whose file has this content, as `image` does; `name` stands in the messages.

        Raises:
            InputError: it is no image that is read here, is damaged or too large.
        """
        if not 0 < len(content) <= MAX_FILE_BYTES:
            raise InputError(f"{name}: expected an image of 1 to {MAX_FILE_BYTES} bytes, found {len(content)} or more")
        with _translated(name):
            return _from_open_file(io.BytesIO(content), name, self)

    def _from_file(self, path: Path) -> Image:
        """Decode one file; only regular files of a bounded size are opened."""
        check_file(path, "an image file", MAX_FILE_BYTES)
        with _translated(str(path)), path.open("rb") as stream:
            return _from_open_file(stream, str(path), self)


IN_FULL = Reading()


def image_from(source: "ImageSource", bits: int | None = None) -> NDArray[np.uint8]:
    """Return `source` as a contiguous (H, W, 3) uint8 array in BGR order.

    Args:
        source: a path; a PIL image (its EXIF orientation is applied where it still carries one); or a uint8
            or uint16 array, (H, W, 3) BGR, (H, W, 4) BGRA, (H, W) or (H, W, 1) gray. A BGR array of uint8 may be given
            back as it is, uncopied.
        bits: as for `Reading`.

    Raises:
        InputError: `source` is none of these, is damaged, or is larger than `MAX_PIXELS` or `MAX_FILE_BYTES`.
    """
    return _whole(Reading(bits).image(source))


def image_from_bytes(content: bytes, name: str, bits: int | None = None) -> NDArray[np.uint8]:
    """Return the image whose file has this content, as `image_from` does; `name` stands in the messages.

    Raises:
        InputError: as `image_from`.
    """
    return _whole(Reading(bits).image_from_bytes(content, name))


def _whole(image: Image) -> NDArray[np.uint8]:
    assert isinstance(image, np.ndarray), "nobody asked for less"
    return image


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


def _from_open_file(stream: BinaryIO, name: str, reading: Reading) -> Image:
    with _quiet():
        image = opened_image(stream)
    decoded = _from_pil(image, name, reading, stream)
    if problem := early_end(stream):
        raise InputError(f"expected a whole image, found one that was cut short ({problem})")
    return decoded


def _from_pil(image: "PilImage", name: str, reading: Reading, stream: BinaryIO | None = None) -> Image:
    """Decode an opened PIL image, by its file where that is given; the size is checked before any pixel is."""
    width, height = image.size
    check_pixels(height, width)
    if image.format in _DEAR_FORMATS and height * width > MAX_PIXELS // 2:
        raise InputError(f"expected a {image.format} image of at most {MAX_PIXELS // 2} pixels, found {width}x{height}")
    with _LARGE_IMAGES.share(height * width) if height * width > _BAND_PIXELS else nullcontext():
        decoded = None
        if stream is not None and image.format in _JPEGS:
            decoded = _from_jpeg(image, stream, reading.scale_of)
        return _decoded(image, name, reading.bits) if decoded is None else decoded


def _from_jpeg(image: "PilImage", stream: BinaryIO, scale_of: ScaleOf | None) -> Image | None:
    """Return an ordinary JPEG upright, reduced as far as it will be looked at; None of another one."""
    width, height = image.size
    orientation = _orientation(image)
    whole_hw = (width, height) if orientation in ON_ITS_SIDE else (height, width)
    factor = 1 if scale_of is None else factor_for(scale_of(whole_hw))
    stream.seek(0)
    stored = ordinary_jpeg(stream.read(), (height, width), factor)
    if stored is None:
        return None
    bgr = upright(stored, orientation)
    if factor == 1:
        return bgr
    region = region_upright((0, 0, width / factor, height / factor), (stored.shape[0], stored.shape[1]), orientation)
    return ReducedImage(bgr, whole_hw, region)


def _decoded(image: "PilImage", name: str, bits: int | None) -> NDArray[np.uint8]:
    """Return a PIL image upright; a large one band by band, so that no second copy of all of it is made."""
    levels, deep_bgr = FULL, None
    if image.format in ("PNG", "TIFF") or image.mode[0] in "IF":  # others have 8 bits
        levels, deep_bgr = _deep(image, name, bits)
    image.load()
    orientation = _orientation(image)
    if deep_bgr is not None:
        return upright(deep_bgr, orientation)
    width, height = image.size
    rows = _BAND_PIXELS // width
    if rows >= height:
        return upright(bgr_from_pil(image, levels), orientation)
    bgr = np.empty((width, height, 3) if orientation in ON_ITS_SIDE else (height, width, 3), np.uint8)
    stored = stored_view(bgr, orientation)
    for top in range(0, height, max(rows, 1)):
        bottom = min(top + max(rows, 1), height)
        stored[top:bottom] = bgr_from_pil(image.crop((0, top, width, bottom)), levels)
    return bgr


def _orientation(image: "PilImage") -> int | None:
    with _quiet():
        return image.getexif().get(_EXIF_ORIENTATION)


def _deep(image: "PilImage", name: str, bits: int | None) -> tuple[Levels, NDArray[np.uint8] | None]:
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
