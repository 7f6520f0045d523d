"""What lies among the images of a data set and is not used: nobody would miss it if it were not told."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from y12.files import IMAGE_SUFFIXES, is_litter, looks_like_image
from y12.text import NAME, visible

__all__ = ["labels_without_image", "unread_images"]

_SHOWN = 3  # names
_NO_LABELS = frozenset(("classes.txt", "labels.txt", "notes.txt", "readme.txt"))  # of tools, beside the labels


def unread_images(folders: Sequence[Path]) -> tuple[str, ...]:
    """Return a note of the pictures in these folders whose format is not read; none where there are none."""
    found = [name for folder in dict.fromkeys(folders) for name in _names(folder) if looks_like_image(name)]
    if not found:
        return ()
    kinds = ", ".join(sorted({os.path.splitext(name)[1] for name in found}))
    return (f"{_counted(found, 'picture')} passed over: {kinds} is not read ({_first(found)}): convert to JPEG or PNG",)


def labels_without_image(images: Sequence[Path], label_path: Callable[[Path], Path]) -> tuple[str, ...]:
    """Return a note of the label files that no image belongs to.

    An image that is there but was not named, as one of another split, is not missed.

    Args:
        images: those that are used.
        label_path: gives where an image's labels are.
    """
    folders: dict[Path, set[Path]] = defaultdict(set)
    for image in images:
        folders[label_path(image).parent].add(image.parent)
    found = []
    for labels, of_images in folders.items():
        names = [name for name in _names(labels) if name.endswith(".txt") and name.lower() not in _NO_LABELS]
        if names:
            known = {os.path.splitext(name)[0] for folder in of_images for name in _image_names(folder)}
            found += [name for name in names if name.removesuffix(".txt") not in known]
    if not found:
        return ()
    return (f"{_counted(found, 'label file')} without an image: {_first(found)}",)


def _image_names(folder: Path) -> Iterator[str]:
    return (name for name in _names(folder) if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not is_litter(name))
    except OSError:  # there are no labels there; whoever reads the images says what is wrong with their folder
        return []


def _counted(found: Sequence[str], what: str) -> str:
    return f"{len(found)} {what}{'s' * (len(found) > 1)}"


def _first(found: Sequence[str]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(visible(name, NAME) for name in found[:_SHOWN]) + more
