"""The images an export is verified on, prepared exactly as the runtime prepares them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError, VerificationError
from y12.exporter.verify.verify_options import VerifyOptions
from y12.files import IMAGE_SUFFIXES, is_image_name
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import blob_from
from y12.runtime.tasks import fit_for

__all__ = ["TestImage", "load_images", "photos_dir", "scenes_dir"]


@dataclass(frozen=True)
class TestImage:
    """One prepared image: its file's name and the network's input (1, 3, H, W), RGB in 0-1."""

    name: str
    blob: NDArray[np.float32]


def photos_dir() -> Path:
    """Return the folder with y12's own photographs."""
    return Path(__file__).with_name("photos")


def scenes_dir() -> Path:
    """Return the folder with drawn scenes, for networks that were trained on such."""
    return Path(__file__).with_name("scenes")


def load_images(options: VerifyOptions, input_hw: tuple[int, int], task: str) -> tuple[TestImage, ...]:
    """Return the images to verify on, fitted into the input as the task's models expect them.

    Raises:
        VerificationError: there are none, or one cannot be read.
    """
    source = options.images or photos_dir()
    paths = list(source if isinstance(source, tuple) else _image_paths(source))[: options.max_images]
    if not paths:
        raise VerificationError(
            f"expected images to verify on in {source}, found none; known: {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    fit = fit_for(task)
    try:
        return tuple(TestImage(p.name, blob_from([fit(image_from(p, options.bits), input_hw)[0]])) for p in paths)
    except InputError as error:
        raise VerificationError(f"cannot verify on this image: {error}") from error


def _image_paths(source: Path) -> Iterator[Path]:
    if not source.is_dir():
        yield source
        return
    yield from (p for p in sorted(source.iterdir()) if is_image_name(p.name) and p.is_file())
