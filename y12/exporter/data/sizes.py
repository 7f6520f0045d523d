"""The sizes of a data set's images, and whether they can be read, found out before training starts."""

from collections.abc import Callable, Sequence
from pathlib import Path

from y12.errors import DatasetError, InputError
from y12.exporter.data.dataset import Sample
from y12.exporter.data.problems import Problems
from y12.files import check_file
from y12.runtime.preprocess.images import MAX_FILE_BYTES, MAX_PIXELS, image_from
from y12.runtime.preprocess.opening import opened_image

__all__ = ["Progress", "checked_sizes", "header_hw"]

Progress = Callable[[int, int], None]  # called with how many of how many are done

_EXIF_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)  # the EXIF orientations that exchange height and width


def checked_sizes(
    samples: Sequence[Sample],
    origin: Path,
    *,
    decode: bool,
    progress: Progress | None = None,
    bits: int | None = None,
) -> dict[int, tuple[int, int]]:
    """Return the (height, width) of each image, by its id, as `y12.runtime.preprocess.images` decodes it.

    Args:
        samples: the images.
        origin: the data set's file, for the message.
        decode: decode all of each image, not only its header; a file that was cut short is found only so.
        progress: told how far it is.
        bits: how many bits 16-bit images hold; None goes by each file.

    Raises:
        DatasetError: images cannot be read, or are of another size than their entries say; the first ten are named.
    """
    problems = Problems()
    sizes: dict[int, tuple[int, int]] = {}
    for done, sample in enumerate(samples, 1):
        try:
            hw = _decoded_hw(sample.path, bits) if decode else header_hw(sample.path)
            sample.check_size(hw)
            sizes[sample.image_id] = hw
        except (InputError, DatasetError) as error:
            problems.add(str(error))
        if progress is not None:
            progress(done, len(samples))
    problems.raise_if_any(str(origin))
    return sizes


def header_hw(path: Path) -> tuple[int, int]:
    """Read an image's (height, width) from its header, upright as its EXIF orientation says.

    Raises:
        InputError: it is no image that `y12.runtime.preprocess.images` would decode, as far as its header tells.
    """
    import warnings

    check_file(path, "an image file", MAX_FILE_BYTES)
    try:
        with warnings.catch_warnings(), path.open("rb") as stream:
            warnings.simplefilter("ignore")  # odd EXIF does not matter
            image = opened_image(stream)
            (width, height), orientation = image.size, image.getexif().get(_EXIF_ORIENTATION)
    except Exception as error:  # Pillow's plugins raise anything: SyntaxError, struct.error, KeyError …
        raise InputError(f"{path}: cannot be read as an image ({' '.join(str(error).split()):.160})") from error
    if not 0 < width * height <= MAX_PIXELS:
        raise InputError(f"{path}: expected an image of 1 to {MAX_PIXELS} pixels, found {width}x{height}")
    return (width, height) if orientation in _ON_ITS_SIDE else (height, width)


def _decoded_hw(path: Path, bits: int | None) -> tuple[int, int]:
    height, width, _ = image_from(path, bits).shape
    return height, width
