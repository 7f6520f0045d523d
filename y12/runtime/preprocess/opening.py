"""The image in a file, its header read: told by its content, whatever its name.

Pillow opens what it knows. HEIC, as phones write it, and AVIF are told apart by the brands in their first box (ISO/IEC
14496-12). AVIF is Pillow's own since 11.3; HEIC needs pillow-heif, whose opener is used where a file needs it, and not
registered: a program's own Pillow stays as it was.
"""

from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO

from y12.errors import InputError
from y12.installing import install_command
from y12.runtime.preprocess.depth import unread_samples

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FORMATS", "opened_image"]

# The named formats only: Pillow would also hand PostScript to Ghostscript and fetch files for others.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
_PLUGINS = ("Jpeg", "Png", "WebP", "Avif", "Tiff", "Bmp", "Gif", "Ppm", "Jpeg2K")  # all 49 take 30 ms to import
_HEAD_BYTES = 256  # of brands, at most; some five are usual
_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_EITHER = {b"mif1", b"mif2", b"msf1"}  # an image, of whatever coding


def opened_image(stream: BinaryIO) -> "Image":
    """Return the image in a file, its header read and nothing else.

    Raises:
        InputError: it is of a known kind that is not read, or not here.
        Exception: whatever Pillow raises.
    """
    from PIL import Image, UnidentifiedImageError

    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    if _is_heic(head):
        return _heif_image(stream)
    if _is_avif(head) and "AVIF" not in _formats_here():
        raise InputError("expected Pillow 11.3 or later to read an AVIF with, found an older one: update it")
    try:
        return Image.open(stream, formats=_formats_here())
    except UnidentifiedImageError:
        if (found := unread_samples(stream)) is None:
            raise
        raise InputError(f"expected a TIFF of 8 or 16 bits per channel, whole numbers, found {found}") from None


@cache
def _formats_here() -> list[str]:
    """List those of `FORMATS` that this build of Pillow reads; an older one has no AVIF."""
    from PIL import Image

    for plugin in _PLUGINS:
        with suppress(ImportError):
            import_module(f"PIL.{plugin}ImagePlugin")
    return [name for name in FORMATS if name in Image.OPEN]


def _is_avif(head: bytes) -> bool:
    """Return whether a file that begins so is an AVIF."""
    return bool(_brands(head) & _AVIF)


def _is_heic(head: bytes) -> bool:
    """Return whether a file that begins so is an HEIC, or a HEIF of another coding than AVIF's."""
    brands = _brands(head)
    return bool(brands & (_HEIC | _EITHER)) and not brands & _AVIF


def _heif_image(stream: BinaryIO) -> "Image":
    """Open an HEIC; it is decoded when it is loaded, turned as the file says.

    Raises:
        InputError: pillow-heif is not installed.
        Exception: whatever pillow-heif raises on a damaged file.
    """
    try:
        pillow_heif = import_module("pillow_heif")
    except ImportError as error:
        raise InputError(
            f"expected the package 'pillow-heif' of y12's extra [heif] to read an HEIC with, found none: "
            f"{install_command('heif')}, or convert it to JPEG"
        ) from error
    image: Image = pillow_heif.HeifImageFile(stream)
    return image


def _brands(head: bytes) -> set[bytes]:
    """Return the major and the compatible brands of a file; none where it has no such box."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4]), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
